use plugin_sdk::settings::{MacHeader, Problem, is_header_name};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::event::EventKind;

pub(crate) const DEFAULT_SECRET_HEADER: &str = "x-webhook-secret";

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Only webhooks of this application are taken; those that name none are taken too.
    pub app_id: Option<String>,
    /// Event types to take, as `VCIP_CALL_COMPLETED`; others are answered 200 and ignored.
    /// Absent: all.
    pub events: Option<Vec<String>>,
    /// Name of the header that carries the secret `shared_secret`.
    pub secret_header: String,
    /// A MAC in a header, where one was arranged with `HyperVerge`.
    pub hmac: Option<MacHeader>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            app_id: None,
            events: None,
            secret_header: DEFAULT_SECRET_HEADER.to_owned(),
            hmac: None,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.app_id.as_ref().is_some_and(String::is_empty) {
            problems.push(Problem::new("app_id", "is empty; leave it out to take any"));
        }
        if self.events.as_ref().is_some_and(Vec::is_empty) {
            problems.push(Problem::new("events", "is empty; leave it out to take all"));
        }
        // What is not among them is answered 200 and gone, so a slip of the pen costs events.
        for (index, name) in self.events.iter().flatten().enumerate() {
            if let Some(meant) = EventKind::meant_by(name) {
                let message = format!("`{name}` is no event's name; did you mean `{meant}`?");
                problems.push(Problem::new(format!("events.{index}"), message));
            }
        }
        if !is_header_name(&self.secret_header) {
            problems.push(Problem::new("secret_header", "not the name of a header"));
        }
        if let Some(hmac) = &self.hmac {
            problems.extend(hmac.check("hmac"));
        }
        problems
    }

    /// Whether events of this type are taken. One without a type is taken where all are.
    pub(crate) fn wants(&self, event_type: Option<&str>) -> bool {
        self.events.as_ref().is_none_or(|wanted| {
            event_type.is_some_and(|sent| wanted.iter().any(|each| each.eq_ignore_ascii_case(sent)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_by_path() {
        let settings: Settings = serde_json::from_str(
            r#"{"app_id":"","events":[],"secret_header":"a b","hmac":{"header":""}}"#,
        )
        .unwrap();
        let paths: Vec<String> =
            settings.check().iter().map(|problem| problem.path().to_owned()).collect();
        assert_eq!(paths, ["app_id", "events", "secret_header", "hmac.header"]);
        assert_eq!(Settings::default().check(), []);
    }

    #[test]
    fn an_event_that_is_named_by_half_is_a_mistake_and_another_is_none() {
        let problems = |names: &[&str]| {
            let events = Some(names.iter().map(|name| (*name).to_owned()).collect());
            let settings = Settings { events, ..Settings::default() };
            let told = settings.check();
            told.iter().map(|each| format!("{}: {}", each.path(), each.message())).collect()
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(problems(&["VCIP_CALL_ENDED", "vcip_call_started"]), none);
        assert_eq!(problems(&["APPLICATION_STATE_RESET", "VCIP_CALL_RESTARTED"]), none);
        let found: Vec<String> = problems(&["VCIP_CALL_COMPLETE", "x", "call-ended", ""]);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(
            found[0],
            "events.0: `VCIP_CALL_COMPLETE` is no event's name; did you mean `VCIP_CALL_COMPLETED`?"
        );
        assert!(found[1].starts_with("events.2: `call-ended`"), "{found:?}");
        assert!(found[2].starts_with("events.3: ``"), "{found:?}");
    }

    #[test]
    fn event_types_are_wanted_without_regard_to_case() {
        let settings =
            Settings { events: Some(vec!["vcip_call_ended".to_owned()]), ..Settings::default() };
        assert!(settings.wants(Some("VCIP_CALL_ENDED")));
        assert!(!settings.wants(Some("VCIP_CALL_STARTED")));
        assert!(!settings.wants(None));
        assert!(Settings::default().wants(None));
    }
}
