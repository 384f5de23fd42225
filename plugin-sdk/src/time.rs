mod zone;

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

use crate::json::Unreadable;

pub use zone::Zone;

/// 2000-01-01 and 2100-01-01 in seconds: what lies outside is a misread unit, not a time.
const SANE_SECONDS: std::ops::Range<i64> = 946_684_800..4_102_444_800;
/// Numbers above are milliseconds: as seconds they lie beyond the year 5000.
const SECONDS_MAX: i64 = 100_000_000_000;
/// Numbers above are microseconds.
const MILLIS_MAX: i64 = 100_000_000_000_000;

const UNREADABLE: Unreadable = Unreadable::new("unreadable_time", "not a time in any known form");
const INSANE: Unreadable =
    Unreadable::new("unreadable_time", "not between the years 2000 and 2100");
const NO_ZONE: Unreadable =
    Unreadable::new("missing_time_zone", "a local time without a zone, and none may be assumed");
const UNKNOWN_ZONE: Unreadable =
    Unreadable::new("unknown_time_zone", "the zone is ambiguous or not known here");

/// An instant. Written as RFC 3339 in UTC, as `2024-06-15T11:51:35.807Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// Reads the forms that providers use: RFC 3339, the same without a zone (then `assumed`
    /// applies) or with a space for the `T`, and Unix time in seconds, milliseconds or
    /// microseconds by magnitude, with or without a fraction. `""`, `0` and `0000-00-00 00:00:00`
    /// are absent.
    ///
    /// # Errors
    ///
    /// Where it is anything else, outside the years 2000 to 2099, or names no zone while none is
    /// assumed.
    pub fn read(text: &str, assumed: Option<Zone>) -> Result<Option<Self>, Unreadable> {
        let text = text.trim_ascii();
        if text.bytes().all(|byte| matches!(byte, b'0' | b'-' | b':' | b' ' | b'.')) {
            return Ok(None);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Self::from_unix(text).map(Some);
        }
        if is_zoneless(text)? {
            return Self::from_local(text, assumed.ok_or(NO_ZONE)?).map(Some);
        }
        Self::sane(text.parse().map_err(|_| UNREADABLE)?).map(Some)
    }

    /// Reads the JSON of a PHP `DateTime`: `date` is local to the zone that `timezone_type` and
    /// `timezone` name (1: an offset, 2: an abbreviation, 3: an identifier).
    ///
    /// # Errors
    ///
    /// Where it is anything else, or the zone is ambiguous or not in the SDK's small table.
    pub fn read_php(json: &str) -> Result<Option<Self>, Unreadable> {
        let php: PhpDateTime<'_> = serde_json::from_str(json).map_err(|_| UNREADABLE)?;
        let (Some(date), Some(zone)) = (php.date.text()?, php.timezone.text()?) else {
            return if php.date.is_absent() { Ok(None) } else { Err(UNKNOWN_ZONE) };
        };
        let zone = match php.timezone_type.text()?.as_deref() {
            Some("1") => Zone::from_offset(&zone),
            // Abbreviations are ambiguous (`IST` is three zones) except those of UTC.
            Some("2") => Zone::from_name(&zone).filter(|zone| *zone == Zone::UTC),
            Some("3") => Zone::from_name(&zone),
            _ => None,
        };
        match is_zoneless(&date) {
            Ok(true) => Self::from_local(&date, zone.ok_or(UNKNOWN_ZONE)?).map(Some),
            _ => Err(UNREADABLE),
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn as_unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    fn from_unix(text: &str) -> Result<Self, Unreadable> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let number: i64 = whole.parse().map_err(|_| UNREADABLE)?;
        let (unit_nanos, unit_digits) = if number <= SECONDS_MAX {
            (1_000_000_000, 9)
        } else if number <= MILLIS_MAX {
            (1_000_000, 6)
        } else {
            (1_000, 3)
        };
        let fraction: String =
            fraction.chars().chain(std::iter::repeat('0')).take(unit_digits).collect();
        let fraction: i128 = fraction.parse().map_err(|_| UNREADABLE)?;
        let nanos = i128::from(number) * unit_nanos + fraction;
        Self::sane(Timestamp::from_nanosecond(nanos).map_err(|_| INSANE)?)
    }

    fn from_local(text: &str, zone: Zone) -> Result<Self, Unreadable> {
        let local: DateTime = text.parse().map_err(|_| UNREADABLE)?;
        let offset = zone.offset_at(local).ok_or(UNKNOWN_ZONE)?;
        Self::sane(offset.to_timestamp(local).map_err(|_| INSANE)?)
    }

    fn sane(timestamp: Timestamp) -> Result<Self, Unreadable> {
        if SANE_SECONDS.contains(&timestamp.as_second()) {
            Ok(Self(timestamp))
        } else {
            Err(INSANE)
        }
    }
}

/// Whether a text of the form `YYYY-MM-DD?HH:MM:SS…` names no zone. The form is checked here
/// because the library reads more forms than providers mean.
fn is_zoneless(text: &str) -> Result<bool, Unreadable> {
    let (Some(head), Some(tail)) = (text.as_bytes().get(..19), text.as_bytes().get(19..)) else {
        return Err(UNREADABLE);
    };
    let fits = head.iter().zip(b"0000-00-00T00:00:00").all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        _ => byte == form,
    });
    let after_fraction = tail.strip_prefix(b".").map_or(tail, |fraction| {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        fraction.get(digits..).unwrap_or_default()
    });
    match after_fraction {
        _ if !fits => Err(UNREADABLE),
        [] => Ok(true),
        [b'Z' | b'z']
        | [b'+' | b'-', _, _]
        | [b'+' | b'-', _, _, _, _]
        | [b'+' | b'-', _, _, b':', _, _] => Ok(false),
        _ => Err(UNREADABLE),
    }
}

