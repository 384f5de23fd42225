//! One payout matched by its caller, with few and with many calls stored.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use serde_json::json;
use sluice::adapter::{Adapter, Cause, End, Receive as _, Sandbox, SandboxLimits};
use sluice::model::{AdapterName, Clock as _, InboundRequest, PluginName, RouteName, SystemClock};
use sluice::reading::StoredState;
use sluice::storage::sqlite::{SqliteOptions, SqliteStorage};
use sluice::storage::{Claiming, Storage};
use tokio::task::JoinSet;

use super::{Bar, Figure, Plan, figure, micros};
use crate::bench::{percentile, say};
use crate::http::{Connection, Request};
use crate::sandbox::{self, settings};
use crate::{Gateway, Home, HomeBuilder, artifacts};

/// Calls in one post, the most that the adapter takes.
const CALLS_PER_POST: u64 = 100;

/// Connections that fill a store.
const CLIENTS: u64 = 8;

/// Adapter calls, and whole requests, that are timed.
const TIMED_CALLS: u64 = 4_000;
const TIMED_REQUESTS: u64 = 400;

/// What a call may take that loses its core to others.
const CALL_MAX: Duration = Duration::from_secs(5);

/// Before the timed ones.
const WARM_UP: u64 = 400;

const SETTINGS: &str = "settings = { default_country = \"US\", campaigns = { hvac = { \
    publishers = { ann = { percent = \"60\" } } } } }";

pub(super) async fn figures(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let least = WARM_UP + TIMED_REQUESTS;
    ensure!(plan.calls.0 > least, "more than {least} calls are wanted in the smaller store");
    let stores = [Stored::with(plan.calls.0).await?, Stored::with(plan.calls.1).await?];
    let [few, many] = requests(&stores).await?;
    let [few_home, many_home] = stores.map(Stored::stop);
    let homes = [few_home.await?, many_home.await?];
    let [call_few, call_many] = calls_alone(&homes).await?;
    let ratio = |few: Duration, many: Duration| many.as_secs_f64() / few.as_secs_f64();
    Ok(vec![
        figure("matching by caller, few calls stored, call p50", micros(call_few), "us", Bar::None),
        figure("the same, many calls stored", micros(call_many), "us", Bar::None),
        figure("call, many : few", ratio(call_few, call_many), "", Bar::AtMost(1.5)),
        figure("request matched by caller, few, p50", micros(few), "us", Bar::None),
        figure("the same, many calls stored", micros(many), "us", Bar::None),
        figure("request, many : few", ratio(few, many), "", Bar::AtMost(1.5)),
    ])
}

/// A store with so many calls, and the gateway on it.
struct Stored {
    home: Home,
    gateway: Gateway,
    calls: u64,
}

impl Stored {
    async fn with(calls: u64) -> anyhow::Result<Self> {
        let home = home()?;
        let gateway = home.start_with(&[]).await?;
        let began = Instant::now();
        fill(&gateway, calls).await?;
        say(&format!("Stored {calls} calls in {:.1} s", began.elapsed().as_secs_f64()));
        Ok(Self { home, gateway, calls })
    }

    /// Ends the gateway; the store stays.
    async fn stop(self) -> anyhow::Result<(Home, u64)> {
        ensure!(self.gateway.terminate().await?.status.success(), "the gateway failed");
        Ok((self.home, self.calls))
    }
}

fn home() -> anyhow::Result<Home> {
    HomeBuilder::new()
        .plugin("payout-matcher")?
        .toml(&format!("[adapters.payouts]\nplugin = \"payout-matcher\"\n{SETTINGS}\n"))
        .toml("[routes.in]\npath = \"/in\"\nadapter = \"payouts\"\nauth = \"none\"\n")
        .toml(
            "[routes.calls]\npath = \"/calls\"\nadapter = \"payouts\"\nauth = \"none\"\n\
             settings = { receives = \"calls\" }\n",
        )
        .build()
}

/// A caller for each call: a number of New York, no two alike.
fn caller(call: u64) -> String {
    let block = call / 10_000;
    // An exchange that ends in 11 has no numbers of people.
    let exchange = 220 + block + u64::from(block >= 311 - 220);
    format!("+1212{exchange:03}{:04}", call % 10_000)
}

