use plugin_sdk::Country;
use plugin_sdk::settings::{MacHeader, Problem, is_header_name};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) const DEFAULT_SECRET_HEADER: &str = "x-webhook-secret";

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
}

impl Default for Settings {
    fn default() -> Self {
        Self { default_country: None, secret_header: DEFAULT_SECRET_HEADER.to_owned(), hmac: None }
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
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_by_path() {
        let settings: Settings =
            serde_json::from_str(r#"{"secret_header":"a b","hmac":{"header":""}}"#).unwrap();
        let paths: Vec<String> =
            settings.check().iter().map(|problem| problem.path().to_owned()).collect();
        assert_eq!(paths, ["secret_header", "hmac.header"]);
        assert_eq!(Settings::default().check(), []);
        assert!(serde_json::from_str::<Settings>(r#"{"default_country":"UK"}"#).is_err());
    }
}
