//! Runs an adapter natively, without a gateway and without a sandbox.
//!
//! The scripted host behind it really verifies: it compares secrets, computes codes and masks
//! what carries them, as the gateway does, and refuses an outcome unless every secret matched. So
//! what a [`fixture`] shows here holds in the sandbox and against a running gateway, which run the
//! same files. What a native run cannot show is the sandbox itself: its limits of memory, time and
//! log, and that there is no clock, file or thread in it (`SystemTime::now` works here and traps
//! there).
//!
//! Not part of any component: it exists only off `wasm32`.

mod compare;
mod contract;
pub mod fields;
pub mod fixture;
pub(crate) mod host;
mod presented;
mod redaction;
mod script;
mod state;
mod verify;

pub use compare::differences;
pub use script::{Request, Run, Script, VerdictRecord};

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde_json::Value;

use crate::{Adapter, Configured, DeliveredEvent, Description, Outcome, Rejection};

/// Descriptions by adapter: making one costs more than most calls, and tests make many calls.
static DESCRIPTIONS: LazyLock<Mutex<HashMap<TypeId, Arc<Description>>>> =
    LazyLock::new(Mutex::default);

fn description<A: Adapter>() -> Arc<Description> {
    let mut known = DESCRIPTIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = known.entry(TypeId::of::<A>()).or_insert_with(|| Arc::new(crate::description::<A>()));
    Arc::clone(own)
}

/// Runs `receive` once, with the settings of `script` as those of its route.
///
/// # Errors
///
/// What `configure` says of the settings, or what the adapter's answer breaks of the contract;
/// one sentence each.
pub fn receive<A: Adapter>(script: &Script) -> Result<Run, Vec<String>> {
    run::<A>(script, "receive", Configured::receive)
}

/// Runs `consume` once, with the settings of `script` as the adapter's own.
///
/// # Errors
///
/// As [`receive`]; and where the description lists nothing that is consumed: no gateway would bring
/// an event.
pub fn consume<A: Adapter>(script: &Script, event: &DeliveredEvent) -> Result<Run, Vec<String>> {
    if !description::<A>().consumes_events() {
        return Err(vec!["it consumes no events: `describe` lists none (`consumes`)".to_owned()]);
    }
    run::<A>(script, "consume", |adapter| adapter.consume(event))
}

/// Runs `view` once, with the settings of `script` as the adapter's own.
///
/// # Errors
///
/// What `configure` says of the settings, or a view that the description does not list: no gateway
/// would ask it. The inner result is the adapter's.
pub fn view<A: Adapter>(
    script: &Script,
    name: &str,
    parameters: &Value,
) -> Result<Result<String, Rejection>, Vec<String>> {
    description::<A>().lists_view(name).map_err(|wrong| vec![wrong])?;
    let adapter = configured::<A>(script)?;
    let call = || adapter.view(name, &parameters.to_string());
    Ok(host::scripted(script, "view", &description::<A>(), call).0)
}

fn configured<A: Adapter>(script: &Script) -> Result<Configured<A>, Vec<String>> {
    let settings = script.settings.to_string();
    Configured::<A>::new(&settings, &[(script.route.clone(), settings.clone())]).map_err(|found| {
        found
            .iter()
            .filter(|problem| problem.route().is_some())
            .map(|problem| format!("setting `{}`: {}", problem.path(), problem.message()))
            .collect()
    })
}

fn run<A: Adapter>(
    script: &Script,
    kind: &'static str,
    call: impl Fn(&Configured<A>) -> Result<Outcome, Rejection>,
) -> Result<Run, Vec<String>> {
    let adapter = configured::<A>(script)?;
    let description = description::<A>();
    let (end, host) = host::scripted(script, kind, &description, || call(&adapter));
    let mut broken = host.broken.clone();
    broken.extend(contract::broken(&description, &end));
    if !broken.is_empty() {
        return Err(broken);
    }
    let masked = host.kept().cloned();
    Ok(Run { end, verdicts: host.verdicts, log: host.log, state: host.state.entries, masked })
}

#[cfg(test)]
mod readme;
#[cfg(test)]
mod tests;
