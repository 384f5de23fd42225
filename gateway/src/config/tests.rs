mod examples;
mod listeners;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use proptest::prelude::*;

use super::*;
use crate::model::{DestinationName, RouteName, UnixMillis};

/// What every configuration needs, from an environment that knows every variable.
const BASE: &str = "admin.token_secret = 'admin'\nsecrets.admin = { env = 'A' }\n";

/// Long enough for every use.
const VALUE: &str = "0123456789abcdef0123456789abcdef";

fn environment(variable: &str) -> Option<OsString> {
    (variable != "UNSET").then(|| VALUE.into())
}

fn load_text(text: &str) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sluice.toml");
    fs::write(&path, text).unwrap();
    load_with(&path, &environment)
}

/// One mistake added to a right configuration is told as one problem, at this key.
#[track_caller]
fn check(addition: &str, key: &str, message: &str) {
    let problems = load_text(&format!("{BASE}{addition}")).unwrap_err();
    let [problem] = problems.0.as_slice() else { panic!("{problems}") };
    assert_eq!(problem.at.key, key, "{problem}");
    assert!(problem.message.contains(message), "{problem}");
    assert!(problem.at.line > 2, "{problem}");
}

const ROUTE: &str = "[routes.r]\npath = '/r'\nplugin = 'p'\n";

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let config = load_text(&format!("{BASE}{ROUTE}")).unwrap();
    let listen: Vec<_> = config.ingest.listeners.iter().map(|each| &each.listen).collect();
    assert_eq!(listen, [&Listen::Tcp("127.0.0.1:8080".parse().unwrap())]);
    assert_eq!(config.admin.listen, "127.0.0.1:9090".parse().unwrap());
    assert!(config.ingest.trusted_proxies.is_empty());
    assert_eq!(config.ingest.forwarded, ForwardedBy::None);
    assert_eq!(config.ingest.body_max, 1 << 20);
    assert_eq!(config.ingest.connections_max, 4_096);
    assert_eq!(config.ingest.requests_in_flight_max, 512);
    assert_eq!(config.ingest.head_deadline, Duration::from_secs(10));
    assert_eq!(config.ingest.body_deadline, Duration::from_secs(30));
    assert_eq!(config.ingest.body_rate_min, 1 << 10);
    assert_eq!(config.ingest.idle_deadline, Duration::from_secs(60));
    assert_eq!(config.ingest.drain, Duration::from_secs(30));
    assert_eq!(config.storage.retention, Duration::from_secs(30 * 86_400));
    assert_eq!(config.storage.removed_grace, Duration::from_secs(86_400));
    assert_eq!(config.storage.ballast, 64 << 20);
    assert!(config.storage.sqlite_path.ends_with("data/sluice.db"));
    assert!(config.plugins.directory.ends_with("plugins"));
    assert_eq!(config.plugins.size_max, 2 << 20);
    assert!(config.plugins.cache.ends_with("data/cache"));
    let route = &config.routes[&RouteName::new("r").unwrap()];
    assert_eq!(route.adapter.as_str(), "p");
    assert_eq!(route.auth, RouteAuth::Required);
    assert_eq!(route.body_max, 1 << 20);
    assert_eq!(route.deadline, Duration::from_secs(15));
    assert!(!route.paused);
    assert!(config.adapters[&route.adapter].plugin.path.ends_with("plugins/p.wasm"));
}

