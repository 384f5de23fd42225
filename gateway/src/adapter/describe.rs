//! What an adapter says of itself (`describe`), read leniently: keys unknown here are ignored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::text::tame;
use crate::model::{Answer, Travels};
use crate::verification::TOKEN_ROLE;

/// An adapter's description. The published schema is `plugin-sdk/describe.schema.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// Plain name, as `vkyc`.
    pub name: String,
    /// Version of the adapter, `MAJOR.MINOR.PATCH`.
    pub version: String,
    /// One line for people.
    #[serde(default)]
    pub summary: String,
    /// HTTP methods it takes; others are answered 405.
    pub methods: Vec<String>,
    #[serde(default)]
    pub events: Vec<EventType>,
    /// JSON Schema of its settings.
    #[serde(default)]
    pub settings_schema: Value,
    #[serde(default)]
    pub secrets: Vec<SecretRole>,
    /// Answered while a route is paused. Absent: 503 with `Retry-After`.
    #[serde(default)]
    pub paused_answer: Option<PausedAnswer>,
    /// Present where it uses state: the version of what it keeps there.
    #[serde(default)]
    pub state_version: Option<u32>,
    /// It has parts of requests masked. Of a request that it did not come to read, or broke on,
    /// nobody knows what must not be kept, so that nothing of body and query is.
    #[serde(default)]
    pub redacts: bool,
    /// Event types it consumes.
    #[serde(default)]
    pub consumes: Vec<String>,
    /// Dotted path of a setting, an object, whose members name further event types it consumes.
    #[serde(default)]
    pub consumes_named_by: Option<String>,
    #[serde(default)]
    pub views: Vec<View>,
    #[serde(default)]
    pub facts: Vec<FactColumn>,
}

