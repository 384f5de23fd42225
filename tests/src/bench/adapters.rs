//! One call of every bundled adapter by itself, on one of its own fixtures, and what its component
//! weighs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use plugin_sdk::testing::fixture::Case;
use sluice::adapter::{
    Adapter, Description, End, Receive as _, Sandbox, SandboxLimits, SecretRole, Travels,
};
use sluice::model::{PluginName, RouteName, SecretName};

use super::percentile;
use crate::artifacts;
use crate::sandbox::{Request, secret};

/// Calls before the measured ones: pages touched, branches learned.
const WARM_UP: usize = 1_000;

/// What half of the calls may take, in microseconds.
const CALL_US_MAX: f64 = 25.0;

/// What a component may weigh, in bytes.
const COMPONENT_BYTES_MAX: usize = 1 << 20;

/// What one adapter costs.
#[derive(Clone, Debug)]
pub struct Cost {
    pub adapter: String,
    pub component_bytes: usize,
    /// Absent where no fixture becomes an event by itself.
    pub call: Option<Call>,
}

/// What its calls cost.
#[derive(Clone, Debug)]
pub struct Call {
    pub fixture: String,
    pub p50: Duration,
    pub p99: Duration,
}

/// Measures every adapter in `plugins`: each call in a fresh instance, configured.
///
/// # Errors
///
/// Where one is not built, does not load, or a call ends in anything but an outcome.
pub fn costs(calls: usize) -> anyhow::Result<Vec<Cost>> {
    let folder = artifacts::workspace().join("plugins");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).context("reading the adapters")? {
        let entry = entry?;
        if entry.path().join("fixtures").is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let sandbox = Sandbox::new(SandboxLimits::default())?;
    names.iter().map(|name| cost(&sandbox, &folder, name, calls)).collect()
}

fn cost(sandbox: &Sandbox, folder: &Path, name: &str, calls: usize) -> anyhow::Result<Cost> {
    let bytes = fs::read(artifacts::plugin(name)?).context("reading a component")?;
    let plugin = sandbox.load(&PluginName::new(name)?, &bytes)?;
    let description = &plugin.description;
    let measured = || {
        let case = typical(&folder.join(name).join("fixtures"), description)
            .with_context(|| format!("no fixture of `{name}` can be measured"))?;
        let route = RouteName::new(name)?;
        let routes = [(route.clone(), case.settings.clone())];
        let adapter = sandbox.configure(&plugin, &case.settings, &routes)?;
        measure(&adapter, &route, &case, calls)
    };
    // Here is no state: of an adapter that cannot do without it, the size is all there is to tell.
    let call = match description.state_version {
        None => Some(measured()?),
        Some(_) => measured().ok(),
    };
    Ok(Cost { adapter: name.to_owned(), component_bytes: bytes.len(), call })
}

/// Of the accepted fixtures that need nothing but their own secrets, the one with the middle size.
fn typical(folder: &Path, description: &Description) -> anyhow::Result<Case> {
    let mut cases = Case::load_all(folder)?;
    let resettable = |role: &SecretRole| match &role.travels {
        Travels::Header { setting, .. } | Travels::Query { setting, .. } => setting.clone(),
        Travels::Body | Travels::Key => None,
    };
    let named: Vec<String> = description.secrets.iter().filter_map(resettable).collect();
    cases.retain(|case| {
        let disposition = case.expected().ok().and_then(|expected| {
            expected.get("disposition").and_then(|word| word.as_str().map(str::to_owned))
        });
        let accepted = disposition.as_deref() == Some("accepted");
        let in_path = case.secrets.contains_key("token");
        let renamed = named.iter().any(|setting| case.settings.contains_key(setting));
        let posted = case.request.method == "POST" && !case.request.body.is_empty();
        let verified = !case.secrets.is_empty();
        accepted
            && posted
            && verified
            && !in_path
            && !renamed
            && !case.repeated
            && case.is_portable()
    });
    cases.sort_by_key(|case| case.request.body.len());
    let middle = cases.len() / 2;
    ensure!(middle < cases.len(), "none is accepted by itself");
    Ok(cases.swap_remove(middle))
}

fn measure(
    adapter: &Adapter,
    route: &RouteName,
    case: &Case,
    calls: usize,
) -> anyhow::Result<Call> {
    let mut roles = Vec::new();
    for role in &adapter.description.secrets {
        let value = case.secrets.get(&role.role).and_then(|values| values.first());
        let given = value.map(|value| anyhow::Ok(secret(SecretName::new("bench")?, value)));
        roles.push((role.role.clone(), role.travels.clone(), given.transpose()?));
    }
    let headers = case.request.headers.iter();
    let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let request = Request { query: case.request.query.clone(), ..Request::new(roles, &headers) };
    let body = bytes::Bytes::from(case.request.body.clone());
    let mut took = Vec::with_capacity(calls);
    for number in 0..WARM_UP + calls {
        let call = request.call(route, body.clone());
        let started = Instant::now();
        let ended = adapter.receive(call);
        let elapsed = started.elapsed();
        let made = matches!(&ended.end, End::Outcome(outcome) if !outcome.events.is_empty());
        ensure!(made, "`{}` became no event: {:?}", case.name, ended.end);
        if number >= WARM_UP {
            took.push(elapsed);
        }
    }
    took.sort_unstable();
    let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
    Ok(Call { fixture: case.name.clone(), p50, p99 })
}

/// The table as it is printed.
#[must_use]
pub fn render(costs: &[Cost]) -> String {
    let bars = format!("<= {CALL_US_MAX} us, < {} KiB", COMPONENT_BYTES_MAX >> 10);
    let mut text = format!(
        "{:<16} {:<32} {:>9} {:>9} {:>9}   {bars}\n",
        "adapter", "one call with", "p50 us", "p99 us", "KiB"
    );
    for Cost { adapter, component_bytes, call } in costs {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (fixture, p50, p99) = match call {
            Some(call) => (call.fixture.as_str(), Some(micros(call.p50)), Some(micros(call.p99))),
            None => ("(it keeps state)", None, None),
        };
        let number = |value: Option<f64>| value.map_or_else(String::new, |v| format!("{v:.1}"));
        let slow = p50.is_some_and(|p50| p50 > CALL_US_MAX);
        let reached = !slow && *component_bytes < COMPONENT_BYTES_MAX;
        let line = format!(
            "{adapter:<16} {fixture:<32} {:>9} {:>9} {:>9}{}",
            number(p50),
            number(p99),
            component_bytes >> 10,
            if reached { "" } else { "   not reached" },
        );
        // Writing to a String cannot fail.
        writeln!(text, "{line}").unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_bar_is_marked() {
        let cost = |micros, component_bytes| Cost {
            adapter: "a".to_owned(),
            component_bytes,
            call: Some(Call {
                fixture: "f".to_owned(),
                p50: Duration::from_micros(micros),
                p99: Duration::from_micros(99),
            }),
        };
        let none = Cost { call: None, ..cost(0, 1) };
        let text = render(&[cost(25, 1_000), cost(26, 1_000), cost(1, 1 << 20), none]);
        let marked: Vec<bool> =
            text.lines().skip(1).map(|line| line.ends_with("not reached")).collect();
        assert_eq!(marked, [false, true, true, false], "{text}");
    }
}
