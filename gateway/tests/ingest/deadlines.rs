//! Slow peers, with deadlines short enough to be met.

use std::time::{Duration, Instant};

use sluice::model::{Answer, Diagnosis};

use super::client::post;
use super::double::{answered, matched};
use super::gateway::{Gateway, Plan};

const SHORT: Duration = Duration::from_millis(300);

/// Scheduling on a busy machine; deadlines must not be early at all.
const LATE: Duration = Duration::from_secs(5);

#[track_caller]
fn assert_took(began: Instant, least: Duration) {
    let took = began.elapsed();
    // Phases are kept in whole milliseconds.
    let least = least.saturating_sub(Duration::from_millis(2));
    assert!(least <= took && took < least + LATE, "took {took:?}");
}

#[tokio::test]
async fn a_silent_a_prefacing_and_a_slow_head_are_closed_without_an_answer() {
    let mut plan = Plan::default();
    plan.ingest.head_deadline = SHORT;
    let gateway = Gateway::start(&plan);
    for bytes in ["", "PRI", "P", "POST /hook HTTP/1.1\r\nHost:"] {
        let mut client = gateway.client().await;
        let began = Instant::now();
        client.send(bytes).await;
        client.expect_end().await;
        assert_took(began, SHORT);
    }
}

#[tokio::test]
async fn a_kept_connection_may_be_silent_longer_than_a_head_may_take() {
    let mut plan = Plan::default();
    plan.ingest.head_deadline = SHORT;
    plan.ingest.idle_deadline = SHORT * 4;
    let gateway = Gateway::start(&plan);

    let mut idle = gateway.client().await;
    idle.send(post("/hook", "ok")).await;
    idle.expect(200).await;
    let began = Instant::now();
    idle.expect_end().await;
    assert_took(began, SHORT * 4);

    // The first byte of a head ends the idling.
    let mut slow = gateway.client().await;
    slow.send(post("/hook", "ok")).await;
    slow.expect(200).await;
    let began = Instant::now();
    slow.send("P").await;
    slow.expect_end().await;
    assert_took(began, SHORT);
    assert!(began.elapsed() < SHORT * 4);
}

#[tokio::test]
async fn a_body_is_late_by_its_deadline_or_by_its_rate() {
    let mut plan = Plan::default();
    plan.ingest.body_deadline = SHORT;
    let gateway = Gateway::start(&plan);
    let mut client = gateway.client().await;
    let began = Instant::now();
    client.send("POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nok").await;
    client.expect(408).await;
    assert_took(began, SHORT);
    client.expect_end().await;
    let refused = gateway.refusal();
    assert_eq!(refused.diagnosis, Diagnosis::BODY_TOO_SLOW);

    let mut plan = Plan::default();
    plan.ingest.body_rate_min = 1024;
    let gateway = Gateway::start(&plan);
    let mut client = gateway.client().await;
    let began = Instant::now();
    client.send("POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await;
    client.expect(408).await;
    assert_took(began, Duration::from_secs(1));
    assert!(gateway.adapter.calls().is_empty());
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    let mut plan = Plan::default();
    plan.ingest.head_deadline = SHORT;
    plan.adapter.does(|_| {
        // More than the buffers of both kernels hold.
        let body = vec![b'x'; 32 << 20];
        matched(answered(Answer { status: 200, headers: Vec::new(), body: body.into() }))
    });
    let mut gateway = Gateway::start(&plan);
    let mut client = gateway.client().await;
    client.send(post("/hook", "ok")).await;
    gateway.storage.begun(1).await;
    // The client reads nothing; only the gateway's own deadline lets it stop at once.
    let began = Instant::now();
    gateway.stop();
    assert_eq!(gateway.stopped().await.connections_left, 0);
    assert!(began.elapsed() < LATE);
    drop(client);
}

#[tokio::test]
async fn a_commit_that_hangs_is_answered_at_the_routes_deadline() {
    let mut plan = Plan::default();
    plan.routes[0].deadline = SHORT;
    let gateway = Gateway::start(&plan);
    gateway.storage.hold();
    let began = Instant::now();
    let answer = gateway.post("/hook", "ok").await;
    assert_took(began, SHORT);
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(gateway.refusal().diagnosis, Diagnosis::STORAGE_UNAVAILABLE);
}
