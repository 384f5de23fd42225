use plugin_sdk::Country;
use plugin_sdk::settings::{MacHeader, Problem, Span, is_header_name};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) const DEFAULT_SECRET_HEADER: &str = "x-webhook-secret";

const HOUR_SECONDS: u64 = 3600;

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Country of telephone numbers that name none. Absent: such numbers are not guessed at.
    pub default_country: Option<Country>,
    /// Name of the header that carries the secret `shared_secret`.
    pub secret_header: String,
    /// A MAC in a header, where one was arranged with Paytia.
    pub hmac: Option<MacHeader>,
    /// How long after its last event a call is remembered: 1 hour at least.
    pub keep_calls: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_country: None,
            secret_header: DEFAULT_SECRET_HEADER.to_owned(),
            hmac: None,
            // As long as the gateway keeps requests unless it is told otherwise.
            keep_calls: Span::seconds(30 * 24 * HOUR_SECONDS),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !is_header_name(&self.secret_header) {
            problems.push(Problem::new("secret_header", "not the name of a header"));
        }
        if let Some(hmac) = &self.hmac {
            problems.extend(hmac.check("hmac"));
        }
        // Longer than retries come, and than a call rings.
        if self.keep_calls < Span::seconds(HOUR_SECONDS) {
            problems.push(Problem::new("keep_calls", "is less than an hour"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_by_path() {
        let settings: Settings = serde_json::from_str(
            r#"{"secret_header":"a b","hmac":{"header":""},"keep_calls":"59m"}"#,
        )
        .unwrap();
        let paths: Vec<String> =
            settings.check().iter().map(|problem| problem.path().to_owned()).collect();
        assert_eq!(paths, ["secret_header", "hmac.header", "keep_calls"]);
        assert_eq!(Settings::default().check(), []);
        assert!(serde_json::from_str::<Settings>(r#"{"default_country":"UK"}"#).is_err());
    }
}
