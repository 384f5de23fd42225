//! `[destinations.<name>]`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::super::checked::{DestinationConfig, DestinationKind, HttpFormat, RetryConfig};
use super::super::raw::{Node, Value};
use super::super::section::{Bounds, Section, array, duration, shown, string, table};
use super::super::suggest::list_help;
use super::super::{Location, Problems, SecretValue, Secrets};
use super::names::Names;
use super::secrets::SecretUse;
use super::sections::DEADLINE_MIN;
use crate::model::DestinationName;

/// Of one attempt. Standard Webhooks recommends 15 to 30 seconds.
const TIMEOUT: Bounds<Duration> =
    Bounds::new(Duration::from_secs(15), DEADLINE_MIN, Duration::from_secs(5 * 60));

const CONCURRENCY: Bounds<usize> = Bounds::new(16, 1, 1_024);

const JITTER: Bounds<f64> = Bounds::new(0.2, 0.0, 1.0);

/// The delays of the Standard Webhooks schedule up to the first working day, in seconds.
const DELAYS_DEFAULT: [u64; 6] = [5, 5 * 60, 30 * 60, 2 * 60 * 60, 5 * 60 * 60, 10 * 60 * 60];

/// Most delays: a month of daily attempts and some quick ones before.
const DELAYS_MAX: usize = 50;

const DELAY_RANGE: std::ops::RangeInclusive<Duration> =
    DEADLINE_MIN..=Duration::from_secs(7 * 24 * 60 * 60);

/// Most headers of the operator's own.
const HEADERS_MAX: usize = 32;

const TYPES: [&str; 3] = ["http", "file", "adapter"];
const TYPES_LATER: [&str; 5] = ["nats", "amqp", "redis", "kafka", "postgres"];
const HTTP_KEYS: [&str; 5] = ["url", "format", "signing_secret", "headers", "allow_private"];
const FILE_KEYS: [&str; 1] = ["path"];
const ADAPTER_KEYS: [&str; 1] = ["adapter"];

pub(super) fn check(
    root: &mut Section<'_>,
    names: &Names<'_>,
    secrets: &Secrets,
    problems: &mut Problems,
) -> BTreeMap<DestinationName, DestinationConfig> {
    let mut destinations = BTreeMap::new();
    for (name, node) in root.named("destinations", DestinationName::new, problems) {
        let mut section = Section::of(node, problems);
        let kind = section
            .required("type", "one of: `http`, `file`, `adapter`", problems)
            .and_then(|node| Some((&node.at, string(node, problems)?)));
        let kind = match kind {
            Some((_, "http")) => {
                refuse(&mut section, &FILE_KEYS, "file", problems);
                refuse(&mut section, &ADAPTER_KEYS, "adapter", problems);
                http(&mut section, names, secrets, problems)
            }
            Some((_, "file")) => {
                refuse(&mut section, &HTTP_KEYS, "http", problems);
                refuse(&mut section, &ADAPTER_KEYS, "adapter", problems);
                file(&mut section, problems)
            }
            Some((_, "adapter")) => {
                refuse(&mut section, &HTTP_KEYS, "http", problems);
                refuse(&mut section, &FILE_KEYS, "file", problems);
                section
                    .required("adapter", "the name of an adapter under `[adapters]`", problems)
                    .and_then(|node| names.adapter(node, problems))
                    .map(|adapter| DestinationKind::Adapter { adapter })
            }
            other => {
                if let Some((at, text)) = other {
                    unknown_type(at, text, problems);
                }
                section.skip(&HTTP_KEYS);
                section.skip(&FILE_KEYS);
                section.skip(&ADAPTER_KEYS);
                None
            }
        };
        let retry = retry(section.section("retry", problems), problems);
        let timeout = section.duration("timeout", &TIMEOUT, problems);
        let concurrency = section.count("concurrency", &CONCURRENCY, problems);
        section.finish(&[], problems);
        let Some(kind) = kind else { continue };
        let at = node.at.clone();
        let destination =
            DestinationConfig { name: name.clone(), kind, retry, timeout, concurrency, at };
        destinations.insert(name, destination);
    }
    destinations
}

fn unknown_type(at: &Location, text: &str, problems: &mut Problems) {
    if TYPES_LATER.contains(&text) {
        let message = format!("type {} is not in this version", shown(text));
        problems.push(at, message, list_help(TYPES));
    } else {
        problems.push(at, format!("unknown type {}", shown(text)), list_help(TYPES));
    }
}

/// Tells keys that belong to another type of destination.
fn refuse(section: &mut Section<'_>, keys: &[&'static str], kind: &str, problems: &mut Problems) {
    for key in keys {
        if let Some(at) = section.place_of(key) {
            problems.push(at, format!("only destinations of type `{kind}` have this key"), None);
            section.skip(&[key]);
        }
    }
}

fn file(section: &mut Section<'_>, problems: &mut Problems) -> Option<DestinationKind> {
    section.required("path", "the file to append to, as `data/events.jsonl`", problems);
    let (_, path) = section.path("path", problems)?;
    Some(DestinationKind::File { path })
}

