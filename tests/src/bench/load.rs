//! Open-loop load: requests leave at a fixed rate, whether or not earlier ones were answered in
//! time, and every answer is waited for. So what was answered 200 is known exactly.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::gateway::vkyc_request;
use crate::http::Connection;
use crate::provider::vkyc_payload;

/// How much to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Makes the ids differ from every other run's.
    pub ids: String,
    pub per_second: f64,
    pub time: Duration,
    pub connections: u32,
}

/// What it came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub answered_200: u64,
    pub refused: u64,
    /// Sorted; counted from when each request was due, so that waiting for a slow server shows.
    pub latencies: Vec<Duration>,
}

/// Sends VKYC payloads as planned.
///
/// # Errors
///
/// Where a connection breaks or an answer is missing.
pub async fn run(server: SocketAddr, plan: Plan) -> anyhow::Result<Outcome> {
    let plan = Arc::new(plan);
    let mut connections = JoinSet::new();
    let start = Instant::now();
    for number in 0..plan.connections {
        connections.spawn(one(server, Arc::clone(&plan), start, number));
    }
    let mut sum = Outcome::default();
    while let Some(outcome) = connections.join_next().await {
        let outcome = outcome.context("a connection's task")??;
        sum.answered_200 += outcome.answered_200;
        sum.refused += outcome.refused;
        sum.latencies.extend(outcome.latencies);
    }
    sum.latencies.sort_unstable();
    Ok(sum)
}

/// Sends every `connections`-th request of the plan.
async fn one(
    server: SocketAddr,
    plan: Arc<Plan>,
    start: Instant,
    number: u32,
) -> anyhow::Result<Outcome> {
    let mut connection = Connection::open(server).await?;
    let mut outcome = Outcome::default();
    let every = Duration::from_secs_f64(f64::from(plan.connections) / plan.per_second);
    let first = Duration::from_secs_f64(f64::from(number) / plan.per_second);
    for round in 0.. {
        let due = first + every * round;
        if due >= plan.time {
            break;
        }
        sleep_until(start + due).await;
        let id = format!("trn:vkyc:{}-{number}-{round}", plan.ids);
        let answer = connection.send(vkyc_request(vkyc_payload(&id))).await?;
        outcome.latencies.push((start + due).elapsed());
        if answer.status == 200 {
            outcome.answered_200 += 1;
        } else {
            outcome.refused += 1;
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::destination::{Destination, Reply};

    #[tokio::test]
    async fn every_request_is_sent_once_and_every_answer_is_counted() {
        let server = Destination::start().unwrap();
        server.otherwise(Reply::status(200));
        server.script([Reply::status(503)]);
        let plan = Plan {
            ids: "t".to_owned(),
            per_second: 200.0,
            time: Duration::from_millis(200),
            connections: 4,
        };
        let outcome = run(server.address(), plan).await.unwrap();
        assert_eq!((outcome.answered_200, outcome.refused), (39, 1));
        assert_eq!(outcome.latencies.len(), 40);
        let received = server.received();
        let bodies: BTreeSet<_> = received.iter().map(|request| &request.body).collect();
        assert_eq!((received.len(), bodies.len()), (40, 40));
    }
}