impl Description {
    /// Reads and checks what `describe` returned.
    ///
    /// # Errors
    ///
    /// A sentence that names what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let description: Self = serde_json::from_str(text).map_err(|error| {
            format!("`describe` did not return a description: {}", tame(&error.to_string(), 256))
        })?;
        description.check().map_err(|wrong| format!("its description is wrong: {wrong}"))?;
        Ok(description)
    }

    /// The schema of the data of events of this type, where there is one:
    /// `urn:sluice:schema:<adapter>:<version>:<event type>`. A name and not an address, because an
    /// event outlives every host that could serve its schema; the adapter of that version describes
    /// it.
    #[must_use]
    pub fn schema_uri(&self, kind: &str) -> Option<String> {
        let described = self.events.iter().find(|event| event.kind == kind)?;
        let Self { name, version, .. } = self;
        (!described.schema.is_null()).then(|| format!("urn:sluice:schema:{name}:{version}:{kind}"))
    }

    /// Name and version, as `ottu/1.0.0`.
    #[must_use]
    pub fn adapter(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// The event types that it consumes with these settings, an adapter's own.
    #[must_use]
    pub fn consumed_types(&self, settings: &Map<String, Value>) -> Vec<String> {
        let path = self.consumes_named_by.as_deref().map(|path| path.split('.'));
        let mut named = path.is_some().then_some(settings);
        for key in path.into_iter().flatten() {
            named = named.and_then(|settings| settings.get(key)).and_then(Value::as_object);
        }
        let named = named.into_iter().flat_map(Map::keys);
        self.consumes.iter().chain(named).cloned().collect()
    }

    fn check(&self) -> Result<(), String> {
        if !is_plain(&self.name) {
            return Err(format!("`name` is 1 to 64 of `a-z0-9_-`, not `{}`", tame(&self.name, 64)));
        }
        if !is_version(&self.version) {
            let version = tame(&self.version, 64);
            return Err(format!("`version` is MAJOR.MINOR.PATCH, in numbers, not `{version}`"));
        }
        let is_method = |m: &String| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase());
        if self.methods.is_empty() || !self.methods.iter().all(is_method) {
            return Err("`methods` lists HTTP methods in capitals, at least one".to_owned());
        }
        if let Some(kind) = self.events.iter().map(|e| &e.kind).find(|kind| !is_event_type(kind)) {
            let kind = tame(kind, 64);
            return Err(format!("the event type `{kind}` is not 1 to 255 of `a-z0-9._-`"));
        }
        let mut kinds = BTreeSet::new();
        if let Some(event) = self.events.iter().find(|event| !kinds.insert(&event.kind)) {
            return Err(format!("the event type `{}` is described twice", event.kind));
        }
        let mut roles = BTreeSet::new();
        for secret in &self.secrets {
            let role = tame(&secret.role, 64);
            if !is_plain(&secret.role) {
                return Err(format!("the secret `{role}` is not named by 1 to 64 of `a-z0-9_-`"));
            }
            if secret.role == TOKEN_ROLE {
                return Err(format!(
                    "no secret is named `{role}`: that is the one in a route's path, which the \
                     gateway compares by itself"
                ));
            }
            if !roles.insert(&secret.role) {
                return Err(format!("the secret `{role}` is described twice"));
            }
            check_travels(&secret.travels)
                .map_err(|wrong| format!("the secret `{role}`: {wrong}"))?;
        }
        match &self.paused_answer {
            Some(paused) if !(200..=599).contains(&paused.status) => {
                Err("the status of `paused_answer` is 200 to 599".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Names of adapters and secrets are keys of a configuration.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn is_version(version: &str) -> bool {
    let is_number =
        |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    version.split('.').count() == 3 && version.split('.').all(is_number)
}

fn is_event_type(kind: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=255).contains(&kind.len()) && kind.bytes().all(plain)
}

fn check_travels(travels: &Travels) -> Result<(), String> {
    match travels {
        Travels::Header { name, .. } if http::HeaderName::from_bytes(name.as_bytes()).is_err() => {
            Err(format!("`{}` is no header name", tame(name, 64)))
        }
        Travels::Query { name, .. } if name.is_empty() => {
            Err("the query parameter has no name".to_owned())
        }
        Travels::Header { .. } | Travels::Query { .. } | Travels::Body | Travels::Key => Ok(()),
    }
}

/// One type of event that an adapter makes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventType {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub summary: String,
    /// JSON Schema of `data`.
    #[serde(default)]
    pub schema: Value,
}

/// A secret that an adapter knows by this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretRole {
    pub role: String,
    /// A route without it is a configuration problem.
    #[serde(default)]
    pub required: bool,
    /// With this setting the route neither needs it nor may have it: every secret that a route has
    /// must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unless: Option<SettingIs>,
    /// Dotted path of the setting that says how it is used: a route has both or neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    #[serde(default)]
    pub summary: String,
    pub travels: Travels,
}

/// A route's setting and one of its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingIs {
    /// Dotted path of the setting.
    pub setting: String,
    /// The value, a text.
    pub is: String,
}

/// An answer in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PausedAnswer {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
}

impl From<&PausedAnswer> for Answer {
    fn from(paused: &PausedAnswer) -> Self {
        Self {
            status: paused.status,
            headers: paused.headers.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            body: paused.body.clone().into(),
        }
    }
}

/// A read-only question that operators may ask.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    pub name: String,
    #[serde(default)]
    pub summary: String,
    /// JSON Schema of its parameters.
    #[serde(default)]
    pub parameters_schema: Value,
}

