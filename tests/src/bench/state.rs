//! What adapters' state costs: how matching grows with what is stored, stateful calls beside
//! stateless ones, and calls that all want one entry.

mod contention;
mod matching;
mod sweeping;

use std::time::Duration;

use anyhow::ensure;

use super::table::{Bar, Figure};
use super::wrk::{self, Run};
use crate::{Gateway, Home, HomeBuilder};

/// What is measured, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Calls of the smaller and of the larger store in which a payout is matched.
    pub calls: (u64, u64),
    /// Expired entries of state, and as many ended keys.
    pub expired: u64,
    /// Of each run under load.
    pub time: Duration,
    /// Runs of each kind, in turns.
    pub rounds: u32,
}

/// The value of the secret of the test guest's route.
const KEEPER_SECRET: &str = crate::home::VKYC_SECRET;

/// Measures everything that has to do with state.
///
/// # Errors
///
/// Where something is not built, or what was sent was not answered as it should be.
pub async fn figures(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let mut figures = matching::figures(plan).await?;
    figures.extend(beside_stateless(plan).await?);
    figures.extend(contention::figures(plan).await?);
    figures.extend(sweeping::figures(plan).await?);
    Ok(figures)
}

pub(super) const fn figure(name: &'static str, value: f64, unit: &'static str, bar: Bar) -> Figure {
    Figure { name, value, unit, bar }
}

pub(super) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// One run of wrk's script for state.
fn load(gateway: &Gateway, path: &str, arguments: &[&str], time: Duration) -> anyhow::Result<Run> {
    wrk::script(gateway.ingest(), path, "state.lua", arguments, time)
}

/// The same event, by an adapter that counts in its state and by one that does not, in turns.
async fn beside_stateless(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    super::say("Loading the gateway with stateless and with stateful calls in turns");
    let route = "[routes.keeper]\npath = \"/hooks/keeper\"\nplugin = \"keeper\"\n\
        secrets = { shared = \"keeper-secret\" }\ndeliver_to = [\"events\"]\n";
    let home: Home = HomeBuilder::new()
        .guest("keeper")?
        .secret("keeper-secret", KEEPER_SECRET)
        .toml(route)
        .events_file()
        .build()?;
    let gateway = home.start_with(&[]).await?;
    let (mut stateless, mut stateful) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        for (kind, runs) in [("plain", &mut stateless), ("tally", &mut stateful)] {
            let word = format!("{kind}{round}");
            let run = load(&gateway, "/hooks/keeper", &[kind, &word], plan.time)?;
            super::show(kind, &run);
            // On a busy machine a call may run out of its time.
            ensure!(
                run.refused * 100 < run.answered_200(),
                "the gateway refused {} requests",
                run.refused
            );
            runs.push(run.per_second());
        }
    }
    gateway.terminate().await?;
    let (stateless, stateful) = (super::median(&stateless), super::median(&stateful));
    Ok(vec![
        figure("stateless calls", stateless, "requests/s", Bar::None),
        figure("stateful calls without conflicts", stateful, "requests/s", Bar::None),
        figure("stateful : stateless", stateful / stateless, "", Bar::AtLeast(0.6)),
    ])
}
