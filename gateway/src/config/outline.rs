//! What a configuration says, part by part and key by key, so that two can be compared.
//!
//! Invariant: nothing confidential can be read from an outline. What might be (a secret's value, a
//! URL, a header, a text among a plugin's settings) is there as a digest.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ring::digest::{Context, SHA256};

use super::{
    AdapterConfig, AdminConfig, Config, Delivery, DestinationConfig, DestinationKind, HttpFormat,
    IngestConfig, LimitsConfig, Listen, ListenerConfig, LogConfig, PluginSource, PluginsConfig,
    RetryConfig, RouteAuth, RouteConfig, RoutePath, Secret, SecretVersion, SocketAccess,
    StorageConfig,
};

/// A kind of part. In this order changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Route,
    Adapter,
    Plugin,
    Secret,
    Destination,
    Ingest,
    Admin,
    Storage,
    Plugins,
    Log,
}

impl Part {
    /// As the configuration calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Adapter => "adapter",
            Self::Plugin => "plugin",
            Self::Secret => "secret",
            Self::Destination => "destination",
            Self::Ingest => "ingest",
            Self::Admin => "admin",
            Self::Storage => "storage",
            Self::Plugins => "plugins",
            Self::Log => "log",
        }
    }
}

/// What one key says.
#[derive(Clone, PartialEq, Eq)]
pub enum Said {
    /// May be shown.
    Open(String),
    /// May only be compared: its SHA-256.
    Closed([u8; 32]),
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(text) => write!(f, "Open({text:?})"),
            Self::Closed(_) => f.write_str("Closed(…)"),
        }
    }
}

/// The keys of one part.
pub type Keys = BTreeMap<String, Said>;

/// All parts by kind and name; a section has the empty name.
pub type Outline = BTreeMap<(Part, String), Keys>;

impl Config {
    /// What this configuration says. An adapter that only a route's `plugin` makes is told with
    /// its route.
    #[must_use]
    pub fn outline(&self) -> Outline {
        // Every field must decide.
        let Self { ingest, admin, storage, plugins, log, secrets, adapters, routes, .. } = self;
        let Self { destinations, files: _, sources, .. } = self;
        let mut outline = Outline::new();
        let sections = [
            (Part::Ingest, of_ingest(ingest)),
            (Part::Admin, of_admin(admin)),
            (Part::Storage, of_storage(storage)),
            (Part::Plugins, of_plugins(plugins)),
            (Part::Log, of_log(log)),
        ];
        outline.extend(sections.map(|(part, keys)| ((part, String::new()), keys)));
        for (name, secret) in &secrets.0 {
            outline.insert((Part::Secret, name.to_string()), of_secret(secret));
        }
        for (name, adapter) in adapters {
            if sources.get(&format!("adapters.{name}")).is_some() {
                outline.insert((Part::Adapter, name.to_string()), of_adapter(adapter));
            }
        }
        for (name, route) in routes {
            outline.insert((Part::Route, name.to_string()), of_route(route));
        }
        for (name, destination) in destinations {
            outline.insert((Part::Destination, name.to_string()), of_destination(destination));
        }
        outline
    }
}

impl DestinationConfig {
    /// Whether this is the same destination, down to the values of its secrets.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let signing = |config: &Self| match &config.kind {
            DestinationKind::Http { signing_secret, .. } => signing_secret.as_ref().map(of_secret),
            DestinationKind::File { .. } | DestinationKind::Adapter { .. } => None,
        };
        of_destination(self) == of_destination(other) && signing(self) == signing(other)
    }
}

fn of_ingest(config: &IngestConfig) -> Keys {
    let IngestConfig {
        listeners,
        trusted_proxies,
        forwarded,
        body_max,
        connections_max,
        requests_in_flight_max,
        head_deadline,
        body_deadline,
        body_rate_min,
        idle_deadline,
        drain,
        public_url,
    } = config;
    let mut keys = keys([
        ("trusted_proxies", open(trusted_proxies)),
        ("forwarded", open(forwarded)),
        ("body_max", size(*body_max)),
        ("connections_max", open(connections_max)),
        ("requests_in_flight_max", open(requests_in_flight_max)),
        ("head_deadline", duration(*head_deadline)),
        ("body_deadline", duration(*body_deadline)),
        ("body_rate_min", size(*body_rate_min)),
        ("idle_deadline", duration(*idle_deadline)),
        ("drain", duration(*drain)),
    ]);
    keys.extend(public_url.as_ref().map(|url| ("public_url".to_owned(), open(url))));
    let unnamed = listeners.iter().filter(|listener| listener.name.is_none());
    let listen: Vec<String> = unnamed.map(|listener| listener.listen.to_string()).collect();
    if !listen.is_empty() {
        keys.insert("listen".to_owned(), open(listen.join(", ")));
    }
    for listener in listeners {
        add_listener(&mut keys, listener);
    }
    keys
}

