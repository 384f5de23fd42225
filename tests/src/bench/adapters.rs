//! One call of every bundled adapter by itself, on one of its own fixtures, and what its component
//! weighs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use plugin_sdk::testing::fixture::Case;
use sluice::adapter::{
    Adapter, Description, End, Receive as _, ReceiveCall, Sandbox, SandboxLimits, SecretRole,
    StateReader,
};
use sluice::model::{PluginName, RouteName, SecretName, Travels};

use super::percentile;
use crate::artifacts;
use crate::sandbox::{Kept, NOW, Request, secret};

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
    pub call: Call,
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
        let mut routes = vec![(RouteName::new(name)?, case.settings.clone())];
        for (number, step) in case.before.iter().enumerate() {
            routes.push((RouteName::new(&format!("before-{number}"))?, step.settings.clone()));
        }
        let adapter = sandbox.configure(&plugin, &case.settings, &routes)?;
        let route = |number: usize| routes.get(number).map(|(route, _)| route);
        measure(&adapter, route, &case, calls)
    };
    Ok(Cost { adapter: name.to_owned(), component_bytes: bytes.len(), call: measured()? })
}

/// Of the accepted fixtures that need nothing but their own secrets, the one with the middle size;
/// of an adapter that keeps state, among those that find something in it, where there are any.
fn typical(folder: &Path, description: &Description) -> anyhow::Result<Case> {
    let mut cases = Case::load_all(folder)?;
    let resettable = |role: &SecretRole| match &role.travels {
        Travels::Header { setting, .. } | Travels::Query { setting, .. } => setting.clone(),
        Travels::Body | Travels::Key => None,
    };
    let keeps_state = description.state_version.is_some();
    let named: Vec<String> = description.secrets.iter().filter_map(resettable).collect();
    cases.retain(|case| {
        let disposition = case.expected().ok().and_then(|expected| {
            expected.get("disposition").and_then(|word| word.as_str().map(str::to_owned))
        });
        let accepted = disposition.as_deref() == Some("accepted");
        // The gateway compares it before the call.
        let token_alone = case.secrets.len() == 1 && case.secrets.contains_key("token");
        let in_path = case.secrets.contains_key("token") && !(keeps_state && token_alone);
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
    if keeps_state && cases.iter().any(|case| !case.before.is_empty()) {
        cases.retain(|case| !case.before.is_empty());
    }
    cases.sort_by_key(|case| case.request.body.len());
    let middle = cases.len() / 2;
    ensure!(middle < cases.len(), "none is accepted by itself");
    Ok(cases.swap_remove(middle))
}

fn measure<'r>(
    adapter: &Adapter,
    route: impl Fn(usize) -> Option<&'r RouteName>,
    case: &Case,
    calls: usize,
) -> anyhow::Result<Call> {
    let mut roles = Vec::new();
    for role in &adapter.description.secrets {
        let value = case.secrets.get(&role.role).and_then(|values| values.first());
        let given = value.map(|value| anyhow::Ok(secret(SecretName::new("bench")?, value)));
        roles.push((role.role.clone(), role.travels.clone(), given.transpose()?));
    }
    let kept = Arc::new(Kept::at(NOW));
    let prepared = |sent: &plugin_sdk::testing::Request, number: usize| {
        let headers = sent.headers.iter();
        let headers: Vec<_> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let request =
            Request { query: sent.query.clone(), ..Request::new(roles.clone(), &headers) };
        let call = request.call(route(number)?, bytes::Bytes::from(sent.body.clone()));
        let state = adapter.description.state_version;
        let state = state.map(|_| Arc::<Kept>::clone(&kept) as Arc<dyn StateReader>);
        Some(ReceiveCall { state, ..call })
    };
    for (number, step) in case.before.iter().enumerate() {
        let call = prepared(&step.request, number + 1).context("the step has a route")?;
        kept.apply(&adapter.receive(call).writes);
    }
    let call = prepared(&case.request, 0).context("the case has a route")?;
    let mut took = Vec::with_capacity(calls);
    for number in 0..WARM_UP + calls {
        let call = call.clone();
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
        let (fixture, p50) = (&call.fixture, micros(call.p50));
        let reached = p50 <= CALL_US_MAX && *component_bytes < COMPONENT_BYTES_MAX;
        let line = format!(
            "{adapter:<16} {fixture:<32} {p50:>9.1} {:>9.1} {:>9}{}",
            micros(call.p99),
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
            call: Call {
                fixture: "f".to_owned(),
                p50: Duration::from_micros(micros),
                p99: Duration::from_micros(99),
            },
        };
        let text = render(&[cost(25, 1_000), cost(26, 1_000), cost(1, 1 << 20)]);
        let marked: Vec<bool> =
            text.lines().skip(1).map(|line| line.ends_with("not reached")).collect();
        assert_eq!(marked, [false, true, true], "{text}");
    }
}
