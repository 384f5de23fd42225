//! Telephone numbers as they are kept and told.

use plugin_sdk::{E164, Telephone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest text of a number that is kept.
const RAW_BYTES_MAX: usize = 64;

/// A telephone number: as it was read, and as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Phone {
    /// In E.164; absent where withheld or unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e164: Option<String>,
    pub raw: String,
}

impl Phone {
    pub(crate) fn of(read: &Telephone<'_>) -> Self {
        let raw = read.raw();
        let raw = raw.get(..raw.floor_char_boundary(RAW_BYTES_MAX)).unwrap_or_default();
        Self { e164: read.e164().map(|number| number.to_string()), raw: raw.to_owned() }
    }

    /// The number where it is known, else what was sent.
    pub(crate) fn told(&self) -> &str {
        self.e164.as_deref().unwrap_or(&self.raw)
    }
}

pub(crate) fn is_e164(text: &str) -> bool {
    E164::parse(text).is_some()
}