#[derive(Deserialize)]
struct PhpDateTime<'a> {
    #[serde(borrow)]
    date: crate::Loose<'a>,
    #[serde(borrow)]
    timezone_type: crate::Loose<'a>,
    #[serde(borrow)]
    timezone: crate::Loose<'a>,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Option<&str>, Unreadable>) {
        let read = Time::read(text, Some(Zone::UTC)).map(|time| time.map(|time| time.to_string()));
        assert_eq!(read, expected.map(|text| text.map(str::to_owned)), "{text}");
    }

    #[test]
    fn every_form_of_the_providers() {
        check("2024-02-04T12:48:32.346Z", Ok(Some("2024-02-04T12:48:32.346Z")));
        check("2024-06-15 11:51:35", Ok(Some("2024-06-15T11:51:35Z")));
        check("2024-06-15 11:51:35.807000", Ok(Some("2024-06-15T11:51:35.807Z")));
        check("2024-06-15T11:51:35+03:00", Ok(Some("2024-06-15T08:51:35Z")));
        check("2024-06-15T11:51:35-0330", Ok(Some("2024-06-15T15:21:35Z")));
        check("1767323045", Ok(Some("2026-01-02T03:04:05Z")));
        check("1767323045.5", Ok(Some("2026-01-02T03:04:05.5Z")));
        check("1767323045678", Ok(Some("2026-01-02T03:04:05.678Z")));
        check("1767323045678901", Ok(Some("2026-01-02T03:04:05.678901Z")));
    }

    #[test]
    fn nothing_is_absent_and_nonsense_a_warning() {
        for text in ["", "0", "0.0", "0000-00-00 00:00:00"] {
            check(text, Ok(None));
        }
        for text in [
            "2023-01-30T1722.102Z",
            "2023-01-30T17:22:102Z",
            "2024-02-30 00:00:00",
            "yesterday",
            "2024-06-15",
            "2024-06-15 11:51:35 EET",
            "2024-06-15T11:51:35+0",
            "1.2.3",
            "٢٠٢٤-06-15 11:51:35",
        ] {
            check(text, Err(UNREADABLE));
        }
        for text in ["946684799", "4102444800", "1999-12-31T23:59:59Z", "99999999999999999"] {
            check(text, Err(INSANE));
        }
    }

    #[test]
    fn a_zone_is_assumed_only_where_one_is_given() {
        assert_eq!(Time::read("2024-06-15 11:51:35", None), Err(NO_ZONE));
        let istanbul = Zone::from_name("Europe/Istanbul");
        let time = Time::read("2024-06-15 11:51:35", istanbul).unwrap().unwrap();
        assert_eq!(time.to_string(), "2024-06-15T08:51:35Z");
        let time = Time::read("2024-06-15T11:51:35Z", istanbul).unwrap().unwrap();
        assert_eq!(time.to_string(), "2024-06-15T11:51:35Z");
    }

    #[test]
    fn php_objects_are_local_to_their_zone() {
        let php = |kind: &str, zone: &str| {
            let json = format!(
                r#"{{"date":"2024-06-15 11:51:35.807000","timezone_type":{kind},"timezone":"{zone}"}}"#
            );
            Time::read_php(&json).map(|time| time.map(|time| time.to_string()))
        };
        let at = |text: &str| Ok(Some(text.to_owned()));
        for (kind, zone, expected) in [
            ("3", "UTC", at("2024-06-15T11:51:35.807Z")),
            ("\"3\"", "Europe/Istanbul", at("2024-06-15T08:51:35.807Z")),
            ("3", "Europe/Paris", Err(UNKNOWN_ZONE)),
            ("1", "+03:00", at("2024-06-15T08:51:35.807Z")),
            ("1", "-05:30", at("2024-06-15T17:21:35.807Z")),
            ("2", "Z", at("2024-06-15T11:51:35.807Z")),
            ("2", "GMT", at("2024-06-15T11:51:35.807Z")),
            ("2", "EET", Err(UNKNOWN_ZONE)),
            ("4", "UTC", Err(UNKNOWN_ZONE)),
        ] {
            assert_eq!(php(kind, zone), expected, "{kind} {zone}");
        }
        assert_eq!(Time::read_php(r#"{"date":null}"#), Ok(None));
        assert_eq!(
            Time::read_php(r#"{"date":"x","timezone_type":3,"timezone":"UTC"}"#),
            Err(UNREADABLE)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(Some(time)) = Time::read(&text, Some(Zone::UTC)) {
                prop_assert!(SANE_SECONDS.contains(&time.0.as_second()));
            }
        }

        #[test]
        fn what_is_written_reads_the_same(seconds in SANE_SECONDS, nanos in 0_i32..1_000_000_000) {
            let time = Time(Timestamp::new(seconds, nanos).unwrap());
            prop_assert_eq!(Time::read(&time.to_string(), None), Ok(Some(time)));
        }
    }
}
