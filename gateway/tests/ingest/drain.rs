//! Stopping: what was started is finished, and nothing is left.

use std::io::Write as _;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{Client, PATIENCE, post};
use super::gateway::{Gateway, Plan};

#[tokio::test]
async fn a_request_in_flight_is_answered_and_idle_connections_are_closed() {
    let mut gateway = Gateway::start(&Plan::default());
    let mut idle = gateway.client().await;
    idle.send(post("/hook", "ok")).await;
    idle.expect(200).await;
    let mut silent = gateway.client().await;

    gateway.storage.hold();
    let mut busy = gateway.client().await;
    busy.send(post("/hook", "ok")).await;
    gateway.storage.begun(2).await;
    gateway.stop();
    idle.expect_end().await;
    silent.expect_end().await;
    let refusing = async { while TcpStream::connect(gateway.addr).await.is_ok() {} };
    timeout(PATIENCE, refusing).await.expect("no more connections in time");

    gateway.storage.release();
    let answer = busy.expect(200).await;
    assert_eq!(answer.header("connection"), Some("close"));
    busy.expect_end().await;
    assert_eq!(gateway.stopped().await.connections_left, 0);
    assert_eq!(gateway.storage.commits().len(), 2);
}

#[tokio::test]
async fn a_request_that_was_on_its_way_is_served() {
    let mut gateway = Gateway::start(&Plan::default());
    // Accepted by the kernel, and seen by nobody else: the gateway runs on this thread, which does
    // not yield before it is told to stop.
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut stream = std::net::TcpStream::connect(gateway.addr).unwrap();
        stream.write_all(post("/hook", "ok").as_bytes()).unwrap();
        waiting.push(stream);
    }
    gateway.stop();
    for stream in waiting {
        Client::over(stream).expect(200).await;
    }
    assert_eq!(gateway.stopped().await.connections_left, 0);
}

#[tokio::test]
async fn what_is_not_done_by_the_deadline_is_cut_off_and_counted() {
    let mut plan = Plan::default();
    plan.ingest.drain = Duration::from_millis(300);
    let mut gateway = Gateway::start(&plan);
    gateway.storage.hold();
    let mut stuck = gateway.client().await;
    stuck.send(post("/hook", "ok")).await;
    gateway.storage.begun(1).await;
    let began = Instant::now();
    gateway.stop();
    assert_eq!(gateway.stopped().await.connections_left, 1);
    assert!(began.elapsed() >= plan.ingest.drain);
    assert!(began.elapsed() < PATIENCE / 2);
    stuck.expect_end().await;
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_undo_its_commit() {
    let mut gateway = Gateway::start(&Plan::default());
    gateway.storage.hold();
    let mut client = gateway.client().await;
    client.send(post("/hook", "ok")).await;
    gateway.storage.begun(1).await;
    drop(client);
    // What comes after the end of that client is answered: its end has been seen by then.
    assert_eq!(gateway.exchange("GET /hook HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 405);
    gateway.storage.release();
    gateway.stop();
    assert_eq!(gateway.stopped().await.connections_left, 0);
    assert_eq!(gateway.storage.commits().len(), 1);
}