fn http(
    section: &mut Section<'_>,
    names: &Names<'_>,
    secrets: &Secrets,
    problems: &mut Problems,
) -> Option<DestinationKind> {
    let url = section
        .required("url", "as `https://ledger.example.com/events`", problems)
        .and_then(|node| url(node, problems));
    let formats = [("structured", HttpFormat::Structured), ("binary", HttpFormat::Binary)];
    let format = section.choice("format", &formats, problems).unwrap_or_default();
    let signing_secret = section.node("signing_secret").and_then(|node| {
        let secret = names.secret(node, secrets, problems)?;
        SecretUse::SigningKey.check(secret, &node.at, problems);
        Some(secret.clone())
    });
    let headers = headers(section, names, secrets, problems);
    let allow_private = section.boolean("allow_private", problems).unwrap_or(false);
    Some(DestinationKind::Http { url: url?, format, signing_secret, headers, allow_private })
}

/// The text of a wrong URL is never told: it may hold a password.
fn url(node: &Node, problems: &mut Problems) -> Option<Url> {
    const HELP: &str = "as `https://ledger.example.com/events`";
    let (message, help) = match Url::parse(string(node, problems)?) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            (format!("scheme {} is not allowed", shown(url.scheme())), "`https` or `http`")
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            let help = "send them in `headers`, as `authorization = { secret = \"…\" }`";
            ("has credentials in it".to_owned(), help)
        }
        Ok(url) if url.fragment().is_some() => {
            ("has a fragment, which is never sent".to_owned(), "leave out what follows `#`")
        }
        Ok(url) => return Some(url),
        Err(error) => (format!("is not a URL: {error}"), HELP),
    };
    problems.push(&node.at, message, Some(help.to_owned()));
    None
}

fn headers(
    section: &mut Section<'_>,
    names: &Names<'_>,
    secrets: &Secrets,
    problems: &mut Problems,
) -> Vec<(String, Arc<SecretValue>)> {
    let Some(node) = section.node("headers") else { return Vec::new() };
    let Some(table) = table(node, problems) else { return Vec::new() };
    if table.0.len() > HEADERS_MAX {
        problems.push(&node.at, "too many headers", Some(format!("at most {HEADERS_MAX}")));
    }
    let mut headers: Vec<(String, Arc<SecretValue>)> = Vec::new();
    for (name, entry) in &table.0 {
        let value = header_value(&entry.node, names, secrets, problems);
        match sent_header(name) {
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => {
                problems.push(&entry.key_at, "stands here twice", None);
            }
            Ok(name) => headers.extend(value.map(|value| (name, value))),
            Err(message) => problems.push(&entry.key_at, message, None),
        }
    }
    headers
}

/// A text, or `{ secret = "name" }`. Neither is ever told.
fn header_value(
    node: &Node,
    names: &Names<'_>,
    secrets: &Secrets,
    problems: &mut Problems,
) -> Option<Arc<SecretValue>> {
    match &node.value {
        Value::String(text) => {
            if http::HeaderValue::from_str(text).is_err() {
                problems.push(&node.at, "is not a header's value", None);
            }
            Some(Arc::new(SecretValue::new(text.clone().into_bytes())))
        }
        Value::Table(table) => {
            let mut section = Section::new(node.at.clone(), Some(table));
            let named = section.required("secret", "the name of a secret", problems);
            section.finish(&[], problems);
            let secret = names.secret(named?, secrets, problems)?;
            SecretUse::Header.check(secret, &named?.at, problems);
            secret.versions.first().map(|version| Arc::new(version.value.clone()))
        }
        Value::Invalid => None,
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => {
            let kind = node.value.kind();
            let message = format!("expected a text or `{{ secret = \"…\" }}`, got {kind}");
            problems.push(&node.at, message, None);
            None
        }
    }
}

/// A header that the operator may add, in lower case.
fn sent_header(name: &str) -> Result<String, &'static str> {
    /// About the connection or the body, written by the gateway itself.
    const RESERVED: [&str; 10] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name =
        http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is not the name of a header")?;
    let text = name.as_str();
    if RESERVED.contains(&text) || text.starts_with("ce-") || text.starts_with("webhook-") {
        return Err("is set by the gateway alone");
    }
    Ok(text.to_owned())
}

fn retry(mut section: Section<'_>, problems: &mut Problems) -> RetryConfig {
    let delays = section.node("delays").and_then(|node| {
        let nodes = array(node, problems)?;
        if nodes.len() > DELAYS_MAX {
            let message = format!("{} delays are too many", nodes.len());
            problems.push(&node.at, message, Some(format!("at most {DELAYS_MAX}")));
        }
        Some(nodes.iter().filter_map(|node| duration(node, &DELAY_RANGE, problems)).collect())
    });
    let jitter = section.number("jitter", &JITTER, problems);
    section.finish(&[], problems);
    let default = || DELAYS_DEFAULT.map(Duration::from_secs).to_vec();
    RetryConfig { delays: delays.unwrap_or_else(default), jitter }
}
