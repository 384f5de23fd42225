//! Binds a route's secrets to the roles of its adapter.

use super::Settings;
use crate::adapter::{Description, SecretRole, SettingIs};
use crate::config::{
    AdapterConfig, Config, DestinationKind, Location, Problems, RouteAuth, RouteConfig, Secret,
    SecretUse, TOKEN_BYTES_MIN, TOKEN_ROLE, join_key, list_help, name_help,
};
use crate::model::{Answer, Travels};
use crate::snapshot::BoundRoute;
use crate::verification::RouteSecrets;

/// Told to providers while a route is paused and its adapter has no better answer.
const PAUSED_RETRY_AFTER_SECONDS: u32 = 60;

/// A route and its adapter, while they are bound.
pub(super) struct Binding<'c> {
    pub(super) config: &'c Config,
    pub(super) route: &'c RouteConfig,
    pub(super) adapter: &'c AdapterConfig,
    /// The route's settings laid over the adapter's.
    pub(super) settings: &'c Settings,
    pub(super) description: &'c Description,
}

impl Binding<'_> {
    /// The route's secrets, each bound to where it travels.
    pub(super) fn secrets(
        &self,
        digest_key: &ring::hmac::Key,
        problems: &mut Problems,
    ) -> RouteSecrets {
        self.check_roles(problems);
        let roles = self.description.secrets.iter().map(|role| {
            let secret = self.route.secrets.get(&role.role).cloned();
            if let Some(secret) = &secret {
                self.check_secret(role, secret, problems);
            }
            (role.role.clone(), self.travels(role, problems), secret)
        });
        let roles = roles.collect();
        let token = self.route.secrets.get(TOKEN_ROLE).cloned();
        RouteSecrets::new(roles, token, self.route.auth, digest_key.clone())
    }

    /// Whether a secret can travel where its role does. In a query it stands in the logs of
    /// everything on the way, and nothing slows down who guesses at it: it is held to what a path
    /// token is.
    fn check_secret(&self, role: &SecretRole, secret: &Secret, problems: &mut Problems) {
        let at = || self.place(&join_key("secrets", &role.role));
        match &role.travels {
            Travels::Header { .. } => SecretUse::Header.check(secret, &at(), problems),
            Travels::Query { .. } => SecretUse::Token.check(secret, &at(), problems),
            Travels::Body | Travels::Key => {}
        }
    }

    fn check_roles(&self, problems: &mut Problems) {
        let known = || self.description.secrets.iter().map(|role| role.role.as_str());
        let plugin = &self.adapter.plugin.name;
        let given = || self.route.secrets.keys().filter(|role| *role != TOKEN_ROLE);
        for role in given() {
            if !known().any(|known| known == role) {
                let at = self.place(&join_key("secrets", role));
                let message = format!("plugin `{plugin}` has no secret `{role}`");
                let known: Vec<&str> = known().collect();
                let none = "it takes no secrets; verify by a `{token}` in the path".to_owned();
                let help = name_help(role, known.iter().copied(), &none);
                problems.push(&at, message, Some(help));
            }
        }
        self.check_paired(problems);
        if self.route.auth == RouteAuth::None {
            return;
        }
        self.check_waived(problems);
        let missing = self.description.secrets.iter().filter(|role| {
            role.required && !self.is_waived(role) && !self.route.secrets.contains_key(&role.role)
        });
        let mut is_missing = false;
        for role in missing {
            is_missing = true;
            let at = self.place(&join_key("secrets", &role.role));
            let summary = if role.summary.is_empty() { &role.role } else { &role.summary };
            let message = format!("is missing: plugin `{plugin}` requires it");
            let help = format!("the name of a secret: {}", super::words::untrusted(summary));
            problems.push(&at, message, Some(help));
        }
        if !is_missing && self.route.secrets.is_empty() {
            let message = "the route has no secret, so no request could be verified";
            let roles = list_help(known()).map_or_else(
                || "verify by a `{token}` in the path".to_owned(),
                |roles| format!("give it {roles}, or a `{{token}}` in the path"),
            );
            let help = format!("{roles}; `auth = \"none\"` believes everybody");
            problems.push(&self.place("secrets"), message, Some(help));
        }
    }

    /// A secret and the setting that says how it is used mean nothing without each other, whoever else
    /// is believed: what was meant to be checked is not, so the adapter would refuse everything.
    fn check_paired(&self, problems: &mut Problems) {
        for role in &self.description.secrets {
            let Some(path) = role.with.as_deref() else { continue };
            let is_given = self.route.secrets.contains_key(&role.role);
            let [setting, summary] = [path, &role.summary].map(super::words::untrusted);
            let (at, message, help) = match (is_given, self.setting(path).is_some()) {
                (true, true) | (false, false) => continue,
                (true, false) => (
                    self.place(&join_key("secrets", &role.role)),
                    format!("is given, but no setting `{setting}` says how it is used"),
                    format!("set `{setting}`, or take the secret out"),
                ),
                (false, true) => (
                    self.setting_place(path),
                    format!("needs the secret `{}`, which the route does not have", role.role),
                    format!("the name of a secret: {summary}"),
                ),
            };
            problems.push(&at, message, Some(help));
        }
    }

    /// A secret that the settings make useless is no decoration either: nothing that lacks it would
    /// ever be taken, although the settings say that it is.
    fn check_waived(&self, problems: &mut Problems) {
        let given = |role: &&SecretRole| self.route.secrets.contains_key(&role.role);
        for role in self.description.secrets.iter().filter(given) {
            let Some(unless) = role.unless.as_ref().filter(|_| self.is_waived(role)) else {
                continue;
            };
            let at = self.place(&join_key("secrets", &role.role));
            let [setting, is] = [&unless.setting, &unless.is].map(|t| super::words::untrusted(t));
            let message = format!("is given although the route says `{setting} = \"{is}\"`");
            let help = "every secret that a route has must match: give what comes without it a \
                        route of its own, with a `{token}` in the path";
            problems.push(&at, message, Some(help.to_owned()));
        }
    }

    /// Whether the settings say that the route does without the secret.
    fn is_waived(&self, role: &SecretRole) -> bool {
        let is = |unless: &SettingIs| {
            let value = self.setting(&unless.setting).and_then(serde_json::Value::as_str);
            value == Some(&unless.is)
        };
        role.unless.as_ref().is_some_and(is)
    }

    /// The value of a setting, by its dotted path.
    fn setting(&self, path: &str) -> Option<&serde_json::Value> {
        let mut keys = path.split('.');
        let first = keys.next().and_then(|key| self.settings.get(key))?;
        keys.try_fold(first, |value, key| value.get(key))
    }

    /// Where a secret travels, under the name that the settings give it.
    fn travels(&self, role: &SecretRole, problems: &mut Problems) -> Travels {
        match &role.travels {
            Travels::Header { name, prefix, setting } => {
                let (name, at) = self.name(name, setting.as_deref(), problems);
                let name = name.to_ascii_lowercase();
                if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                    let name = super::words::untrusted(&name);
                    problems.push(&at, format!("`{name}` is not the name of a header"), None);
                }
                Travels::Header { name, prefix: prefix.clone(), setting: setting.clone() }
            }
            Travels::Query { name, setting } => {
                let (name, at) = self.name(name, setting.as_deref(), problems);
                if name.is_empty() {
                    problems.push(&at, "a query parameter needs a name", None);
                }
                Travels::Query { name, setting: setting.clone() }
            }
            Travels::Body => Travels::Body,
            Travels::Key => Travels::Key,
        }
    }

    /// A header's or parameter's name, and the place to blame for it.
    fn name(
        &self,
        default: &str,
        setting: Option<&str>,
        problems: &mut Problems,
    ) -> (String, Location) {
        let Some(setting) = setting else {
            return (default.to_owned(), self.adapter.at.clone());
        };
        let at = self.setting_place(setting);
        match self.setting(setting) {
            Some(serde_json::Value::String(name)) => (name.clone(), at),
            Some(_) => {
                problems.push(&at, "expected a string", None);
                (default.to_owned(), at)
            }
            None => (default.to_owned(), self.adapter.at.clone()),
        }
    }

    /// A key of the route, or where it would stand.
    fn place(&self, key: &str) -> Location {
        let key = format!("routes.{}.{key}", self.route.name);
        self.config.sources.nearest(&key).map_or_else(|| self.route.at.clone(), |(at, _)| at)
    }

    /// A setting, in the route or else in its adapter.
    fn setting_place(&self, setting: &str) -> Location {
        let sources = &self.config.sources;
        let of_route = format!("routes.{}.settings.{setting}", self.route.name);
        let own = format!("adapters.{}.settings.{setting}", self.adapter.name);
        let at = sources.get(&of_route).or_else(|| sources.get(&own));
        at.unwrap_or(&self.adapter.at).clone()
    }
}

