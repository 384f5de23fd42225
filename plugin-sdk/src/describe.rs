use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::Serialize;

use crate::event_schema::{event_schema, input_schema};

/// An adapter about itself. Validation, masking, documentation and the columns of the gateway's
/// pages come from it. Its JSON follows `describe.schema.json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Description {
    /// Plain name, as `vkyc`.
    name: Cow<'static, str>,
    /// Version of the adapter, `MAJOR.MINOR.PATCH`.
    version: Cow<'static, str>,
    /// One line for people.
    summary: Cow<'static, str>,
    /// HTTP methods it takes; others are answered 405.
    methods: Vec<Cow<'static, str>>,
    /// Types of the events it makes.
    events: Vec<EventType>,
    /// JSON Schema of its settings.
    settings_schema: Schema,
    /// Secrets that a route may give it.
    secrets: Vec<SecretRole>,
    /// Answered while a route is paused. Absent: 503 with `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_answer: Option<PausedAnswer>,
    /// Present where it uses state: the version of what it keeps there.
    #[serde(skip_serializing_if = "Option::is_none")]
    state_version: Option<u32>,
    /// It has parts of requests masked (`inbound.redact`). Of a request that it did not come to
    /// read, or broke on, the gateway then keeps nothing of body and query.
    #[serde(skip_serializing_if = "is_false")]
    redacts: bool,
    /// Event types it consumes.
    consumes: Vec<Cow<'static, str>>,
    /// Dotted path of a setting, an object, whose members name further event types it consumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    consumes_named_by: Option<Cow<'static, str>>,
    /// Read-only questions that operators may ask.
    views: Vec<View>,
    /// Facts that are shown as columns of Recent events.
    facts: Vec<FactColumn>,
}

/// One type of event that an adapter makes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EventType {
    /// `CloudEvents` type.
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    summary: Cow<'static, str>,
    /// JSON Schema of `data`.
    schema: Schema,
}

/// A secret that an adapter knows by this name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SecretRole {
    role: Cow<'static, str>,
    /// A route without it is a configuration problem.
    required: bool,
    /// With this setting the route neither needs it nor may have it: every secret that a route has
    /// must match.
    #[serde(skip_serializing_if = "Option::is_none")]
    unless: Option<SettingIs>,
    /// Dotted path of the setting that says how it is used: a route has both or neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<Cow<'static, str>>,
    summary: Cow<'static, str>,
    travels: Travels,
}

/// A route's setting and one of its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettingIs {
    /// Dotted path of the setting.
    setting: Cow<'static, str>,
    /// The value, a text.
    is: Cow<'static, str>,
}

/// Where a secret travels in a request, and so what the gateway compares and masks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Travels {
    /// It is the value of this header, after `prefix`.
    Header {
        name: Cow<'static, str>,
        prefix: Cow<'static, str>,
        /// Dotted path of a route setting that overrides the name.
        #[serde(skip_serializing_if = "Option::is_none")]
        setting: Option<Cow<'static, str>>,
    },
    /// It is the value of this query parameter.
    Query {
        name: Cow<'static, str>,
        /// Dotted path of a route setting that overrides the name.
        #[serde(skip_serializing_if = "Option::is_none")]
        setting: Option<Cow<'static, str>>,
    },
    /// It is in the body, compared by `verify-equal`.
    Body,
    /// It never travels: it is the key of a MAC or signature.
    Key,
}

/// An answer in JSON.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PausedAnswer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// A read-only question that operators may ask.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct View {
    name: Cow<'static, str>,
    summary: Cow<'static, str>,
    /// JSON Schema of its parameters.
    parameters_schema: Schema,
}

/// A fact that is shown as a column of Recent events.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FactColumn {
    name: Cow<'static, str>,
    label: Cow<'static, str>,
}

impl SettingIs {
    /// The setting at this dotted path has this value.
    #[must_use]
    pub const fn new(setting: &'static str, is: &'static str) -> Self {
        Self { setting: Cow::Borrowed(setting), is: Cow::Borrowed(is) }
    }
}

impl Travels {
    /// It is the whole value of this header.
    #[must_use]
    pub const fn header(name: &'static str) -> Self {
        Self::Header { name: Cow::Borrowed(name), prefix: Cow::Borrowed(""), setting: None }
    }

    /// It is the value of this query parameter.
    #[must_use]
    pub const fn query(name: &'static str) -> Self {
        Self::Query { name: Cow::Borrowed(name), setting: None }
    }

    /// Lets a route setting, by its dotted path, name another header or parameter.
    #[must_use]
    pub fn named_by(mut self, path: &'static str) -> Self {
        if let Self::Header { setting, .. } | Self::Query { setting, .. } = &mut self {
            *setting = Some(Cow::Borrowed(path));
        }
        self
    }

    /// What stands before the secret in the header, as `Bearer `.
    #[must_use]
    pub fn after(mut self, text: &'static str) -> Self {
        if let Self::Header { prefix, .. } = &mut self {
            *prefix = Cow::Borrowed(text);
        }
        self
    }
}