#[test]
fn each_mistake_is_told_where_it_stands() {
    for (addition, key, message) in [
        ("[ingest]\ndrain = '11m'", "ingest.drain", "`11m` is out of range"),
        ("[ingest]\nbody_max = '17MiB'", "ingest.body_max", "`17MiB` is out of range"),
        ("[ingest]\nconnections_max = -1", "ingest.connections_max", "`-1` is out of range"),
        ("[ingest]\nconnections_max = 99999999999999999999", "ingest.connections_max", "too large"),
        ("[ingest]\nforwarded = 'forwarded'", "ingest.forwarded", "nobody is trusted to say it"),
        (
            "[ingest]\ntrusted_proxies = []\nforwarded = 'proxy-protocol'",
            "ingest.forwarded",
            "nobody is trusted to say it",
        ),
        ("[ingest]\ntrusted_proxies = '::1'", "ingest.trusted_proxies", "expected an array"),
        ("[storage]\nurl = 'sqlite::memory:'", "storage.url", "names no file"),
        ("[storage]\nurl = 'sqlite:///x'", "storage.url", "is not a path"),
        ("[storage]\nurl = 'mysql://x'", "storage.url", "not a storage URL"),
        ("[storage]\nurl = 'sqlite:sluice.toml'", "storage.url", "names a configuration file"),
        ("[storage]\nretention = '30s'", "storage.retention", "out of range"),
        ("[storage]\nremoved_grace = '31d'", "storage.removed_grace", "out of range"),
        ("[plugins]\ndirectory = ''", "plugins.directory", "is not a path"),
        ("[secrets.x]\nfile = '/'", "secrets.x.file", "is a folder"),
        ("[secrets.x]\nvalue = 'v'\nenv = 'A'", "secrets.x.value", "unknown key"),
        ("[secrets.x]\n", "secrets.x", "has no source"),
        ("[adapters.a]\n", "adapters.a.plugin", "is missing"),
        ("[adapters.a]\nplugin = 'p'\nsettings = { x = nan }", "adapters.a.settings.x", "finite"),
        ("[routes.r]\npath = '/r'", "routes.r.adapter", "is missing"),
        ("[routes.r]\nplugin = 'p'", "routes.r.path", "is missing"),
        ("[routes.r]\npath = '/r'\nadapter = 'p'", "routes.r.adapter", "no adapter `p`"),
        (&format!("{ROUTE}auth = 'basic'"), "routes.r.auth", "unknown value `basic`"),
        (&format!("{ROUTE}answer_from = 'x'"), "routes.r.answer_from", "unknown key"),
        (&format!("{ROUTE}deadline = '0s'"), "routes.r.deadline", "out of range"),
        (&format!("{ROUTE}paused_answer = {{}}"), "routes.r.paused_answer.status", "is missing"),
        (&format!("{ROUTE}deliver_to = [1]"), "routes.r.deliver_to.0", "a name or a table"),
        (&format!("{ROUTE}deliver_to = 'd'"), "routes.r.deliver_to", "expected an array"),
        ("[destinations.d]\ntype = 'kafka'", "destinations.d.type", "not in this version"),
        ("[destinations.d]\ntype = 'htpt'", "destinations.d.type", "unknown type"),
        ("[destinations.d]\ntype = 'http'", "destinations.d.url", "is missing"),
        (
            "[destinations.d]\ntype = 'http'\nurl = 'https://u:p@h/'",
            "destinations.d.url",
            "has credentials",
        ),
        (
            "[destinations.d]\ntype = 'http'\nurl = 'https://h/'\nheaders = { Webhook-Id = '1' }",
            "destinations.d.headers.Webhook-Id",
            "set by the gateway alone",
        ),
        (
            "[destinations.d]\ntype = 'file'\npath = 'data/x/../sluice.db-wal'",
            "destinations.d.path",
            "is already the database",
        ),
        ("routes = 1", "routes", "expected a table, got an integer"),
    ] {
        check(addition, key, message);
    }
}

#[test]
fn both_of_two_conflicting_parts_are_named() {
    let text = format!("{BASE}{ROUTE}[routes.s]\npath = '/r'\nplugin = 'p'\n");
    let told = load_text(&text).unwrap_err().to_string();
    assert!(told.contains("routes.r.path: `/r` matches requests of route `s`"), "{told}");
    assert!(told.contains("routes.s.path: `/r` matches requests of route `r`"), "{told}");

    let file = |name| format!("[destinations.{name}]\ntype = 'file'\npath = 'x'\n");
    let told = load_text(&format!("{BASE}{}{}", file("a"), file("b"))).unwrap_err().to_string();
    assert!(told.contains("destinations.b.path"), "{told}");
    assert!(told.contains("is already destination `a`"), "{told}");
}

#[test]
fn every_syntax_error_of_every_file_is_told_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("sluice.toml");
    let other = folder.path().join("other.toml");
    fs::write(&main, "include = ['other.toml', 'none.toml']\na = \nb = 1\nc = [1\n").unwrap();
    fs::write(&other, "x = 1\nx = 2\n").unwrap();
    let problems = load_with(&main, &environment).unwrap_err();
    let places: Vec<_> = problems
        .0
        .iter()
        .map(|problem| (problem.at.file.file_name().unwrap().to_str().unwrap(), problem.at.line))
        .collect();
    assert!(places.contains(&("sluice.toml", 2)), "{problems}");
    assert!(places.contains(&("other.toml", 2)), "{problems}");
    assert!(problems.to_string().contains("there is no file"), "{problems}");
    assert!(!problems.to_string().contains("unknown key"), "{problems}");
}

#[test]
fn a_path_is_taken_from_the_file_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("sluice.toml");
    fs::create_dir(folder.path().join("routes")).unwrap();
    let included = "[destinations.d]\ntype = 'file'\npath = 'd.jsonl'\n";
    fs::write(folder.path().join("routes/a.toml"), included).unwrap();
    fs::write(folder.path().join("routes/.a.toml.swp"), "not read").unwrap();
    fs::write(&main, format!("include = ['routes/*.toml']\n{BASE}")).unwrap();
    let config = load_with(&main, &environment).unwrap();
    assert_eq!(config.files, [main, folder.path().join("routes/a.toml")]);
    let destination = &config.destinations[&DestinationName::new("d").unwrap()];
    let DestinationKind::File { path } = &destination.kind else { panic!("{destination:?}") };
    assert_eq!(*path, folder.path().join("routes/d.jsonl"));
}

