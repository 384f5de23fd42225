//! Telephone numbers as providers write them, and what may be compared of them.

mod country;
mod plan;
mod row;
mod table;
mod withheld;
mod written;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

pub use country::Country;

use crate::json::Unreadable;
use written::Written;

/// Fewest and most digits of an E.164 number, country code and all.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// A telephone number as a provider wrote it, and its E.164 form where it has one.
///
/// A withheld caller and a text that is no number have none, and nothing is the same as them, not
/// even themselves: compare with [`Self::is_same_as`]. So there is no `==`, of this type or of
/// [`E164`]; with one, two absent numbers would be equal.
///
/// ```compile_fail,E0369
/// let caller = plugin_sdk::Telephone::read("anonymous", None).unwrap();
/// let other = plugin_sdk::Telephone::read("anonymous", None).unwrap();
/// let wrong = caller.e164() == other.e164();
/// ```
#[derive(Clone, Debug)]
pub struct Telephone<'a> {
    raw: Cow<'a, str>,
    read: Result<E164, Unfit>,
}

impl<'a> Telephone<'a> {
    /// Reads a text. `home` is the country of numbers that name none; without it a national
    /// number is not guessed at. `None` for a blank text: nothing was sent.
    ///
    /// Whatever form E.164 numbers come in is read: `+44 (0)20 7946 0018`, `0044…`, a `+` that a
    /// form turned into a space, `tel:` and `sip:` addresses, extensions, digits of other scripts.
    #[must_use]
    pub fn read(raw: impl Into<Cow<'a, str>>, home: Option<Country>) -> Option<Self> {
        let raw = raw.into();
        if written::is_blank(&raw) {
            return None;
        }
        let read = if withheld::is_spelt_out(&raw) {
            Err(Unfit::Withheld)
        } else {
            Written::scan(&raw).and_then(|written| plan::resolve(&written, home))
        };
        Some(Self { raw, read })
    }

    /// Reads the literal of a JSON number. It must be a whole number, exactly: `13055551234`,
    /// `13055551234.0` and `1.3055551234e10` are the same.
    #[must_use]
    pub fn read_number(literal: impl Into<Cow<'a, str>>, home: Option<Country>) -> Self {
        let raw = literal.into();
        let read = written::whole_number(&raw)
            .map(Written::of_digits)
            .ok_or(Unfit::NotWhole)
            .and_then(|written| plan::resolve(&written, home));
        Self { raw, read }
    }

    /// The number, where it could be read.
    #[must_use]
    pub fn e164(&self) -> Option<E164> {
        self.read.ok()
    }

    /// What the provider wrote.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Whether the text says that the caller does not want to be known.
    #[must_use]
    pub const fn is_withheld(&self) -> bool {
        matches!(self.read, Err(Unfit::Withheld))
    }

    /// Whether both are known and the same number, compared whole.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        matches!((self.read, other.read), (Ok(own), Ok(other)) if own.is(other))
    }

    /// Why there is no number. A withheld one is no doubt: that is what the provider means.
    pub(crate) fn doubt(&self) -> Option<Unreadable> {
        let detail = match self.read {
            Ok(_) | Err(Unfit::Withheld) => return None,
            Err(Unfit::Letters) => "letters in a telephone number",
            Err(Unfit::Signs) => "signs that belong in no telephone number",
            Err(Unfit::NotWhole) => "not a whole number",
            Err(Unfit::NoCountry) => "a national number, and no default country is set",
            Err(Unfit::Impossible) => "too short or too long, or no number of the default country",
        };
        Some(Unreadable::new("unreadable_telephone", detail))
    }
}

impl Serialize for Telephone<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let e164 = self.e164();
        let mut object = to.serialize_struct("Telephone", 1 + usize::from(e164.is_some()))?;
        if let Some(e164) = e164 {
            object.serialize_field("e164", &e164)?;
        }
        object.serialize_field("raw", &self.raw)?;
        object.end()
    }
}

impl JsonSchema for Telephone<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Telephone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A telephone number.",
            "type": "object",
            "properties": {
                "e164": {
                    "description": "Absent where withheld or unreadable.",
                    "type": "string",
                    "pattern": r"^\+[1-9][0-9]{6,14}$",
                },
                "raw": { "description": "As the provider wrote it.", "type": "string" },
            },
            "required": ["raw"],
        })
    }
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    Withheld,
    Letters,
    Signs,
    NotWhole,
    NoCountry,
    Impossible,
}

/// A number as ITU-T E.164 has it: a country code and a national number, 7 to 15 digits together.
///
/// Deliberately without `==`: see [`Telephone`].
#[derive(Clone, Copy)]
pub struct E164(u64);

impl E164 {
    /// Reads what this type writes, as `+13055551234`, and nothing else. For settings and for
    /// what an adapter stored; what a provider sent is read by [`Telephone::read`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_digits(text.strip_prefix('+')?)
    }

    /// Whether it is this number.
    #[must_use]
    pub const fn is(self, other: Self) -> bool {
        self.0 == other.0
    }

    fn of_digits(digits: &str) -> Option<Self> {
        let fits = DIGITS.contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        // 15 digits are far below 2^64.
        fits.then(|| digits.parse().ok().map(Self)).flatten()
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E164({self})")
    }
}

impl Serialize for E164 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
