use std::borrow::Cow;

use jiff::civil::{Date, DateTime, date};
use jiff::tz::Offset;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A zone with one offset: enough for providers that name one, and small enough for a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    offset: Offset,
    /// The offset holds from this day on; before, it is not known here.
    since: Date,
}

/// Zones whose offset has not changed since the given day (tz database 2025b), with their offset
/// in minutes.
const FIXED: [(&str, i32, Date); 10] = [
    ("Asia/Bahrain", 180, EVER),
    ("Asia/Calcutta", 330, EVER),
    ("Asia/Dubai", 240, EVER),
    ("Asia/Kolkata", 330, EVER),
    ("Asia/Kuwait", 180, EVER),
    ("Asia/Qatar", 180, EVER),
    ("Asia/Riyadh", 180, EVER),
    ("Asia/Singapore", 480, EVER),
    ("Asia/Tokyo", 540, EVER),
    // Summer time was made permanent on the night after 7 September 2016.
    ("Europe/Istanbul", 180, date(2016, 9, 8)),
];

/// Before everything that is read as a time.
const EVER: Date = date(1999, 1, 1);

const UTC_NAMES: [&str; 7] = ["UTC", "Etc/UTC", "GMT", "Etc/GMT", "Z", "Zulu", "UCT"];

impl Zone {
    pub const UTC: Self = Self { offset: Offset::UTC, since: EVER };

    /// Reads `+HH:MM`, `-HHMM` or `+HH`.
    #[must_use]
    pub fn from_offset(text: &str) -> Option<Self> {
        let (sign, digits) = match text.as_bytes() {
            [b'+', digits @ ..] => (1, digits),
            [b'-', digits @ ..] => (-1, digits),
            _ => return None,
        };
        let number = |a: &u8, b: &u8| {
            let digit = |byte: u8| char::from(byte).to_digit(10);
            i32::try_from(digit(*a)? * 10 + digit(*b)?).ok()
        };
        let (hours, minutes) = match digits {
            [a, b] => (number(a, b)?, 0),
            [a, b, c, d] | [a, b, b':', c, d] => (number(a, b)?, number(c, d)?),
            _ => return None,
        };
        // 14:00 is the largest offset that any place has.
        let within = minutes < 60 && hours * 60 + minutes <= 14 * 60;
        let offset = Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok()?;
        within.then_some(Self { offset, since: EVER })
    }

    /// Reads an identifier: one of the spellings of UTC, or of the zones in the SDK's table.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if UTC_NAMES.iter().any(|each| each.eq_ignore_ascii_case(name)) {
            return Some(Self::UTC);
        }
        let (_, minutes, since) =
            FIXED.into_iter().find(|(each, ..)| each.eq_ignore_ascii_case(name))?;
        Some(Self { offset: Offset::from_seconds(minutes * 60).ok()?, since })
    }

    pub(super) fn offset_at(self, local: DateTime) -> Option<Offset> {
        (local.date() >= self.since).then_some(self.offset)
    }
}

/// As an offset, or `UTC`: for the defaults of settings.
impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.offset == Offset::UTC {
            return to.serialize_str("UTC");
        }
        let minutes = self.offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        to.collect_str(&format_args!("{sign}{hours:02}:{minutes:02}"))
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::from_offset(&text).or_else(|| Self::from_name(&text)).ok_or_else(|| {
            let known: Vec<&str> = FIXED.iter().map(|(name, ..)| *name).collect();
            de::Error::custom(format!(
                "not a zone: expected `UTC`, an offset as `+03:00`, or one of {}",
                known.join(", ")
            ))
        })
    }
}

impl JsonSchema for Zone {
    fn schema_name() -> Cow<'static, str> {
        "Zone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`UTC`, an offset as `+03:00`, or an identifier as `Europe/Istanbul`",
        })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_names_are_exact() {
        for good in ["+03:00", "-0530", "+14", "+00:00"] {
            assert!(Zone::from_offset(good).is_some(), "{good}");
        }
        for bad in ["", "03:00", "+3", "+15:00", "+03:60", "+03:0", "+aa", "+14:01"] {
            assert!(Zone::from_offset(bad).is_none(), "{bad}");
        }
        assert_eq!(Zone::from_name("etc/utc"), Some(Zone::UTC));
        assert_eq!(Zone::from_name("Europe/Paris"), None);
    }

    #[test]
    fn an_offset_is_not_applied_before_it_held() {
        let istanbul = Zone::from_name("Europe/Istanbul").unwrap();
        assert!(istanbul.offset_at(date(2016, 9, 7).at(12, 0, 0, 0)).is_none());
        assert!(istanbul.offset_at(date(2016, 9, 8).at(12, 0, 0, 0)).is_some());
    }
}
