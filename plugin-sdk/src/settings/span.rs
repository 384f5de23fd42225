use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ten years: nothing is kept longer.
const MILLIS_MAX: u64 = 3650 * 24 * 60 * 60 * 1000;

/// A span of time up to ten years, written as `90s`, `15m`, `24h` or `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

impl Span {
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.strip_prefix(digits)? {
            "s" => 1_000,
            "m" => 60 * 1_000,
            "h" => 60 * 60 * 1_000,
            "d" => 24 * 60 * 60 * 1_000,
            _ => return None,
        };
        let number: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
        number.checked_mul(unit).filter(|millis| *millis <= MILLIS_MAX).map(Self)
    }
}

/// In its largest whole unit: for the defaults in the documentation.
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let units = [(86_400_u64, 'd'), (3_600, 'h'), (60, 'm')];
        let seconds = self.as_seconds();
        let fits = |(unit, _): &(u64, char)| seconds >= *unit && seconds.is_multiple_of(*unit);
        let (unit, name) = units.into_iter().find(fits).unwrap_or((1, 's'));
        to.collect_str(&format_args!("{}{name}", seconds / unit))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        Self::read(&text)
            .ok_or_else(|| D::Error::custom("not a duration, as `90s`, `15m`, `24h` or `30d`"))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+[smhd]$" })
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_a_number_and_a_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("15m", 900), ("24h", 86_400)] {
            assert_eq!(Span::read(text), Some(Span::seconds(seconds)), "{text}");
        }
        assert_eq!(Span::read("2d"), Some(Span::seconds(172_800)));
        for text in ["", "s", "90", "1.5h", "-1s", "+1s", "1 s", "1ms", "3651d", "1é"] {
            assert_eq!(Span::read(text), None, "{text}");
        }
    }
}
