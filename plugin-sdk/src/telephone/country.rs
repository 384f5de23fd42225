use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::row::{Plan, Row, has, words};
use super::table::COUNTRIES;

/// A country, whose rules for writing numbers apply to those that name none.
///
/// In settings a code of ISO 3166-1, as `GB`.
#[derive(Clone, Copy)]
pub struct Country(&'static Row);

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