impl Description {
    /// `version` is usually `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn new(name: &'static str, version: &'static str, summary: &'static str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            methods: vec!["POST".into()],
            events: Vec::new(),
            settings_schema: Schema::default(),
            secrets: Vec::new(),
            paused_answer: None,
            state_version: None,
            redacts: false,
            consumes: Vec::new(),
            consumes_named_by: None,
            views: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// The HTTP methods it takes, in capitals, instead of `POST` alone.
    #[must_use]
    pub fn methods(mut self, methods: &[&'static str]) -> Self {
        self.methods = methods.iter().map(|method| Cow::Borrowed(*method)).collect();
        self
    }

    /// A type of event that it makes, and its data.
    #[must_use]
    pub fn event<Data: JsonSchema>(mut self, kind: &'static str, summary: &'static str) -> Self {
        let schema = event_schema::<Data>();
        self.events.push(EventType { kind: kind.into(), summary: summary.into(), schema });
        self
    }

    pub(crate) fn settings<Settings: JsonSchema>(mut self) -> Self {
        self.settings_schema = input_schema::<Settings>();
        self
    }

    /// A secret without which no route may use the adapter.
    #[must_use]
    pub fn required_secret(
        self,
        role: &'static str,
        travels: Travels,
        summary: &'static str,
    ) -> Self {
        self.secret(role, travels, summary, true)
    }

    /// A secret without which no route may use the adapter, but for routes with the setting
    /// `unless`: those may not have it, since every secret that a route has must match.
    #[must_use]
    pub fn secret_unless(
        self,
        role: &'static str,
        travels: Travels,
        summary: &'static str,
        unless: SettingIs,
    ) -> Self {
        let mut about = self.secret(role, travels, summary, true);
        if let Some(secret) = about.secrets.last_mut() {
            secret.unless = Some(unless);
        }
        about
    }

    /// A secret that a route may have. What a route has must match.
    #[must_use]
    pub fn optional_secret(
        self,
        role: &'static str,
        travels: Travels,
        summary: &'static str,
    ) -> Self {
        self.secret(role, travels, summary, false)
    }

    /// A secret that means something only with the setting at the dotted path `setting`: a route has
    /// both or neither, and one of them alone is a configuration problem.
    #[must_use]
    pub fn secret_with(
        self,
        role: &'static str,
        travels: Travels,
        summary: &'static str,
        setting: &'static str,
    ) -> Self {
        let mut about = self.secret(role, travels, summary, false);
        if let Some(secret) = about.secrets.last_mut() {
            secret.with = Some(setting.into());
        }
        about
    }

    fn secret(
        mut self,
        role: &'static str,
        travels: Travels,
        summary: &'static str,
        required: bool,
    ) -> Self {
        let (role, summary) = (role.into(), summary.into());
        let (unless, with) = (None, None);
        self.secrets.push(SecretRole { role, required, unless, with, summary, travels });
        self
    }

    /// What is answered while a route is paused.
    #[must_use]
    pub fn paused_answer(mut self, answer: PausedAnswer) -> Self {
        self.paused_answer = Some(answer);
        self
    }

    /// Says that it uses state, and the version of what it keeps there.
    #[must_use]
    pub const fn state_version(mut self, version: u32) -> Self {
        self.state_version = Some(version);
        self
    }

    /// Says that it has parts of requests masked, as with [`crate::Redactor`]. Of a request that it
    /// did not come to read (the gateway was overloaded), or broke on before it had asked, nobody
    /// knows what must not be kept: the gateway then keeps nothing of body and query.
    #[must_use]
    pub const fn redacts(mut self) -> Self {
        self.redacts = true;
        self
    }

    /// An event type of another adapter that it consumes.
    #[must_use]
    pub fn consumes(mut self, kind: &'static str) -> Self {
        self.consumes.push(kind.into());
        self
    }

    /// Further event types that it consumes: the names of the members of an object in the adapter's
    /// settings, by its dotted path.
    #[must_use]
    pub fn consumes_named_by(mut self, setting: &'static str) -> Self {
        self.consumes_named_by = Some(setting.into());
        self
    }

    /// A question that operators may ask, and its parameters.
    #[must_use]
    pub fn view<Parameters: JsonSchema>(
        mut self,
        name: &'static str,
        summary: &'static str,
    ) -> Self {
        let parameters_schema = input_schema::<Parameters>();
        self.views.push(View { name: name.into(), summary: summary.into(), parameters_schema });
        self
    }

    /// A fact that is shown as a column.
    #[must_use]
    pub fn fact(mut self, name: &'static str, label: &'static str) -> Self {
        self.facts.push(FactColumn { name: name.into(), label: label.into() });
        self
    }

    /// The JSON that the gateway reads.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn consumes_events(&self) -> bool {
        !self.consumes.is_empty() || self.consumes_named_by.is_some()
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn takes_method(&self, method: &str) -> bool {
        self.methods.iter().any(|each| each == method)
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn roles(&self) -> impl Iterator<Item = (&str, &Travels)> {
        self.secrets.iter().map(|each| (each.role.as_ref(), &each.travels))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) const fn uses_state(&self) -> bool {
        self.state_version.is_some()
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) const fn says_that_it_redacts(&self) -> bool {
        self.redacts
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn makes_event(&self, kind: &str) -> bool {
        self.events.iter().any(|each| each.kind == kind)
    }

    /// Whether it lists a view; else a sentence.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn lists_view(&self, name: &str) -> Result<(), String> {
        if self.views.iter().any(|each| each.name == name) {
            return Ok(());
        }
        let names: Vec<String> = self.views.iter().map(|each| format!("`{}`", each.name)).collect();
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(format!("it has no view `{name}`; `describe` lists {has} (`view`)"))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn shows_fact(&self, name: &str) -> bool {
        self.facts.iter().any(|each| each.name == name)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde takes")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests;
