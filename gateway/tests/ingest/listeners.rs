//! Reloads under ingest: listeners that come and go, bounds that change, snapshots that are freed.

use std::net::SocketAddr;
use std::sync::Arc;

use sluice::config::{Listen, ListenerConfig};
use sluice::ingest::Listener;
use sluice::model::Answer;
use sluice::service_manager::Handed;
use sluice::snapshot::Snapshot;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{Client, PATIENCE, post};
use super::double::{answered, matched};
use super::gateway::{Gateway, Plan, snapshot};

/// A listener at a port of its own, under a name that tells it from the first.
fn another() -> (Listener, Listen, SocketAddr) {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = Listen::Tcp(probe.local_addr().unwrap());
    drop(probe);
    let config = Arc::new(ListenerConfig::plain(listen.clone()));
    let listener = Listener::open(&config, &Handed::default()).unwrap().remove(0);
    let addr = listener.local_addr().unwrap();
    (listener, listen, addr)
}

/// Where the first listener listens.
fn listen_of(plan: &Plan) -> Listen {
    plan.ingest.listeners[0].listen.clone()
}

async fn closed(addr: SocketAddr) {
    let refusing = async { while TcpStream::connect(addr).await.is_ok() {} };
    timeout(PATIENCE, refusing).await.expect("no more connections in time");
}

async fn ok(client: &mut Client) {
    client.send(post("/hook", "ok")).await;
    client.expect(200).await;
}

#[tokio::test]
async fn an_added_listener_serves_beside_the_first_and_connections_stay_open() {
    let mut gateway = Gateway::start(&Plan::default());
    let mut kept = gateway.client().await;
    ok(&mut kept).await;
    let (listener, listen, addr) = another();
    let first = listen_of(&Plan::default());
    gateway.listeners.reshape(vec![first, listen], vec![listener]).await;
    ok(&mut Client::connect(addr).await).await;
    ok(&mut kept).await;
    gateway.stop();
    assert_eq!(gateway.stopped().await.connections_left, 0);
    assert_eq!(gateway.storage.commits().len(), 3);
}

#[tokio::test]
async fn a_moved_listener_finishes_what_was_started_and_is_gone() {
    let mut gateway = Gateway::start(&Plan::default());
    gateway.storage.hold();
    let mut busy = gateway.client().await;
    busy.send(post("/hook", "ok")).await;
    gateway.storage.begun(1).await;
    let mut idle = gateway.client().await;

    let (listener, listen, addr) = another();
    gateway.listeners.reshape(vec![listen], vec![listener]).await;
    let mut next = Client::connect(addr).await;
    next.send(post("/hook", "ok")).await;
    gateway.storage.begun(2).await;
    closed(gateway.addr).await;
    idle.expect_end().await;
    gateway.storage.release();
    let answer = busy.expect(200).await;
    assert_eq!(answer.header("connection"), Some("close"));
    next.expect(200).await;
    ok(&mut next).await;
    gateway.stop();
    assert_eq!(gateway.stopped().await.connections_left, 0);
}

#[tokio::test]
async fn a_request_finishes_on_the_snapshot_that_it_began_with() {
    let gateway = Gateway::start(&Plan::default());
    gateway.storage.hold();
    let mut busy = gateway.client().await;
    busy.send(post("/hook", "ok")).await;
    gateway.storage.begun(1).await;

    let without = Plan { routes: Vec::new(), ..Plan::default() };
    gateway.swap.store(snapshot(2, &without).into());
    gateway.listeners.reshape(vec![listen_of(&without)], Vec::new()).await;
    assert_eq!(gateway.post("/hook", "ok").await.status, 404);
    gateway.storage.release();
    busy.expect(200).await;
    busy.send(post("/hook", "ok")).await;
    busy.expect(404).await;
}

#[tokio::test]
async fn the_snapshot_before_is_freed_with_its_last_request_and_needs_no_other_to_come() {
    let gateway = Gateway::start(&Plan::default());
    let mut kept = gateway.client().await;
    ok(&mut kept).await;
    gateway.storage.hold();
    let mut busy = gateway.client().await;
    busy.send(post("/hook", "ok")).await;
    gateway.storage.begun(2).await;

    let plan = Plan { adapter: Arc::clone(&gateway.adapter), ..Plan::default() };
    let first = Arc::downgrade(&gateway.swap.swap(snapshot(2, &plan).into()));
    let second = Arc::downgrade(&gateway.swap.load_full());
    let reshape = || gateway.listeners.reshape(vec![listen_of(&plan)], Vec::new());
    reshape().await;
    assert!(first.upgrade().is_some(), "a request still holds it");
    gateway.storage.release();
    busy.expect(200).await;
    freed(&first).await;

    // Nobody sends anything: it is freed all the same.
    gateway.swap.store(snapshot(3, &plan).into());
    reshape().await;
    freed(&second).await;
    ok(&mut kept).await;
}

async fn freed(snapshot: &std::sync::Weak<Snapshot>) {
    let gone = async {
        while snapshot.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("to be freed in time");
}

#[tokio::test]
async fn bounds_change_while_they_are_held() {
    let mut plan = Plan::default();
    plan.ingest.connections_max = 1;
    plan.ingest.requests_in_flight_max = 1;
    let gateway = Gateway::start(&plan);
    gateway.adapter.does(|_| matched(answered(Answer::json(200, "{}"))));
    let mut first = gateway.client().await;
    ok(&mut first).await;
    let mut second = gateway.client().await;
    second.send(post("/hook", "ok")).await;

    let mut more = Plan { adapter: Arc::clone(&gateway.adapter), ..Plan::default() };
    more.ingest.connections_max = 2;
    gateway.swap.store(snapshot(2, &more).into());
    gateway.listeners.reshape(vec![listen_of(&more)], Vec::new()).await;
    second.expect(200).await;

    // Two requests at once, where one was the bound before.
    gateway.storage.hold();
    first.send(post("/hook", "ok")).await;
    second.send(post("/hook", "ok")).await;
    gateway.storage.begun(4).await;
    gateway.storage.release();
    first.expect(200).await;
    second.expect(200).await;

    // Fewer: both stay open, and no third comes before one has gone, and then another.
    gateway.swap.store(snapshot(3, &plan).into());
    gateway.listeners.reshape(vec![listen_of(&plan)], Vec::new()).await;
    let mut third = gateway.client().await;
    third.send(post("/hook", "ok")).await;
    ok(&mut first).await;
    ok(&mut second).await;
    drop(first);
    ok(&mut second).await;
    drop(second);
    third.expect(200).await;
}
