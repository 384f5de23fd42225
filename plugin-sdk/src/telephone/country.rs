use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::table::COUNTRIES;

/// A country, whose rules for writing numbers apply to those that name none.
///
/// In settings a code of ISO 3166-1, as `GB`.
#[derive(Clone, Copy)]
pub struct Country(&'static Row);

/// One row of the generated table.
pub(super) struct Row {
    id: &'static str,
    pub(super) plan: Plan,
    /// What is dialled before a country code, separated by spaces, the longest first.
    exits: &'static str,
    /// Bit `n`: national numbers of `n` digits may be written without the trunk prefix and are no
    /// local numbers.
    bare: u16,
}

/// How numbers of a country code are made.
pub(super) struct Plan {
    pub(super) code: u16,
    /// What is dialled before a national number within the country, separated by spaces, the
    /// longest first.
    trunks: &'static str,
    /// Bit `n`: there are national numbers of `n` digits.
    lengths: u16,
}

pub(super) const fn row(id: &'static str, plan: Plan, exits: &'static str, bare: u16) -> Row {
    Row { id, plan, exits, bare }
}

pub(super) const fn plan(code: u16, trunks: &'static str, lengths: u16) -> Plan {
    Plan { code, trunks, lengths }
}

impl Country {
    /// Finds a country by its code of ISO 3166-1, in any case.
    #[must_use]
    pub fn find(id: &str) -> Option<Self> {
        COUNTRIES.iter().find(|row| row.id.eq_ignore_ascii_case(id)).map(Self)
    }

    /// Its code of ISO 3166-1.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.0.id
    }

    pub(super) const fn plan(self) -> &'static Plan {
        &self.0.plan
    }

    pub(super) fn exits(self) -> impl Iterator<Item = &'static str> {
        words(self.0.exits)
    }

    /// Whether a national number without its trunk prefix is nothing else.
    pub(super) const fn may_stand_bare(self, digits: &str) -> bool {
        has(self.0.bare, digits.len())
    }
}

impl Plan {
    pub(super) fn trunks(&self) -> impl Iterator<Item = &'static str> {
        words(self.trunks)
    }

    /// Whether a `0` before a national number is dialled within the country only.
    pub(super) fn drops_zero(&self) -> bool {
        self.trunks().any(|trunk| trunk == "0")
    }

    /// Whether there are national numbers as long as this.
    pub(super) const fn has_length(&self, national: &str) -> bool {
        has(self.lengths, national.len())
    }
}

const fn has(lengths: u16, length: usize) -> bool {
    length < 16 && lengths >> length & 1 == 1
}

fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split(' ').filter(|word| !word.is_empty())
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({})", self.id())
    }
}

impl PartialEq for Country {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Country {}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let id = Cow::<'_, str>::deserialize(from)?;
        Self::find(&id).ok_or_else(|| {
            de::Error::custom(format_args!("no country `{id}`; a code of two letters, as `GB`"))
        })
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.id())
    }
}

impl JsonSchema for Country {
    fn schema_name() -> Cow<'static, str> {
        "Country".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A country by its code of ISO 3166-1, as `GB`.",
            "type": "string",
            "pattern": "^[A-Za-z]{2}$",
        })
    }

    fn inline_schema() -> bool {
        true
    }
}