/// The keys of a listener that has a table of its own.
fn add_listener(keys: &mut Keys, config: &ListenerConfig) {
    let ListenerConfig { name, listen, access, tls, http2, at: _ } = config;
    let Some(name) = name else { return };
    let mut add = |key: &str, said| keys.insert(format!("listeners.{name}.{key}"), said);
    add("address", open(listen));
    add("http2", open(http2));
    if let Some(tls) = tls {
        // It tells its key's public half, so no other key goes with it.
        add("certificate", closed([tls.chain_digest()]));
    }
    if matches!(listen, Listen::Unix(_)) {
        let SocketAccess { mode, owner, group } = access;
        add("mode", open(format!("{mode:04o}")));
        for (key, number) in [("owner", owner), ("group", group)] {
            if let Some(number) = number {
                add(key, open(number));
            }
        }
    }
}

fn of_admin(config: &AdminConfig) -> Keys {
    let AdminConfig { listen, token } = config;
    keys([("listen", open(listen)), ("token_secret", open(&token.name))])
}

fn of_storage(config: &StorageConfig) -> Keys {
    let StorageConfig { sqlite_path, retention, removed_grace, ballast } = config;
    keys([
        ("url", closed([sqlite_path.as_os_str().as_encoded_bytes()])),
        ("retention", duration(*retention)),
        ("removed_grace", duration(*removed_grace)),
        ("ballast", open(bytesize::ByteSize(*ballast))),
    ])
}

fn of_plugins(config: &PluginsConfig) -> Keys {
    let PluginsConfig { directory, size_max, cache } = config;
    keys([
        ("directory", open(directory.display())),
        ("size_max", open(bytesize::ByteSize(*size_max))),
        ("cache", open(cache.display())),
    ])
}

fn of_log(config: &LogConfig) -> Keys {
    let LogConfig { level } = config;
    keys(level.map(|level| ("level", open(level))))
}

fn of_secret(secret: &Secret) -> Keys {
    let Secret { name: _, versions } = secret;
    let parts = versions.iter().flat_map(|SecretVersion { value, expires_at }| {
        let expiry = expires_at.map_or(u64::MAX, |at| at.0).to_le_bytes().to_vec();
        [zeroize::Zeroizing::new(value.expose().to_vec()), zeroize::Zeroizing::new(expiry)]
    });
    keys([("values", closed(parts))])
}

fn of_adapter(config: &AdapterConfig) -> Keys {
    let AdapterConfig { name: _, plugin, settings, deliver_to, at: _ } = config;
    // Where it lies follows from `plugins.directory`.
    let PluginSource { name: plugin, path: _, digest } = plugin;
    let mut keys = keys([("plugin", open(plugin)), ("deliver_to", deliveries(deliver_to))]);
    keys.extend(digest.as_ref().map(|digest| ("digest".to_owned(), open(digest))));
    add_settings(&mut keys, settings);
    keys
}

