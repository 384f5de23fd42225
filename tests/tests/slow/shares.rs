//! Who takes everything there is gets in their own way: nobody else has less for it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_tests::frames::{END_HEADERS, HEADERS, PREFACE, Peer, frame, head};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::healthy::{Healthy, Seen};
use super::rounds::{Rounds, rounds};
use super::{MACHINE, Site, apart, connect_from_elsewhere};

/// How long an attack goes on: several times the second that a body has before its rate counts.
const LASTS: Duration = Duration::from_secs(4);

/// Requests without bodies that are begun in a second: in each second more than there may be in
/// flight (512).
const BODILESS_RATE: u32 = 800;

/// The same over HTTP/2: so many connections with a hundred requests each.
const PEERS: usize = 6;
const STREAMS: usize = 100;

/// How often a peer begins new requests for those that were answered.
const AGAIN: Duration = Duration::from_millis(100);

/// Places for connections, and connections that are opened in a second, each with one small request:
/// with a minute of silence before any is closed, all are taken for good after some seconds.
const PLACES: u32 = 200;
const IDLE_RATE: u32 = 200;

const BODILESS: &[u8] = b"POST /hooks/vkyc HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
const SMALL: &[u8] = b"GET /none HTTP/1.1\r\nhost: a\r\n\r\n";

/// Opens connections at a rate, sends this over each, and waits until it is closed.
async fn open(to: SocketAddr, rate: u32, bytes: &'static [u8]) {
    apart(move || async move {
        let mut opened = JoinSet::new();
        let mut ticks = interval(Duration::from_secs(1) / rate);
        let began = Instant::now();
        while began.elapsed() < LASTS {
            ticks.tick().await;
            opened.spawn(async move {
                // Who is refused or cut off is no worse off than they should be.
                let mut stream = connect_from_elsewhere(to).await.ok()?;
                stream.write_all(bytes).await.ok()?;
                stream.read_to_end(&mut Vec::new()).await.ok()
            });
        }
        opened.shutdown().await;
    })
    .await;
}

/// A hundred requests without bodies at any time, over each of some connections.
async fn open_streams(to: SocketAddr) {
    apart(move || async move {
        let mut peers = JoinSet::new();
        for _ in 0..PEERS {
            peers.spawn(owe(to));
        }
        peers.join_all().await;
    })
    .await;
}

async fn owe(to: SocketAddr) {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/hooks/vkyc"),
        (":authority", "gateway.example"),
    ];
    let Ok(stream) = connect_from_elsewhere(to).await else { return };
    let mut peer = Peer(stream);
    let (began, mut streams, mut open) = (Instant::now(), (1..).step_by(2), 0);
    let mut sent = PREFACE.to_vec();
    let mut ticks = interval(AGAIN);
    while began.elapsed() < LASTS {
        let begun = streams.by_ref().take(STREAMS - open);
        sent.extend(begun.flat_map(|stream| frame(HEADERS, END_HEADERS, stream, &head(&fields))));
        open = STREAMS;
        if peer.send(&sent).await.is_err() {
            return;
        }
        sent.clear();
        ticks.tick().await;
        // Whatever has been answered.
        while let Some(got) = peer.receive(Duration::from_millis(1)).await {
            open -= usize::from(got.kind == HEADERS);
        }
    }
}

/// What a healthy provider sees beside an attack.
async fn beside(to: SocketAddr, attack: impl Future<Output = ()>) -> Seen {
    let healthy = Healthy::default();
    let (seen, ()) = tokio::join!(healthy.run(to), async {
        attack.await;
        healthy.stop();
    });
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bodies_that_do_not_come_than_requests_may_be_in_flight_hurt_nobody() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("");
    let gateway = site.start("").await;
    let rounds = rounds("bodies that do not come", &gateway, Rounds::unharmed, async || {
        open(gateway.ingest(), BODILESS_RATE, BODILESS).await;
    })
    .await;
    assert!(rounds.unharmed(), "{rounds:?}");
    let shed = "sluice_refused_total{route=\"vkyc\",diagnosis=\"overloaded\"}";
    let shed = gateway.metric(shed).await.unwrap();
    assert!(shed > f64::from(BODILESS_RATE), "{shed}");
}

/// The control: where one client may hold every request in flight, it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_shares_no_requests_out_fails_this_test() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("");
    let gateway = site.start("share-nothing").await;
    let to = gateway.ingest();
    let seen = beside(to, open(to, BODILESS_RATE, BODILESS)).await;
    assert!(seen.failed() > 10, "{seen:?}");
}

/// A listener that speaks HTTP/2 in clear text.
const HTTP2: &str = "[ingest.listeners.two]\naddress = \"127.0.0.2:0\"\nhttp2 = true";

#[tokio::test(flavor = "multi_thread")]
async fn nor_do_they_over_six_connections_of_http2() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient(HTTP2);
    let gateway = site.start("").await;
    let http2 = gateway.listener("127.0.0.2:0").unwrap().parse().unwrap();
    let rounds = rounds("HTTP/2 without bodies", &gateway, Rounds::unharmed, async || {
        open_streams(http2).await;
    })
    .await;
    assert!(rounds.unharmed(), "{rounds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_shares_no_streams_out_fails_this_test() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient(HTTP2);
    let gateway = site.start("share-nothing").await;
    let http2 = gateway.listener("127.0.0.2:0").unwrap().parse().unwrap();
    let seen = beside(gateway.ingest(), open_streams(http2)).await;
    assert!(seen.failed() > 10, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_idle_connections_than_there_are_places_hurt_nobody() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient(&format!("connections_max = {PLACES}"));
    let gateway = site.start("").await;
    let rounds = rounds("idle connections", &gateway, Rounds::unharmed, async || {
        open(gateway.ingest(), IDLE_RATE, SMALL).await;
    })
    .await;
    assert!(rounds.unharmed(), "{rounds:?}");
    let displaced = "sluice_connections_ended_total{reason=\"displaced\"}";
    let displaced = gateway.metric(displaced).await.unwrap();
    assert!(displaced > f64::from(PLACES), "{displaced}");
}

/// The control: where nobody makes room, whoever comes has to wait for the silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_shares_no_places_out_fails_this_test() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient(&format!("connections_max = {PLACES}"));
    let gateway = site.start("share-nothing").await;
    let to = gateway.ingest();
    let seen = beside(to, open(to, IDLE_RATE, SMALL)).await;
    // Until the attack ends.
    assert!(seen.p99() > LASTS / 4, "{seen:?}");
}