#[test]
fn hints_tell_what_may_not_be_meant() {
    let config = load_text(&format!(
        "{BASE}[ingest]\ntrusted_proxies = ['::1']\n[adapters.idle]\nplugin = 'p'\n[routes.r]\npath = '/r'\nplugin = 'q'\n\
         [destinations.d]\ntype = 'http'\nurl = 'http://example.com/'\n\
         [destinations.l]\ntype = 'http'\nurl = 'http://[::1]:1/'\nsigning_secret = 'admin'\n"
    ))
    .unwrap();
    let hints = hints(&config, UnixMillis(0));
    let told: Vec<_> = hints.iter().map(|h| (h.at.key.as_str(), h.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("secrets.admin.env", "a secret from the environment cannot rotate"),
            ("ingest.trusted_proxies", "nothing that these proxies say is read"),
            ("adapters.idle", "nothing uses this adapter"),
            ("routes.r", "delivers nowhere"),
            ("destinations.d", "events are sent unsigned"),
            ("destinations.d", "nothing delivers to this destination"),
            ("destinations.d.url", "events travel in clear text"),
            ("destinations.l", "nothing delivers to this destination"),
        ]
    );
}

/// A configuration that uses a secret in every place that takes one.
const ALL_PLACES: &str = "
[secrets]
admin = { env = 'A' }
[admin]
token_secret = 'admin'
[routes.r]
path = '/{token}'
plugin = 'p'
secrets = { token = 'admin', key = 'admin' }
[destinations.d]
type = 'http'
url = 'https://h/'
signing_secret = 'admin'
headers = { a = { secret = 'admin' } }
";

proptest! {
    #[test]
    fn a_configuration_never_shows_a_secret(secret in "[!-~]{24,80}") {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sluice.toml");
        fs::write(&path, format!("{ALL_PLACES}b = 'x'\n")).unwrap();
        let value = secret.clone();
        let lookup = move |_: &str| Some(OsString::from(value.clone()));
        // `b` is no key of a destination's table: the same secrets once in an error…
        let refused = load_with(&path, &lookup).unwrap_err();
        fs::write(&path, ALL_PLACES).unwrap();
        let mut shown = format!("{refused} {refused:?}");
        // … and once in a configuration, unless the secret is refused as a signing key.
        match load_with(&path, &lookup) {
            Ok(config) => shown.push_str(&format!("{config:?} {config:#?}")),
            Err(problems) => shown.push_str(&format!("{problems} {problems:?}")),
        }
        let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&secret);
        for form in [secret.clone(), hex::encode(&secret), base64, format!("{:?}", secret.as_bytes())] {
            prop_assert!(!shown.contains(&form), "{form}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            // Few characters, so that some of it is nearly TOML.
            "[\\[\\]{}=.,'\"# \na-c0-9é_-]{0,200}".prop_map(String::into_bytes),
        ],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sluice.toml");
        fs::write(&path, bytes).unwrap();
        let problems = load_with(&path, &environment).err();
        prop_assert!(problems.is_some_and(|problems| !problems.is_empty()), "no admin token is in it");
    }

    #[test]
    fn any_value_at_any_key_is_read_or_refused(
        lines in prop::collection::vec((key(), value()), 1..12),
    ) {
        let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        match load_text(&lines.join("\n")) {
            Ok(_) => {}
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "include",
        "ingest",
        "ingest.listen",
        "ingest.listeners",
        "ingest.listeners.a.address",
        "ingest.body_max",
        "ingest.connections_max",
        "admin.token_secret",
        "storage.url",
        "plugins.directory",
        "secrets.a",
        "secrets.a.env",
        "adapters.a.plugin",
        "adapters.a.settings",
        "routes.a.path",
        "routes.a.plugin",
        "routes.a.secrets",
        "routes.a.deliver_to",
        "routes.a.limits",
        "routes.a.limits.per_client",
        "routes.a.limits.per_client.rate",
        "routes.a.limits.per_client.burst",
        "routes.a.allow_from",
        "routes.a.paused_answer",
        "routes.a.paused_answer.status",
        "destinations.a.type",
        "destinations.a.url",
        "destinations.a.headers",
        "destinations.a.retry.delays",
        "destinations.a.retry.jitter",
    ])
    .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "'a'",
        "'http'",
        "'file'",
        "'/a'",
        "'/{token}'",
        "'https://h/'",
        "'1MiB'",
        "'30s'",
        "'50/min'",
        "''",
        "0",
        "-1",
        "1.5",
        "nan",
        "inf",
        "true",
        "1979-05-27",
        "[]",
        "['a']",
        "[[1]]",
        "{}",
        "{ a = 'a' }",
        "{ env = 'A' }",
        "{ token = 'a' }",
        "{ a = { secret = 'a' } }",
        "99999999999999999999",
        "'*'",
        "['*']",
    ])
    .prop_map(str::to_owned);
    prop_oneof![fixed, "[ -~]{0,20}".prop_map(|text| format!("{text:?}"))]
}