/// A fact that is shown as a column of Recent events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FactColumn {
    pub name: String,
    #[serde(default)]
    pub label: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn valid() -> Value {
        json!({
            "name": "vkyc", "version": "1.0.0", "methods": ["POST"],
            "events": [{ "type": "co.example.thing-1.happened_2" }],
            "secrets": [
                { "role": "shared", "required": true, "travels": { "in": "header", "name": "x-s" } },
                { "role": "q", "travels": { "in": "query", "name": "k" } },
                { "role": "key", "travels": { "in": "key" } },
            ],
        })
    }

    #[test]
    fn a_setting_names_further_events_that_are_consumed() {
        let mut json = valid();
        json["consumes"] = json!(["a.b"]);
        json["consumes_named_by"] = json!("more.events");
        let description = Description::parse(&json.to_string()).unwrap();
        for (settings, expected) in [
            (json!({ "more": { "events": { "c.d": {}, "e.f": {} } } }), &["a.b", "c.d", "e.f"][..]),
            (json!({ "more": { "events": 7 } }), &["a.b"]),
            (json!({}), &["a.b"]),
        ] {
            let settings = settings.as_object().unwrap();
            assert_eq!(description.consumed_types(settings), expected);
        }
        let without = Description::parse(&valid().to_string()).unwrap();
        assert_eq!(without.consumed_types(&Map::new()), [""; 0]);
    }

    #[track_caller]
    fn check(pointer: &str, value: Value, said: &str) {
        let mut description = valid();
        match description.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => description[pointer.trim_start_matches('/')] = value,
        }
        let error = Description::parse(&description.to_string()).unwrap_err();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn a_description_is_read_and_unknown_keys_are_ignored() {
        let mut description = valid();
        description["from_a_later_version"] = json!([1]);
        let description = Description::parse(&description.to_string()).unwrap();
        assert_eq!(description.secrets.len(), 3);
        assert!(description.secrets[0].required && !description.secrets[1].required);
    }

    #[test]
    fn a_wrong_description_is_refused_with_what_is_wrong() {
        assert!(Description::parse("").unwrap_err().contains("did not return a description"));
        check("/name", json!("A Name"), "`name` is 1 to 64 of `a-z0-9_-`, not `A Name`");
        check("/name", json!(""), "`name` is");
        for version in ["", "1", "1.0", "1.0.0.0", "1.0.x", "v1.0.0", "1.0.0-rc1", "1..0"] {
            let said = format!("`version` is MAJOR.MINOR.PATCH, in numbers, not `{version}`");
            check("/version", json!(version), &said);
        }
        check("/methods", json!([]), "`methods` lists");
        check("/methods", json!(["post"]), "`methods` lists");
        check("/events/0/type", json!(""), "the event type `` is not");
        check("/events/0/type", json!("A b\u{1b}"), "the event type `A b ` is not");
        let twice = json!([{ "type": "co.example.made" }, { "type": "co.example.made" }]);
        check("/events", twice, "the event type `co.example.made` is described twice");
        check("/secrets/0/role", json!("q"), "the secret `q` is described twice");
        check("/secrets/0/role", json!("?"), "the secret `?` is not named by");
        check("/secrets/0/travels/name", json!("a b"), "`a b` is no header name");
        check("/secrets/1/travels/name", json!(""), "the query parameter has no name");
        check("/secrets/2/travels/in", json!("cookie"), "unknown variant `cookie`");
        check("/paused_answer", json!({ "status": 100 }), "the status of `paused_answer`");
    }

    #[track_caller]
    fn check_roles(secrets: &Value, expected: Result<(), &str>) {
        let description = serde_json::json!({
            "name": "a", "version": "1.0.0", "methods": ["POST"], "secrets": secrets,
        });
        match (Description::parse(&description.to_string()), expected) {
            (Ok(_), Ok(())) => {}
            (Err(told), Err(expected)) if told.contains(expected) => {}
            (told, _) => panic!("{secrets}: {told:?}"),
        }
    }

    #[test]
    fn roles_are_plain_names_each_once_and_none_is_the_paths() {
        let role = |name: &str| serde_json::json!({ "role": name, "travels": { "in": "key" } });
        check_roles(&serde_json::json!([role("a"), role("token_2")]), Ok(()));
        check_roles(&serde_json::json!([role("token")]), Err("no secret is named `token`"));
        check_roles(&serde_json::json!([role("a"), role("a")]), Err("`a` is described twice"));
        check_roles(&serde_json::json!([role("A")]), Err("the secret `A` is not named by"));
    }
}