/// Whether the plugin of an adapter that is a destination consumes anything at all.
pub(super) fn consumers(
    config: &Config,
    adapter: &AdapterConfig,
    description: &Description,
    problems: &mut Problems,
) {
    if !description.consumes.is_empty() || description.consumes_named_by.is_some() {
        return;
    }
    for destination in config.destinations.values() {
        let DestinationKind::Adapter { adapter: consumer } = &destination.kind else { continue };
        if *consumer == adapter.name {
            let key = format!("destinations.{}.adapter", destination.name);
            let at = config.sources.get(&key).unwrap_or(&destination.at);
            let message = format!("plugin `{}` consumes no events", adapter.plugin.name);
            problems.push(at, message, None);
        }
    }
}

/// What a route answers while it is paused: its own answer, its adapter's, or "later".
pub(super) fn paused_answer(route: &RouteConfig, description: &Description) -> Answer {
    route
        .paused_answer
        .clone()
        .or_else(|| description.paused_answer.as_ref().map(Answer::from))
        .unwrap_or_else(|| Answer::unavailable(PAUSED_RETRY_AFTER_SECONDS))
}

/// Roles of a route whose shared secret has a value short enough to be guessed. Providers may allow
/// no longer one, so this is for a hint.
pub(in crate::snapshot) fn weak_roles(route: &BoundRoute) -> impl Iterator<Item = &str> {
    let roles = route.adapter.description().secrets.iter();
    let shared = roles.filter(|role| match &role.travels {
        Travels::Header { .. } | Travels::Body => true,
        // One is refused when it is short, the other is no shared secret.
        Travels::Query { .. } | Travels::Key => false,
    });
    let is_short = |secret: &Secret| {
        secret.versions.iter().any(|version| version.value.expose().len() < TOKEN_BYTES_MIN)
    };
    shared
        .filter(move |role| route.config.secrets.get(&role.role).is_some_and(is_short))
        .map(|role| role.role.as_str())
}
