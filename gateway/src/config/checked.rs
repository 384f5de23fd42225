//! The checked configuration: what the rest of the gateway holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::{AllowFrom, Location, Secret, Secrets, Sources, TlsConfig, TrustedProxies};
use crate::model::{
    AdapterName, Answer, DestinationName, ListenerName, PluginName, RouteName, SecretName,
};

/// One whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    pub ingest: IngestConfig,
    pub admin: AdminConfig,
    pub storage: StorageConfig,
    pub plugins: PluginsConfig,
    pub log: LogConfig,
    pub secrets: Secrets,
    pub adapters: BTreeMap<AdapterName, AdapterConfig>,
    pub routes: BTreeMap<RouteName, RouteConfig>,
    pub destinations: BTreeMap<DestinationName, DestinationConfig>,
    /// Every configuration file that was read, the main file first.
    pub files: Vec<PathBuf>,
    /// Where each key stands, for problems found later and for hints.
    pub sources: Sources,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    /// A Unix socket, at this path.
    Unix(PathBuf),
    /// The sockets that the service manager handed over under this name.
    Systemd(String),
}

/// As it is written in the configuration.
impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// One listener for providers.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// None for an address that stands in `ingest.listen`.
    pub name: Option<ListenerName>,
    /// No two listeners have the same.
    pub listen: Listen,
    /// Of a Unix socket.
    pub access: SocketAccess,
    /// Absent: plain text.
    pub tls: Option<TlsConfig>,
    /// Whether HTTP/2 is spoken beside HTTP/1.1: over TLS by ALPN, in plain text by prior knowledge.
    /// Default: over TLS only.
    pub http2: bool,
    /// Where the address stands.
    pub at: Location,
}

impl ListenerConfig {
    /// An address with nothing more to say.
    #[must_use]
    pub fn plain(listen: Listen) -> Self {
        let (access, at) = (SocketAccess::default(), Location::default());
        Self { name: None, listen, access, tls: None, http2: false, at }
    }
}

/// Who may connect to a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAccess {
    /// Default 0660.
    pub mode: u32,
    /// A user's number; absent: whom the gateway runs as.
    pub owner: Option<u32>,
    /// A group's number; absent: the gateway's own.
    pub group: Option<u32>,
}

impl Default for SocketAccess {
    fn default() -> Self {
        Self { mode: 0o660, owner: None, group: None }
    }
}

/// `[ingest]`.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// At least one.
    pub listeners: Vec<Arc<ListenerConfig>>,
    /// Whose word about a client's address is believed. Default: nobody's.
    pub trusted_proxies: TrustedProxies,
    /// How they give it.
    pub forwarded: ForwardedBy,
    /// Largest request body, in bytes; a route may lower or raise it. Default 1 MiB.
    pub body_max: usize,
    /// Open connections at once. Default 4,096.
    pub connections_max: usize,
    /// Requests between head and answer at once. Default 512.
    pub requests_in_flight_max: usize,
    /// From the first byte of a connection, or the end of the last answer, to a whole head.
    /// Default 10 s.
    pub head_deadline: Duration,
    /// From the head to the whole body. Default 30 s.
    pub body_deadline: Duration,
    /// Slowest body accepted after its first second, in bytes per second. Default 1 KiB/s.
    pub body_rate_min: usize,
    /// How long a kept-alive connection may be silent. Default 60 s.
    pub idle_deadline: Duration,
    /// How long shutdown waits for what was started. Default 30 s.
    pub drain: Duration,
    /// Where providers reach it from outside: what the URLs told to them begin with.
    pub public_url: Option<url::Url>,
}

/// How a trusted proxy says for whom it speaks. No two at once: a header that the proxy in front
/// does not write itself is one that it passes on from anybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedBy {
    /// Not at all: a client is the other end of its connection.
    #[default]
    None,
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
    /// Version 1 or 2, before the first byte of a connection.
    ProxyProtocol,
}

impl ForwardedBy {
    /// Each with the word in the configuration.
    pub(super) const WORDS: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("x-forwarded-for", Self::XForwardedFor),
        ("forwarded", Self::Forwarded),
        ("proxy-protocol", Self::ProxyProtocol),
    ];
}

/// As it is written in the configuration.
impl std::fmt::Display for ForwardedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = Self::WORDS.into_iter().find(|(_, value)| value == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    pub listen: SocketAddr,
    /// Bearer token of the API.
    pub token: Secret,
}

/// `[storage]`.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// The `SQLite` file; its folder is made if missing.
    pub sqlite_path: PathBuf,
    /// Default 30 days.
    pub retention: Duration,
    /// How long what is owed to a destination that is configured no longer waits for it. Default 24
    /// hours; 0 for not at all.
    pub removed_grace: Duration,
    /// Size of the file kept to be deleted in an emergency, in bytes. Default 64 MiB; 0 for none.
    pub ballast: u64,
}

/// `[plugins]`.
#[derive(Clone, Debug)]
pub struct PluginsConfig {
    pub directory: PathBuf,
    /// Largest component file, in bytes. Default 2 MiB.
    pub size_max: u64,
    /// Where compiled code is kept. Default `cache` beside the database.
    pub cache: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// What is logged; absent: what the command line says.
    pub level: Option<LevelFilter>,
}