fn of_route(config: &RouteConfig) -> Keys {
    let RouteConfig {
        name: _,
        path,
        adapter,
        secrets,
        auth,
        settings,
        deliver_to,
        body_max,
        deadline,
        limits: LimitsConfig { per_client, per_route, headers },
        allow_from,
        paused,
        paused_answer,
        at: _,
    } = config;
    let path = match path {
        RoutePath::Exact(path) => path.clone(),
        RoutePath::Token { prefix, suffix } => format!("{prefix}{{token}}{suffix}"),
    };
    let mut keys = keys([
        // What nobody can guess may be all that keeps strangers out.
        ("path", closed([path.as_bytes()])),
        ("adapter", open(adapter)),
        ("deliver_to", deliveries(deliver_to)),
        ("body_max", size(*body_max)),
        ("deadline", duration(*deadline)),
        ("paused", open(paused)),
    ]);
    if *auth == RouteAuth::None {
        keys.insert("auth".to_owned(), open("none"));
    }
    for (key, rate) in [("limits.per_client", per_client), ("limits.per_route", per_route)] {
        keys.extend(rate.map(|rate| (key.to_owned(), open(rate))));
    }
    if *headers {
        keys.insert("limits.headers".to_owned(), open(headers));
    }
    if let Some(networks) = allow_from.networks() {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        keys.insert("allow_from".to_owned(), open(networks.join(", ")));
    }
    if let Some(answer) = paused_answer {
        keys.insert("paused_answer".to_owned(), closed([format!("{answer:?}").as_bytes()]));
    }
    for (role, secret) in secrets {
        keys.insert(format!("secrets.{role}"), open(&secret.name));
    }
    add_settings(&mut keys, settings);
    keys
}

fn of_destination(config: &DestinationConfig) -> Keys {
    let DestinationConfig { name: _, kind, retry, timeout, concurrency, at: _ } = config;
    let RetryConfig { delays, jitter } = retry;
    let delays: Vec<String> = delays.iter().map(|delay| shown(*delay)).collect();
    let mut keys = keys([
        ("retry.delays", open(delays.join(", "))),
        ("retry.jitter", open(jitter)),
        ("timeout", duration(*timeout)),
        ("concurrency", open(concurrency)),
    ]);
    match kind {
        DestinationKind::Http { url, format, signing_secret, headers, allow_private } => {
            let format = match format {
                HttpFormat::Structured => "structured",
                HttpFormat::Binary => "binary",
            };
            let headers = headers.iter().flat_map(|(name, value)| {
                [name.as_bytes(), value.expose()].map(|part| zeroize::Zeroizing::new(part.to_vec()))
            });
            keys.extend(self::keys([
                ("type", open("http")),
                // A query may hold a credential.
                ("url", closed([url.as_str().as_bytes()])),
                ("format", open(format)),
                ("headers", closed(headers)),
                ("allow_private", open(allow_private)),
            ]));
            if let Some(secret) = signing_secret {
                keys.insert("signing_secret".to_owned(), open(&secret.name));
            }
        }
        DestinationKind::File { path } => {
            keys.extend(self::keys([("type", open("file")), ("path", open(path.display()))]));
        }
        DestinationKind::Adapter { adapter } => {
            keys.extend(self::keys([("type", open("adapter")), ("adapter", open(adapter))]));
        }
    }
    keys
}

fn deliveries(deliver_to: &[Delivery]) -> Said {
    let each = deliver_to.iter().map(|Delivery { destination, types }| match types.as_slice() {
        [] => destination.to_string(),
        types => format!("{destination} ({})", types.join(", ")),
    });
    open(each.collect::<Vec<_>>().join(", "))
}

/// Numbers and flags are shown; a text or a table may be anything.
fn add_settings(keys: &mut Keys, settings: &serde_json::Map<String, serde_json::Value>) {
    for (key, value) in settings {
        let said = match value {
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => open(value),
            serde_json::Value::Null
            | serde_json::Value::String(_)
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => closed([value.to_string().as_bytes()]),
        };
        keys.insert(format!("settings.{key}"), said);
    }
}

fn keys(said: impl IntoIterator<Item = (&'static str, Said)>) -> Keys {
    said.into_iter().map(|(key, said)| (key.to_owned(), said)).collect()
}

fn open(value: impl fmt::Display) -> Said {
    Said::Open(value.to_string())
}

fn duration(value: Duration) -> Said {
    Said::Open(shown(value))
}

fn shown(value: Duration) -> String {
    humantime::format_duration(value).to_string().replace(' ', "")
}

fn size(bytes: usize) -> Said {
    open(bytesize::ByteSize(u64::try_from(bytes).unwrap_or(u64::MAX)))
}

fn closed<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Said {
    let mut digest = Context::new(&SHA256);
    for part in parts {
        let part = part.as_ref();
        // Framed by its length, so that no two lists of parts are one.
        digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        digest.update(part);
    }
    let mut said = [0; 32];
    said.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Said::Closed(said)
}

#[cfg(test)]
#[path = "outline_tests.rs"]
mod tests;
