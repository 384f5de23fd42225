//! What is kept of reports, for the operator.

use serde::{Deserialize, Serialize};

/// Longest text of a report that is kept in a list: what is longer is nothing to read in one.
const TEXT_BYTES_MAX: usize = 128;

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The first report of the call, or the same amount again.
    Matched,
    /// Another amount than before.
    Adjusted,
    /// It arrived before the report that counts.
    Superseded,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Adjusted => "adjusted",
            Self::Superseded => "superseded",
        }
    }
}

/// One report in the history of its call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When it arrived.
    pub(crate) at: u64,
    pub(crate) request: String,
    pub(crate) route: String,
    pub(crate) status: Status,
    pub(crate) strategy: String,
    pub(crate) payout_cents: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous_value_cents: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value_cents: Option<i64>,
    /// What all publishers together were credited.
    pub(crate) credited_cents: i64,
}

/// A report that matched no call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unmatched {
    /// When it arrived.
    pub(crate) at: u64,
    pub(crate) request: String,
    pub(crate) route: String,
    pub(crate) reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ref_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call_id: Option<String>,
}

/// A text as a list has it.
pub(crate) fn shortened(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().to_owned()
}