/// `[adapters.<name>]`, or the unnamed adapter of a route that names a plugin directly.
#[derive(Clone, Debug)]
pub struct AdapterConfig {
    pub name: AdapterName,
    pub plugin: PluginSource,
    /// JSON object.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Destinations of the events it makes while consuming.
    pub deliver_to: Vec<Delivery>,
    pub at: Location,
}

/// Which component an adapter runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSource {
    pub name: PluginName,
    /// `<directory>/<name>.wasm`.
    pub path: PathBuf,
    /// SHA-256 in lower-case hex that the file must have, where the configuration pins it.
    pub digest: Option<String>,
}

/// `[routes.<name>]`.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    pub name: RouteName,
    pub path: RoutePath,
    pub adapter: AdapterName,
    /// The adapter's name for each secret, and the secret. `token` is the path token's.
    pub secrets: BTreeMap<String, Secret>,
    pub auth: RouteAuth,
    /// Laid over the adapter's settings; JSON object.
    pub settings: serde_json::Map<String, serde_json::Value>,
    pub deliver_to: Vec<Delivery>,
    pub body_max: usize,
    /// From the whole head to the answer. Default 15 s.
    pub deadline: Duration,
    pub limits: LimitsConfig,
    pub allow_from: AllowFrom,
    pub paused: bool,
    /// Instead of the adapter's own `paused_answer`.
    pub paused_answer: Option<Answer>,
    pub at: Location,
}

/// `limits` of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Of each client, whatever becomes of its requests.
    pub per_client: Option<Rate>,
    /// Of verified requests, all clients together.
    pub per_route: Option<Rate>,
    /// Whether answers tell what is left.
    pub headers: bool,
}

/// So many requests in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
    /// So many may come at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// From one request to the next, once the burst is used up.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.per / self.count.get()
    }

    /// In which a whole burst comes back.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.interval() * self.burst.get()
    }
}

/// As it is written in the configuration, and the burst where it is another number.
impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.count),
            60 => write!(f, "{}/min", self.count),
            3_600 => write!(f, "{}/h", self.count),
            86_400 => write!(f, "{}/d", self.count),
            seconds => write!(f, "{}/{seconds}s", self.count),
        }?;
        if self.burst == self.count {
            return Ok(());
        }
        write!(f, ", {} at once", self.burst)
    }
}

/// How requests are matched to a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutePath {
    /// The whole path, byte for byte as received (percent-encoding included).
    Exact(String),
    /// `prefix` + one segment that must equal the route's `token` secret + `suffix`.
    Token { prefix: String, suffix: String },
}

/// Whether an outcome needs a matching verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteAuth {
    Required,
    /// `auth = "none"`.
    None,
}

/// One entry of `deliver_to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub destination: DestinationName,
    /// Event types wanted; a final `*` matches any rest. Empty: all.
    pub types: Vec<String>,
}

impl Delivery {
    /// Whether an event of this type goes there.
    #[must_use]
    pub fn wants(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|pattern| Self::is_match(pattern, kind))
    }

    /// Whether one entry of `types` matches an event's type.
    #[must_use]
    pub fn is_match(pattern: &str, kind: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => kind == pattern,
        }
    }
}

/// `[destinations.<name>]`.
#[derive(Clone, Debug)]
pub struct DestinationConfig {
    pub name: DestinationName,
    pub kind: DestinationKind,
    pub retry: RetryConfig,
    /// One attempt, from its first byte to its last. Default 15 s.
    pub timeout: Duration,
    /// Attempts in flight at once. Default 16.
    pub concurrency: usize,
    pub at: Location,
}

/// What kind of place it is.
#[derive(Clone, Debug)]
pub enum DestinationKind {
    Http {
        url: url::Url,
        format: HttpFormat,
        /// Standard Webhooks key; several active values sign side by side.
        signing_secret: Option<Secret>,
        /// Sent with every attempt; values may be secrets and are never logged.
        headers: Vec<(String, Arc<super::SecretValue>)>,
        /// Whether the URL's name may resolve to an address that is not public. An address that
        /// the URL itself spells out, and `localhost`, need no permission. Default false.
        allow_private: bool,
    },
    File {
        path: PathBuf,
    },
    /// Another adapter, which consumes the events.
    Adapter {
        adapter: AdapterName,
    },
}

/// How an event travels over HTTP (`CloudEvents` HTTP binding 1.0).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpFormat {
    /// Section 3.2: one JSON object.
    #[default]
    Structured,
    /// Section 3.1: attributes in `ce-` headers.
    Binary,
}

/// `retry`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryConfig {
    /// Delay before the second, third … attempt; after the last a delivery is a dead letter.
    pub delays: Vec<Duration>,
    /// Share of a delay that is added at random: 0.0 to 1.0.
    pub jitter: f64,
}

impl Config {
    /// The secret of that name under `[secrets]`.
    #[must_use]
    pub fn secret(&self, name: &SecretName) -> Option<&Secret> {
        self.secrets.get(name)
    }
}
