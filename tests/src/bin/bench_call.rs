//! `bench_call COMPONENT SETTINGS BODY [CALLS [CACHE]]`: what one call of an adapter costs.
//!
//! Runs `receive` in process, one call after the other, each in a fresh configured instance, and
//! prints one JSON object with the times in microseconds. `SETTINGS` and `BODY` are texts, or `@`
//! and a file's name. Every header secret is presented with the value `bench`; MAC keys have it
//! too. With a folder as `CACHE`, loading is as after a restart, from the second run on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sluice::adapter::{Description, End, Receive as _, Sandbox, SandboxLimits};
use sluice::model::{PluginName, RouteName, SecretName, Travels};
use sluice_tests::sandbox::{Request, secret, settings};

const CALLS: usize = 100_000;

/// Calls before the clock starts: pages and caches as they are under load.
const WARM_UP: usize = 1_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, configured, body, rest @ ..] = arguments.as_slice() else {
        bail!("usage: bench_call COMPONENT SETTINGS BODY [CALLS [CACHE]]");
    };
    let calls = rest.first().map_or(Ok(CALLS), |calls| calls.parse())?;
    let cache = rest.get(1).map(PathBuf::from);
    let bytes = std::fs::read(component).with_context(|| format!("reading `{component}`"))?;
    let stem = Path::new(component).file_stem().and_then(|stem| stem.to_str()).unwrap_or("bench");
    let start = Instant::now();
    let sandbox = Sandbox::new(SandboxLimits { cache, ..SandboxLimits::default() })?;
    let plugin = sandbox.load(&PluginName::new(stem)?, &bytes)?;
    let configured = settings(serde_json::from_slice(&text(configured)?)?);
    let route = RouteName::new("bench")?;
    let adapter = sandbox
        .configure(&plugin, &configured, &[(route.clone(), configured.clone())])
        .map_err(|error| anyhow::anyhow!("{error}: {error:?}"))?;

    let ready = start.elapsed();

    let request = request(&plugin.description)?;
    let body = Bytes::from(text(body)?);
    let mut took = Vec::with_capacity(calls);
    for _ in 0..calls.saturating_add(WARM_UP) {
        let call = request.call(&route, body.clone());
        let start = Instant::now();
        let ended = adapter.receive(call);
        took.push(start.elapsed());
        if !matches!(ended.end, End::Outcome(_)) {
            bail!("a call ended otherwise: {:?}", ended.end);
        }
    }
    let cached = sandbox.cache_counts().hits == 2;
    report(
        took.split_off(WARM_UP),
        &[
            ("ready_ms", json!(ready.as_secs_f64() * 1e3)),
            ("from_cache", json!(cached)),
            ("snapshotted", json!(adapter.is_snapshotted())),
        ],
    );
    Ok(())
}

fn text(argument: &str) -> anyhow::Result<Vec<u8>> {
    match argument.strip_prefix('@') {
        Some(file) => std::fs::read(file).with_context(|| format!("reading `{file}`")),
        None => Ok(argument.as_bytes().to_vec()),
    }
}

/// A request that presents what the adapter's roles ask for.
fn request(description: &Description) -> anyhow::Result<Request> {
    let name = SecretName::new("bench")?;
    let mut roles = Vec::new();
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    for role in &description.secrets {
        if let Travels::Header { name, prefix, .. } = &role.travels {
            headers.push((name.to_ascii_lowercase(), format!("{prefix}bench")));
        }
        roles.push((role.role.clone(), role.travels.clone(), Some(secret(name.clone(), "bench"))));
    }
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Ok(Request::new(roles, &headers))
}

#[expect(clippy::print_stdout, reason = "its output is its result")]
fn report(mut took: Vec<Duration>, about: &[(&str, Value)]) {
    took.sort_unstable();
    let at = |share: usize| {
        let index = took.len().saturating_sub(1) * share / 1_000;
        json!(took.get(index).map_or(0.0, |each| each.as_secs_f64() * 1e6))
    };
    let times = [
        ("calls", json!(took.len())),
        ("median_us", at(500)),
        ("p90_us", at(900)),
        ("p99_us", at(990)),
        ("p999_us", at(999)),
        ("max_us", at(1_000)),
    ];
    let figures: Map<String, Value> = times
        .into_iter()
        .chain(about.iter().cloned())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    println!("{}", Value::Object(figures));
}
