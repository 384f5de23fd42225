//! Peers that take no answers and send no bodies: what they may hold, and for how long.

use std::time::{Duration, Instant};

use sluice_tests::frames::{Fate, HEADERS, PREFACE, Peer, RST_STREAM, SETTINGS, frame};
use sluice_tests::provider::vkyc_payload;
use tokio::net::TcpStream;

use super::attacks::begun;
use super::{peer, request, start, tcp, webhook};

/// A request's whole life, at the deadlines of [`start`]: its body's or its route's, and an answer's,
/// 2 s each; a connection without requests has 2 s more. The rest is what busy cores take.
const ENDED_MAX: Duration = Duration::from_secs(15);

/// Windows that settle how much of an answer may be sent: none.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_given_up() {
    let (_home, gateway) = start("http2 = true").await;
    let mut stalled = peer(&gateway).await;
    stalled.send(&frame(SETTINGS, 0, 0, &NO_WINDOW)).await.unwrap();
    for index in 0..40 {
        let body = vkyc_payload(&format!("trn:vkyc:stalled-{index}"));
        let sent = request(1 + 2 * index, &webhook(&[]), body.as_bytes());
        stalled.send(&sent).await.unwrap();
    }
    let begun = Instant::now();
    let mut reset = 0;
    while let Some(got) = stalled.receive(Duration::from_secs(20)).await {
        reset += u32::from(got.kind == RST_STREAM);
    }
    let took = begun.elapsed();
    println!("HTTP/2, a window of nothing: {reset} of 40 answers given up, ended after {took:?}");
    assert!(took < ENDED_MAX, "{took:?}");
}

/// Connections at once that stall.
const STALLED: usize = 4;

/// Requests that each of them begins: as many as may be open.
const BEGUN: u32 = 100;

/// What each may hold: a MiB, and the windows that it was granted.
const HELD_MAX: u64 = (1 << 20) + (256 << 10);

/// A hundred requests whose bodies do not come, of a peer that takes no answers.
async fn stall(peer: &mut Peer<TcpStream>) {
    let mut sent = [PREFACE, &frame(SETTINGS, 0, 0, &NO_WINDOW)].concat();
    sent.extend((0..BEGUN).flat_map(|index| begun(1 + 2 * index)));
    peer.send(&sent).await.unwrap();
}

/// Counts what becomes of the requests, until the end: heads of answers, and resets.
async fn ended(peer: &mut Peer<TcpStream>) -> (u32, u32) {
    let (mut answered, mut reset) = (0, 0);
    while let Some(got) = peer.receive(Duration::from_secs(20)).await {
        answered += u32::from(got.kind == HEADERS);
        reset += u32::from(got.kind == RST_STREAM);
    }
    (answered, reset)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_without_bodies_end_at_their_deadline_and_hold_little() {
    let (_home, gateway) = start("http2 = true").await;
    // What a first connection makes for all that follow.
    let mut first = Peer(tcp(&gateway).await);
    stall(&mut first).await;
    ended(&mut first).await;

    let before = gateway.memory().unwrap();
    let began = Instant::now();
    let mut peers = Vec::new();
    for _ in 0..STALLED {
        let mut peer = Peer(tcp(&gateway).await);
        stall(&mut peer).await;
        peers.push(peer);
    }
    let mut ends = tokio::task::JoinSet::new();
    for mut peer in peers {
        ends.spawn(async move { ended(&mut peer).await });
    }
    let mut peak = before;
    let mut all = Vec::new();
    while all.len() < STALLED {
        tokio::select! {
            Some(end) = ends.join_next() => all.push(end.unwrap()),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                peak = peak.max(gateway.memory().unwrap());
            }
        }
    }
    let took = began.elapsed();
    let each = (peak - before) / STALLED as u64;
    println!(
        "HTTP/2, {STALLED} connections with {BEGUN} requests without bodies: {:?} answered and reset, \
         ended after {took:?}, {} KiB held by each",
        all[0],
        each >> 10
    );
    for (answered, reset) in all {
        // Each is answered that it was late, and what says so is given up.
        assert_eq!((answered, reset), (BEGUN, BEGUN));
    }
    assert!(took < ENDED_MAX, "{took:?}");
    assert!(each <= HELD_MAX, "{each} bytes each");
    // It serves whoever comes next.
    let mut next = peer(&gateway).await;
    let body = vkyc_payload("trn:vkyc:after");
    next.send(&request(1, &webhook(&[]), body.as_bytes())).await.unwrap();
    assert_eq!(next.fate(1).await.unwrap(), Fate::Answered(0x88));
}
