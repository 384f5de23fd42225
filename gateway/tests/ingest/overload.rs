//! More than it can take: shed at once, and nothing lost that was admitted.

use std::time::{Duration, Instant};

use sluice::model::Diagnosis;
use tokio::time::timeout;

use super::client::post;
use super::gateway::{Gateway, Plan};

#[tokio::test]
async fn requests_beyond_the_bound_are_shed_at_once() {
    let mut plan = Plan::default();
    plan.ingest.requests_in_flight_max = 2;
    let gateway = Gateway::start(&plan);
    gateway.storage.hold();
    let mut admitted = Vec::new();
    for _ in 0..2 {
        let mut client = gateway.client().await;
        client.send(post("/hook", "ok")).await;
        admitted.push(client);
    }
    gateway.storage.begun(2).await;
    let shed = gateway.post("/hook", "ok").await;
    assert_eq!(shed.status, 503);
    assert_eq!(shed.header("retry-after"), Some("1"));
    assert!(shed.body.is_empty());

    gateway.storage.release();
    for client in &mut admitted {
        client.expect(200).await;
    }
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    assert_eq!(gateway.storage.commits().len(), 3);
}

#[tokio::test]
async fn a_call_that_gets_no_turn_before_the_deadline_is_shed() {
    // Nobody ever gets a turn.
    let mut plan = Plan { calls_in_flight_max: 0, ..Plan::default() };
    plan.routes[0].deadline = Duration::from_millis(300);
    let gateway = Gateway::start(&plan);
    let began = Instant::now();
    let answer = gateway.post("/hook", "ok").await;
    assert!(began.elapsed() >= plan.routes[0].deadline);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(gateway.refusal().diagnosis, Diagnosis::OVERLOADED);
    assert!(gateway.adapter.calls().is_empty());
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_in_the_kernel() {
    let mut plan = Plan::default();
    plan.ingest.connections_max = 1;
    let gateway = Gateway::start(&plan);
    let mut first = gateway.client().await;
    first.send(post("/hook", "ok")).await;
    first.expect(200).await;
    let mut second = gateway.client().await;
    second.send(post("/hook", "ok")).await;
    let waiting = timeout(Duration::from_millis(300), second.answer()).await;
    assert!(waiting.is_err(), "two connections were served at once");
    drop(first);
    second.expect(200).await;
}
