//! The sections that exist once: `[ingest]`, `[admin]`, `[storage]`, `[plugins]`, `[log]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::super::checked::{ForwardedBy, IngestConfig, LogConfig, PluginsConfig, StorageConfig};
use super::super::raw::{Node, Value};
use super::super::section::{Bounds, Section, path, shown};
use super::super::{Inputs, Problems, Secret, Secrets, TrustedProxies};
use super::listeners;
use super::names::Names;
use super::secrets::SecretUse;
use crate::model::BODY_BYTES_MAX;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Any deadline below this fails on ordinary scheduling alone.
pub(super) const DEADLINE_MIN: Duration = Duration::from_millis(10);

/// Bodies are held in memory whole, and copied into a sandbox once.
pub(super) const BODY_MAX: Bounds<u64> = Bounds::new(MIB, KIB, BODY_BYTES_MAX as u64);

/// Each connection costs a task and its buffers, some 20 KiB.
const CONNECTIONS_MAX: Bounds<usize> = Bounds::new(4_096, 1, 100_000);

const REQUESTS_IN_FLIGHT_MAX: Bounds<usize> = Bounds::new(512, 1, 100_000);

const HEAD_DEADLINE: Bounds<Duration> = deadline(10, 5 * 60);
const BODY_DEADLINE: Bounds<Duration> = deadline(30, 10 * 60);
const IDLE_DEADLINE: Bounds<Duration> = deadline(60, HOUR);
/// Supervisors kill what takes longer.
const DRAIN: Bounds<Duration> = deadline(30, 10 * 60);

/// Slower than a modem is an attack.
const BODY_RATE_MIN: Bounds<u64> = Bounds::new(KIB, 1, MIB);

/// Of what is owed to destinations that were taken out. A day: a mistake is noticed by the next one's
/// work, and what was meant is not asked about for longer.
const REMOVED_GRACE: Bounds<Duration> =
    Bounds::new(Duration::from_secs(DAY), Duration::ZERO, Duration::from_secs(30 * DAY));

/// Replay and "verify again" reach back this far.
const RETENTION: Bounds<Duration> = Bounds::new(
    Duration::from_secs(30 * DAY),
    Duration::from_secs(HOUR),
    Duration::from_secs(3_650 * DAY),
);

/// The most that `plugins.size_max` can allow: compiling takes memory in proportion.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 64 * MIB;

const BALLAST: Bounds<u64> = Bounds::new(64 * MIB, 0, 10 * GIB);
const PLUGIN_SIZE_MAX: Bounds<u64> = Bounds::new(2 * MIB, KIB, COMPONENT_BYTES_MAX);

const fn deadline(default_secs: u64, max_secs: u64) -> Bounds<Duration> {
    Bounds::new(Duration::from_secs(default_secs), DEADLINE_MIN, Duration::from_secs(max_secs))
}

pub(super) fn ingest(
    mut section: Section<'_>,
    inputs: &mut Inputs,
    problems: &mut Problems,
) -> IngestConfig {
    let (trusted_proxies, forwarded) = forwarded(&mut section, problems);
    let config = IngestConfig {
        listeners: listeners::check(&mut section, inputs, problems),
        trusted_proxies,
        forwarded,
        body_max: section.size_in_memory("body_max", &BODY_MAX, problems),
        connections_max: section.count("connections_max", &CONNECTIONS_MAX, problems),
        requests_in_flight_max: section.count(
            "requests_in_flight_max",
            &REQUESTS_IN_FLIGHT_MAX,
            problems,
        ),
        head_deadline: section.duration("head_deadline", &HEAD_DEADLINE, problems),
        body_deadline: section.duration("body_deadline", &BODY_DEADLINE, problems),
        body_rate_min: section.size_in_memory("body_rate_min", &BODY_RATE_MIN, problems),
        idle_deadline: section.duration("idle_deadline", &IDLE_DEADLINE, problems),
        drain: section.duration("drain", &DRAIN, problems),
        public_url: public_url(&mut section, problems),
    };
    section.finish(&[], problems);
    config
}

/// Whom to believe about a client's address, and how they say it.
fn forwarded(section: &mut Section<'_>, problems: &mut Problems) -> (TrustedProxies, ForwardedBy) {
    let trusted = section.node("trusted_proxies");
    let proxies = trusted.map(|node| TrustedProxies::check(node, problems)).unwrap_or_default();
    let forwarded = section.choice("forwarded", &ForwardedBy::WORDS, problems).unwrap_or_default();
    let is_empty = |node: &Node| matches!(&node.value, Value::Array(nodes) if nodes.is_empty());
    if let Some(node) = section.node("forwarded")
        && forwarded != ForwardedBy::None
        && trusted.is_none_or(is_empty)
    {
        let help = "name the proxies whose word is taken, as `trusted_proxies = [\"127.0.0.1\"]`";
        problems.push(&node.at, "nobody is trusted to say it", Some(help.to_owned()));
    }
    (proxies, forwarded)
}