async fn fill(gateway: &Gateway, calls: u64) -> anyhow::Result<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let address = gateway.ingest();
        clients.spawn(async move {
            let mut connection = Connection::open(address).await?;
            let mut first = client * CALLS_PER_POST;
            while first < calls {
                let last = calls.min(first + CALLS_PER_POST);
                let answer =
                    connection.send(Request::post_json("/calls", told(first, last))).await?;
                match answer.status {
                    200 => first += CLIENTS * CALLS_PER_POST,
                    // Conflicts, or no time left: as a sender does, again.
                    503 => {}
                    other => bail!("calls were answered {other}: {}", answer.text()),
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.context("a client's task")??;
    }
    Ok(())
}

fn told(first: u64, last: u64) -> String {
    let now = SystemClock.now().0;
    let mut body = String::from("[");
    for call in first..last {
        let comma = if call > first { "," } else { "" };
        let caller = caller(call);
        // Writing to a String cannot fail.
        write!(
            body,
            "{comma}{{\"call_id\":\"c{call}\",\"ref_id\":\"r{call}\",\"caller_number\":\"{caller}\",\
             \"timestamp\":{now},\"duration_seconds\":60,\"campaign\":\"hvac\",\
             \"publisher\":\"ann\"}}"
        )
        .unwrap_or_default();
    }
    body.push(']');
    body
}

/// The call that the n-th timed report is about: all over the store, each once.
const fn about(n: u64, calls: u64) -> u64 {
    // Odd and with no common factor with any power of ten, so no two of a store are the same.
    n.wrapping_mul(7_368_787) % calls
}

fn report(call: u64) -> String {
    json!({ "caller_id": caller(call), "duration": "60", "payout": "12.50" }).to_string()
}

/// The middle of what was taken on either store.
fn middles(mut took: [Vec<Duration>; 2]) -> [Duration; 2] {
    for took in &mut took {
        took.sort_unstable();
    }
    took.map(|took| percentile(&took, 0.5))
}

/// Whole requests, each matched and committed, on the stores in turns: what else the machine does
/// hits both.
async fn requests(stores: &[Stored; 2]) -> anyhow::Result<[Duration; 2]> {
    let [few, many] = stores;
    let mut connections = [
        Connection::open(few.gateway.ingest()).await?,
        Connection::open(many.gateway.ingest()).await?,
    ];
    let mut all = [Vec::new(), Vec::new()];
    for n in 0..WARM_UP + TIMED_REQUESTS {
        for ((connection, stored), took) in connections.iter_mut().zip(stores).zip(&mut all) {
            let body = report(about(n, stored.calls));
            let began = Instant::now();
            let answer = connection.send(Request::post_json("/in", body)).await?;
            let elapsed = began.elapsed();
            let matched = answer.json()?.get("matched") == Some(&json!(true));
            ensure!(matched, "a payout was not matched: {}", answer.text());
            if n >= WARM_UP {
                took.push(elapsed);
            }
        }
    }
    Ok(middles(all))
}

/// Adapter calls on the stores in turns, which are not committed.
async fn calls_alone(stores: &[(Home, u64); 2]) -> anyhow::Result<[Duration; 2]> {
    let limits = SandboxLimits { deadline: CALL_MAX, ..SandboxLimits::default() };
    let sandbox = Sandbox::new(limits)?;
    let bytes = std::fs::read(artifacts::plugin("payout-matcher")?)?;
    let plugin = sandbox.load(&PluginName::new("payout-matcher")?, &bytes)?;
    let own = settings(json!({
        "default_country": "US",
        "campaigns": { "hvac": { "publishers": { "ann": { "percent": "60" } } } },
    }));
    let route = RouteName::new("in")?;
    let adapter = sandbox.configure(&plugin, &own, &[(route.clone(), own.clone())])?;
    let version = plugin.description.state_version.context("the adapter keeps no state")?;
    let mut opened = Vec::new();
    for (home, _) in stores {
        let options = SqliteOptions::new(Arc::new(SystemClock));
        let storage = SqliteStorage::open(&home.data().join("sluice.db"), options)?;
        let claims = vec![(AdapterName::new("payouts")?, version)];
        ensure!(storage.claim_state(claims, Claiming::Grant).await?.is_empty(), "another version");
        opened.push(storage);
    }
    let mut all = [Vec::new(), Vec::new()];
    for n in 0..WARM_UP + TIMED_CALLS {
        for ((storage, (_, calls)), took) in opened.iter().zip(stores).zip(&mut all) {
            let store: Arc<dyn Storage> = Arc::<SqliteStorage>::clone(storage);
            // Of those that were not reported yet.
            let reported = WARM_UP + TIMED_REQUESTS;
            let body = report(about(reported + n % (calls - reported), *calls));
            let elapsed = timed(&adapter, &route, store, version, body)?;
            if n >= WARM_UP {
                took.push(elapsed);
            }
        }
    }
    for storage in opened {
        storage.close().await;
    }
    Ok(middles(all))
}

fn timed(
    adapter: &Adapter,
    route: &RouteName,
    storage: Arc<dyn Storage>,
    version: u32,
    body: String,
) -> anyhow::Result<Duration> {
    let request = sandbox::Request {
        query: None,
        secrets: Arc::new(sandbox::open_route(&adapter.description)),
        ..sandbox::Request::new(Vec::new(), &[("content-type", "application/json")])
    };
    let mut call = request.call(route, Bytes::from(body));
    let now = SystemClock.now();
    call.cause = Cause::Live;
    call.inbound =
        Arc::new(InboundRequest { received_at: now, ..InboundRequest::clone(&call.inbound) });
    let state = StoredState::new(storage, AdapterName::new("payouts")?, version, now);
    call.state = Some(Arc::new(state));
    let began = Instant::now();
    let ended = adapter.receive(call);
    let elapsed = began.elapsed();
    ensure!(matches!(ended.end, End::Outcome(_)), "a call ended otherwise: {:?}", ended.end);
    Ok(elapsed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_call_has_a_caller_of_its_own_and_is_reported_once() {
        let callers: BTreeSet<String> = (0..1_000_000).step_by(997).map(caller).collect();
        assert_eq!(callers.len(), 1_000_000_usize.div_ceil(997));
        assert!(callers.iter().all(|caller| caller.len() == 12), "{callers:?}");
        assert!(!callers.iter().any(|caller| caller.starts_with("+1212311")), "{callers:?}");
        for calls in [1_000, 1_000_000] {
            let about: BTreeSet<u64> = (0..1_000).map(|n| about(n, calls)).collect();
            assert_eq!(about.len(), 1_000);
        }
    }
}
