//! Reports that all change one publisher's balance, beside reports that each change another's, and
//! what another route notices of either.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::{Bar, Figure, Plan, figure, load, micros};
use crate::bench::wrk::Run;
use crate::bench::{load as steady, median, percentile, say, show};
use crate::http::{Connection, Request};
use crate::{Gateway, Home, HomeBuilder};

/// Calls of each kind, as the script of wrk has it: far more than there are connections, so that no
/// two of those report the same call at once.
const CALLS: u32 = 1_024;

/// Calls in one post, the most that the adapter takes.
const CALLS_PER_POST: u32 = 64;

/// Requests a second on the other route, and its connections: little beside the load.
const OTHER_PER_SECOND: f64 = 200.0;
const OTHER_CONNECTIONS: u32 = 4;

/// First dollars of the payouts of each run, so that no two runs report the same.
const DOLLARS_BETWEEN_RUNS: u32 = 50;

/// p99 of the other route without load, beside reports on many publishers, and on one.
#[derive(Default)]
struct Other {
    alone: Vec<f64>,
    beside_many: Vec<f64>,
    beside_one: Vec<f64>,
}

pub(super) async fn figures(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    say("Loading the gateway with payouts, on many publishers and on one in turns");
    let home = home()?;
    let gateway = home.start_with(&[]).await?;
    tell(&gateway).await?;
    let (mut other, mut many, mut one) = (Other::default(), Vec::new(), Vec::new());
    let mut dollars = 1;
    for round in 0..plan.rounds {
        other.alone.push(vkyc(&gateway, &format!("alone{round}"), plan.time).await?);
        for (prefix, rates, p99s) in
            [("many", &mut many, &mut other.beside_many), ("one", &mut one, &mut other.beside_one)]
        {
            let (run, p99) = both(&gateway, prefix, dollars, plan.time).await?;
            dollars += DOLLARS_BETWEEN_RUNS;
            show(prefix, &run);
            say(&format!("    {} refused; the other route's p99 is {p99:.0} us", run.refused));
            rates.push(run.per_second());
            p99s.push(p99);
        }
    }
    let conflicts = conflicts(&gateway).await?;
    gateway.terminate().await?;
    let (many, one) = (median(&many), median(&one));
    let [alone, beside_many, beside_one] =
        [&other.alone, &other.beside_many, &other.beside_one].map(|p99s| median(p99s));
    Ok(vec![
        figure("payouts on 1,024 publishers, 64 clients", many, "requests/s", Bar::None),
        figure("payouts on one publisher, 64 clients", one, "requests/s", Bar::None),
        figure("one publisher : many", one / many, "", Bar::AtLeast(0.25)),
        figure("conflicts in all", conflicts, "", Bar::None),
        figure("another route alone, p99", alone, "us", Bar::None),
        figure("another route beside many publishers, p99", beside_many, "us", Bar::None),
        figure("another route beside one publisher, p99", beside_one, "us", Bar::None),
        // What conflicts do to others. What 64 busy clients do, with or without conflicts, is told by
        // the figures themselves.
        figure("its p99, beside one : beside many", beside_one / beside_many, "", Bar::AtMost(1.5)),
    ])
}

fn home() -> anyhow::Result<Home> {
    let mut publishers = String::from("hot = { percent = \"60\" }");
    for n in 0..CALLS {
        write!(publishers, ", p{n} = {{ percent = \"60\" }}")?;
    }
    HomeBuilder::new()
        .vkyc(&["events"])?
        .plugin("payout-matcher")?
        .toml(&format!(
            "[adapters.payouts]\nplugin = \"payout-matcher\"\n\
             settings = {{ campaigns = {{ hvac = {{ publishers = {{ {publishers} }} }} }} }}\n\
             deliver_to = [\"events\"]\n"
        ))
        .toml("[routes.in]\npath = \"/in\"\nadapter = \"payouts\"\nauth = \"none\"\n")
        .toml(
            "[routes.calls]\npath = \"/calls\"\nadapter = \"payouts\"\nauth = \"none\"\n\
             settings = { receives = \"calls\" }\n",
        )
        .events_file()
        .build()
}

/// Tells the calls that the script reports.
async fn tell(gateway: &Gateway) -> anyhow::Result<()> {
    let mut connection = Connection::open(gateway.ingest()).await?;
    for prefix in ["many", "one"] {
        for first in (0..CALLS).step_by(CALLS_PER_POST as usize) {
            let calls: Vec<serde_json::Value> = (first..first + CALLS_PER_POST)
                .map(|n| {
                    let publisher =
                        if prefix == "one" { "hot".to_owned() } else { format!("p{n}") };
                    let id = format!("{prefix}{n}");
                    serde_json::json!({
                        "call_id": id, "ref_id": id, "campaign": "hvac", "publisher": publisher,
                    })
                })
                .collect();
            let body = serde_json::to_string(&calls).context("calls as JSON")?;
            let answer = connection.send(Request::post_json("/calls", body)).await?;
            ensure!(answer.status == 200, "calls were answered {}", answer.text());
        }
    }
    Ok(())
}

/// The load, and what the other route notices of it: its p99 in microseconds.
async fn both(
    gateway: &Gateway,
    prefix: &str,
    dollars: u32,
    time: Duration,
) -> anyhow::Result<(Run, f64)> {
    let dollars = dollars.to_string();
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(gateway, "/in", &["report", &dollars, prefix], time));
        let ids = format!("{prefix}-{dollars}");
        // Within the load, so that its begin and end do not count.
        let within = time.saturating_sub(Duration::from_secs(1));
        let p99 = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(vkyc(gateway, &ids, within))
        })?;
        let run = loading.join().map_err(|_| anyhow::anyhow!("the load's thread panicked"))??;
        Ok((run, p99))
    })
}

async fn vkyc(gateway: &Gateway, ids: &str, time: Duration) -> anyhow::Result<f64> {
    let plan = steady::Plan {
        ids: ids.to_owned(),
        per_second: OTHER_PER_SECOND,
        time,
        connections: OTHER_CONNECTIONS,
    };
    let outcome = steady::run(gateway.ingest(), plan).await?;
    ensure!(outcome.refused == 0, "the other route refused {} requests", outcome.refused);
    Ok(micros(percentile(&outcome.latencies, 0.99)))
}

async fn conflicts(gateway: &Gateway) -> anyhow::Result<f64> {
    let metrics = gateway.admin_get("/metrics").await?.text();
    let samples = metrics.lines().filter(|line| line.starts_with("sluice_call_conflicts_total{"));
    Ok(samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}