/// Where providers reach the gateway, as far as the paths of routes.
pub(in crate::config) fn public_url(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> Option<url::Url> {
    let (at, text) = section.string("public_url", problems)?;
    let help = || Some("as `https://hooks.example.com`".to_owned());
    let Ok(url) = url::Url::parse(text) else {
        problems.push(at, format!("{} is not a URL", shown(text)), help());
        return None;
    };
    let is_plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_plain {
        problems.push(at, "is more or less than scheme, host and path", help());
        return None;
    }
    Some(url)
}

/// What the admin side's token has to be fit for.
pub(in crate::config) const ADMIN_TOKEN_USES: [SecretUse; 2] =
    [SecretUse::Token, SecretUse::Header];

/// Where the secret of the admin side is named.
pub(in crate::config) fn admin_token_name<'t>(
    section: &mut Section<'t>,
    problems: &mut Problems,
) -> Option<&'t Node> {
    section.required("token_secret", "the name of a secret under `[secrets]`", problems)
}

pub(in crate::config) fn admin_listen(
    section: &mut Section<'_>,
    problems: &mut Problems,
) -> SocketAddr {
    // Only this machine, until the operator says otherwise.
    let default = SocketAddr::from(([127, 0, 0, 1], 9090));
    let Some((at, text)) = section.string("listen", problems) else { return default };
    text.parse().unwrap_or_else(|_| {
        let help = Some(format!("an IP address and a port, as `{default}`"));
        problems.push(at, format!("{} is not an address", shown(text)), help);
        default
    })
}

pub(super) fn admin_token(
    section: &mut Section<'_>,
    names: &Names<'_>,
    secrets: &Secrets,
    problems: &mut Problems,
) -> Option<Secret> {
    let node = admin_token_name(section, problems)?;
    let secret = names.secret(node, secrets, problems)?;
    for fit in ADMIN_TOKEN_USES {
        fit.check(secret, &node.at, problems);
    }
    Some(secret.clone())
}

pub(super) fn storage(mut section: Section<'_>, problems: &mut Problems) -> StorageConfig {
    let config = StorageConfig {
        sqlite_path: sqlite_path(&mut section, problems),
        retention: section.duration("retention", &RETENTION, problems),
        removed_grace: section.duration("removed_grace", &REMOVED_GRACE, problems),
        ballast: section.size("ballast", &BALLAST, problems),
    };
    section.finish(&[], problems);
    config
}

pub(super) fn plugins(
    mut section: Section<'_>,
    storage: &StorageConfig,
    problems: &mut Problems,
) -> PluginsConfig {
    let beside_main = || section_folder(&section).join("plugins");
    let default_directory = beside_main();
    let default_cache = storage.sqlite_path.parent().unwrap_or(Path::new("")).join("cache");
    let config = PluginsConfig {
        directory: section.path("directory", problems).map_or(default_directory, |(_, path)| path),
        size_max: section.size("size_max", &PLUGIN_SIZE_MAX, problems),
        cache: section.path("cache", problems).map_or(default_cache, |(_, path)| path),
    };
    section.finish(&[], problems);
    config
}

pub(super) fn log(mut section: Section<'_>, problems: &mut Problems) -> LogConfig {
    const LEVELS: [(&str, LevelFilter); 6] = [
        ("off", LevelFilter::OFF),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let config = LogConfig { level: section.choice("level", &LEVELS, problems) };
    section.finish(&[], problems);
    config
}

/// The folder of the file in which a section stands, or would.
fn section_folder(section: &Section<'_>) -> PathBuf {
    section.at.file.parent().map(Path::to_owned).unwrap_or_default()
}

/// The path in `sqlite:<path>`. What stands in another form is never told: it may hold a password.
fn sqlite_path(section: &mut Section<'_>, problems: &mut Problems) -> PathBuf {
    const HELP: &str = "`sqlite:` and the path of a file, as `sqlite:data/sluice.db`";
    let default = section_folder(section).join("data/sluice.db");
    let Some((at, text)) = section.string("url", problems) else { return default };
    let message = match text.split_once(':') {
        Some(("sqlite", "" | ":memory:")) => "names no file",
        Some(("sqlite", file)) if file.starts_with("//") || file.contains('?') => {
            "is not a path after `sqlite:`"
        }
        Some(("sqlite", file)) => return path(at, file, problems).unwrap_or(default),
        Some(("postgres" | "postgresql", _)) => "PostgreSQL is not in this version",
        _ => "is not a storage URL",
    };
    problems.push(at, message, Some(HELP.to_owned()));
    default
}
