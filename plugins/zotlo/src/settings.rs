use plugin_sdk::Zone;
use plugin_sdk::settings::{Problem, is_header_name};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) const DEFAULT_SECRET_HEADER: &str = "x-webhook-secret";
pub(crate) const DEFAULT_SECRET_PARAMETER: &str = "token";

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Only webhooks of this project are taken; those that name none are taken too.
    pub app_id: Option<String>,
    /// Zone of the times that name none. Zotlo documents some as UTC and none otherwise.
    pub assume_timezone: Zone,
    /// Name of the header that carries the secret `shared_secret`.
    pub secret_header: String,
    /// Name of the query parameter that carries the secret `query_token`.
    pub secret_parameter: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            app_id: None,
            assume_timezone: Zone::UTC,
            secret_header: DEFAULT_SECRET_HEADER.to_owned(),
            secret_parameter: DEFAULT_SECRET_PARAMETER.to_owned(),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.app_id.as_ref().is_some_and(String::is_empty) {
            problems.push(Problem::new("app_id", "is empty; leave it out to take any"));
        }
        if !is_header_name(&self.secret_header) {
            problems.push(Problem::new("secret_header", "not the name of a header"));
        }
        if self.secret_parameter.is_empty() {
            problems.push(Problem::new("secret_parameter", "is empty"));
        }
        problems
    }

    /// Whether a webhook of this project is taken.
    pub(crate) fn takes_app(&self, sent: Option<&str>) -> bool {
        match (&self.app_id, sent) {
            (Some(own), Some(sent)) => own == sent,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_by_path() {
        let settings: Settings =
            serde_json::from_str(r#"{"app_id":"","secret_header":"","secret_parameter":""}"#)
                .unwrap();
        let paths: Vec<String> =
            settings.check().iter().map(|problem| problem.path().to_owned()).collect();
        assert_eq!(paths, ["app_id", "secret_header", "secret_parameter"]);
        assert_eq!(Settings::default().check(), []);
    }

    #[test]
    fn zones_are_checked_when_read() {
        for (zone, good) in
            [("UTC", true), ("+03:00", true), ("Europe/Istanbul", true), ("Mars", false)]
        {
            let text = format!(r#"{{"assume_timezone":"{zone}"}}"#);
            assert_eq!(serde_json::from_str::<Settings>(&text).is_ok(), good, "{zone}");
        }
    }
}
