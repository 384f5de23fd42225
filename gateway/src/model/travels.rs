use serde::{Deserialize, Serialize};

/// Where a secret travels in a request, and so what the host compares and masks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Travels {
    /// It is the value of this header, after `prefix`. `setting` is the dotted path of a route
    /// setting that overrides the name.
    Header {
        name: String,
        #[serde(default)]
        prefix: String,
        #[serde(default)]
        setting: Option<String>,
    },
    /// It is the value of this query parameter.
    Query {
        name: String,
        #[serde(default)]
        setting: Option<String>,
    },
    /// It is in the body, compared by `verify-equal`.
    Body,
    /// It never travels: it is the key of a MAC or signature.
    Key,
}
