//! More than it can take: shed at once, and nothing lost that was admitted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice::config::ForwardedBy;
use sluice::model::Diagnosis;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client::{Client, post};
use super::double::Scripted;
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

/// A head whose body is yet to come.
fn head(more: &str) -> String {
    format!("POST /hook HTTP/1.1\r\nHost: a\r\n{more}Content-Length: 2\r\n\r\n")
}

/// So many connections from that address, each with such a head.
async fn unfinished(gateway: &Gateway, from: u8, head: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect_from([127, 0, 0, from], gateway.addr).await;
        client.send(head).await;
        clients.push(client);
    }
    clients
}

/// Sends the rest, and is served.
async fn finish(client: &mut Client) {
    client.send("ok").await;
    client.expect(200).await;
}

#[tokio::test]
async fn who_owes_too_many_bodies_is_shed_alone() {
    let mut plan = Plan::default();
    plan.ingest.requests_in_flight_max = 128;
    let gateway = Gateway::start(&plan);
    // An eighth of them may be owed, and twice as many as there are places come.
    let may_finish = CancellationToken::new();
    let mut owing = JoinSet::new();
    for mut client in unfinished(&gateway, 2, &head(""), 256).await {
        let may_finish = may_finish.clone();
        owing.spawn(async move {
            tokio::select! {
                answer = client.answer() => Some(answer.expect("an answer")),
                () = may_finish.cancelled() => {
                    finish(&mut client).await;
                    None
                }
            }
        });
    }
    for _ in 0..256 - 16 {
        let answer = owing.join_next().await.unwrap().unwrap().expect("too many are owed");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    // Everybody else is served, whole or in parts; and so is the same client where its body is there.
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    for client in &mut unfinished(&gateway, 3, &head(""), 16).await {
        finish(client).await;
    }
    let mut whole = Client::connect_from([127, 0, 0, 2], gateway.addr).await;
    whole.send(post("/hook", "ok")).await;
    whole.expect(200).await;
    // What it owes it may still bring, and then owe again.
    may_finish.cancel();
    for answer in owing.join_all().await {
        assert!(answer.is_none(), "{answer:?}");
    }
    for client in &mut unfinished(&gateway, 2, &head(""), 16).await {
        finish(client).await;
    }
    assert!(gateway.refused().iter().all(|each| each.diagnosis == Diagnosis::OVERLOADED));
}

#[tokio::test]
async fn behind_a_trusted_proxy_it_is_the_client_that_owes() {
    let mut plan = Plan::default();
    plan.ingest.requests_in_flight_max = 64;
    plan.ingest.forwarded = ForwardedBy::XForwardedFor;
    plan.ingest.trusted_proxies = std::iter::once("127.0.0.9/32".parse().unwrap()).collect();
    let gateway = Gateway::start(&plan);
    let of = |client: &str| head(&format!("X-Forwarded-For: {client}\r\n"));
    let mut owing = unfinished(&gateway, 9, &of("192.0.2.1"), 8).await;
    let mut one_more = unfinished(&gateway, 9, &of("192.0.2.1"), 1).await;
    one_more[0].expect(503).await;
    for client in &mut unfinished(&gateway, 9, &of("192.0.2.2"), 8).await {
        finish(client).await;
    }
    for client in &mut owing {
        finish(client).await;
    }
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
async fn nothing_of_body_and_query_is_kept_that_an_adapter_which_masks_never_read() {
    for redacts in [true, false] {
        let adapter = Arc::new(Scripted::that_redacts(redacts));
        let mut plan = Plan { calls_in_flight_max: 0, adapter, ..Plan::default() };
        plan.routes[0].deadline = Duration::from_millis(300);
        let gateway = Gateway::start(&plan);
        assert_eq!(gateway.post("/hook?pan=4111", "4111").await.status, 503);
        let refused = gateway.refusal();
        let query = refused.head.as_ref().unwrap().query.as_deref();
        let kept = if redacts { "***" } else { "4111" };
        assert_eq!((&*refused.body, refused.redacted), (kept.as_bytes(), redacts));
        assert_eq!(query, Some(if redacts { "***" } else { "pan=4111" }));
        let told = refused.detail.contains("the adapter masks some of it and did not come to say");
        assert_eq!(told, redacts, "{}", refused.detail);
        assert!(gateway.adapter.calls().is_empty());
    }
}

#[tokio::test]
async fn nor_is_the_query_of_a_request_that_never_came_to_a_call() {
    for redacts in [true, false] {
        let adapter = Arc::new(Scripted::that_redacts(redacts));
        let mut plan = Plan { adapter, ..Plan::default() };
        plan.routes[0].body_max = 3;
        let gateway = Gateway::start(&plan);
        assert_eq!(gateway.post("/hook?pan=4111", "4111").await.status, 413);
        let refused = gateway.refusal();
        let query = refused.head.as_ref().unwrap().query.as_deref();
        assert_eq!(query, Some(if redacts { "***" } else { "pan=4111" }));
        assert_eq!((refused.body.len(), refused.redacted), (0, redacts));
    }
}

#[tokio::test]
async fn who_is_being_served_makes_no_room_and_others_wait_for_it() {
    let mut plan = Plan::default();
    plan.ingest.connections_max = 1;
    let gateway = Gateway::start(&plan);
    gateway.storage.hold();
    let mut first = gateway.client().await;
    first.send(post("/hook", "ok")).await;
    gateway.storage.begun(1).await;
    let mut second = gateway.client().await;
    second.send(post("/hook", "ok")).await;
    let waiting = timeout(Duration::from_millis(700), second.answer()).await;
    assert!(waiting.is_err(), "two connections were served at once");
    gateway.storage.release();
    first.expect(200).await;
    // Now it is silent, and after a while makes room.
    second.expect(200).await;
    first.expect_end().await;
}

#[tokio::test]
async fn silent_connections_make_room_those_of_who_has_most_first() {
    let mut plan = Plan::default();
    plan.ingest.connections_max = 4;
    plan.ingest.trusted_proxies = std::iter::once("127.0.0.9/32".parse().unwrap()).collect();
    let gateway = Gateway::start(&plan);
    let from = async |from| Client::connect_from([127, 0, 0, from], gateway.addr).await;
    let served = async |client: &mut Client| {
        client.send(post("/hook", "ok")).await;
        client.expect(200).await;
    };
    let mut proxy = from(9).await;
    served(&mut proxy).await;
    let mut provider = from(3).await;
    served(&mut provider).await;
    // One that was served, and one that has got no further than this.
    let mut idle = from(2).await;
    served(&mut idle).await;
    let mut slow = from(2).await;
    slow.send("POST /hook HTTP/1.1\r\nHost:").await;

    let mut fifth = from(4).await;
    served(&mut fifth).await;
    idle.expect_end().await;
    served(&mut provider).await;
    // Each has one now. Who has been silent for longest goes.
    let mut sixth = from(5).await;
    served(&mut sixth).await;
    slow.expect_end().await;
    // A proxy has been silent for longer than all others, and goes after them.
    let mut seventh = from(6).await;
    served(&mut seventh).await;
    served(&mut proxy).await;
}
