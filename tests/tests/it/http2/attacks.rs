//! What is known to have brought HTTP/2 servers down: each ends the connection after a bounded number
//! of bytes, costs little memory and time, and other clients notice little.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sluice_tests::Gateway;
use sluice_tests::frames::{
    Attacked, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, attack, frame, head, remembered,
};
use sluice_tests::http::{Connection, Request};

use super::{start, start_with, tcp, webhook};

/// An attacker's bytes until their connection is over.
const BYTES_MAX: usize = 1 << 20;

/// Sent at most, where nobody ends the connection.
const GIVEN_UP: usize = 4 << 20;

/// Connections of one attack at once.
const ATTACKERS: usize = 4;

type Parts = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// The head of a request that never ends.
pub(super) fn begun(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head(&webhook(&[])))
}

fn streams() -> impl Iterator<Item = u32> + Send {
    (1_u32..).step_by(2)
}

/// So many frames in one write.
fn many(count: usize, frame: &[u8]) -> Vec<u8> {
    frame.repeat(count)
}

fn after(first: Vec<u8>, rest: Vec<u8>) -> Parts {
    Box::new(std::iter::once(first).chain(std::iter::repeat(rest)))
}

fn bomb() -> Parts {
    let value = "x".repeat(3_900);
    let mut first = head(&webhook(&[]));
    first.extend(remembered("x", &value));
    let first = frame(HEADERS, END_HEADERS | END_STREAM, 1, &first);
    // The field remembered last, four thousand times.
    let bombs = streams().skip(1).map(|stream| {
        let mut fields = head(&webhook(&[]));
        fields.extend([0xbe; 4_000]);
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields)
    });
    Box::new(std::iter::once(first).chain(bombs))
}

/// Its name, and what it sends.
type Attack = (&'static str, fn() -> Parts);

fn attacks() -> [Attack; 18] {
    [
        ("CONTINUATION with data", || {
            let first = frame(HEADERS, 0, 1, &head(&webhook(&[])));
            after(first, frame(CONTINUATION, 0, 1, &head(&[("x", &"x".repeat(8_000))])))
        }),
        ("CONTINUATION without", || {
            let first = frame(HEADERS, 0, 1, &head(&webhook(&[])));
            after(first, many(100, &frame(CONTINUATION, 0, 1, &[])))
        }),
        ("rapid reset", || {
            let reset = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            Box::new(streams().map(move |stream| [begun(stream), reset(stream)].concat()))
        }),
        ("MadeYouReset", || {
            let update = |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4]);
            Box::new(streams().map(move |stream| [begun(stream), update(stream)].concat()))
        }),
        ("MadeYouReset by a window that overflows", || {
            let update = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
            Box::new(streams().map(move |stream| [begun(stream), update(stream)].concat()))
        }),
        ("MadeYouReset by DATA after the end", || {
            let all =
                |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(&webhook(&[])));
            let more = |stream| frame(DATA, 0, stream, b"more");
            Box::new(streams().map(move |stream| [all(stream), more(stream)].concat()))
        }),
        ("MadeYouReset by a request upon itself", || {
            let upon = |stream: u32| {
                frame(PRIORITY, 0, stream, &[&stream.to_be_bytes()[..], &[9]].concat())
            };
            Box::new(streams().map(move |stream| [begun(stream), upon(stream)].concat()))
        }),
        ("empty DATA", || after(begun(1), many(100, &frame(DATA, 0, 1, &[])))),
        ("1-byte DATA", || after(begun(1), many(100, &frame(DATA, 0, 1, b"x")))),
        ("HPACK bomb", bomb),
        ("a head of 1.5 MB", || {
            let first = frame(HEADERS, 0, 1, &head(&webhook(&[])));
            let part = |index| head(&[(&format!("x-{index}"), &"x".repeat(16_000))]);
            let parts = (0..94).map(move |index| frame(CONTINUATION, 0, 1, &part(index)));
            let last = frame(CONTINUATION, END_HEADERS, 1, &head(&[("x", "x")]));
            Box::new(std::iter::once(first).chain(parts).chain(std::iter::once(last)))
        }),
        ("heads that are too large", || {
            let large = head(&[("x", &"x".repeat(14_000))]);
            Box::new(streams().map(move |stream| {
                let first = frame(HEADERS, END_STREAM, stream, &head(&webhook(&[])));
                let more = frame(CONTINUATION, 0, stream, &large);
                let last = frame(CONTINUATION, END_HEADERS, stream, &large);
                [first, more.clone(), more, last].concat()
            }))
        }),
        ("a window that overflows", || {
            after(begun(1), frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()))
        }),
        ("a frame too large", || after(begun(1), frame(DATA, 0, 1, &[0; 20_000]))),
        ("PING", || after(Vec::new(), many(100, &frame(PING, 0, 0, &[0; 8])))),
        ("SETTINGS", || after(Vec::new(), many(100, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])))),
        ("PRIORITY", || after(begun(1), many(100, &frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])))),
        ("unknown frames", || after(Vec::new(), many(10, &frame(99, 0, 0, &[0; 1_000])))),
    ]
}

/// Resident memory now in KiB, and processor time so far.
fn cost(gateway: &Gateway) -> (u64, Duration) {
    (gateway.memory().unwrap() / 1_024, gateway.processor_time().unwrap())
}

/// A client that minds its own business until it has sent so many, or is stopped; how long each of
/// its requests took.
async fn healthy(gateway: &Gateway, count: usize, stop: &AtomicBool) -> Vec<Duration> {
    let mut connection = Connection::open(gateway.ingest()).await.unwrap();
    let mut took = Vec::new();
    // Two milliseconds apart: it is not to be a load itself.
    let mut turns = tokio::time::interval(Duration::from_millis(2));
    while took.len() < count && !stop.load(Ordering::Relaxed) {
        turns.tick().await;
        let begun = Instant::now();
        let answer = connection.send(Request::get("/none")).await.unwrap();
        assert_eq!(answer.status, 404);
        took.push(begun.elapsed());
    }
    took
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

async fn run(gateway: &Gateway, parts: fn() -> Parts) -> Vec<Attacked> {
    let mut attackers = tokio::task::JoinSet::new();
    for _ in 0..ATTACKERS {
        attackers.spawn(attack(tcp(gateway).await, GIVEN_UP, parts()));
    }
    attackers.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_ends_its_connection_and_costs_little() {
    let (_home, gateway) = start("http2 = true").await;
    let stop = AtomicBool::new(false);
    let quiet = p99(healthy(&gateway, 500, &stop).await);
    let (took, ()) = tokio::join!(healthy(&gateway, usize::MAX, &stop), async {
        for (name, parts) in attacks() {
            let (memory, time) = cost(&gateway);
            let attacked = run(&gateway, parts).await;
            let (memory_after, time_after) = cost(&gateway);
            let sent = attacked.iter().map(|one| one.sent).max().unwrap();
            let all: usize = attacked.iter().map(|one| one.sent).sum();
            let grown = memory_after.saturating_sub(memory);
            let spent = time_after.saturating_sub(time);
            println!(
                "HTTP/2, {name}: ended after {} KiB, {grown} KiB more memory, {spent:.1?} for {} KiB",
                sent / 1024,
                all / 1024
            );
            assert!(attacked.iter().all(|one| one.ended), "{name}: {attacked:?}");
            assert!(sent <= BYTES_MAX, "{name}: {sent} bytes");
            assert!(grown <= 2_048 * ATTACKERS as u64, "{name}: {grown} KiB");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let attacked = p99(took);
    println!("HTTP/2, p99 of a healthy client: {quiet:?} before, {attacked:?} under attack");
    // The floor is what two busy cores do to anybody.
    assert!(attacked <= (quiet * 2).max(Duration::from_millis(100)), "{quiet:?}, {attacked:?}");
}

/// Has a connection begin a thousand requests; returns how much memory that took, in KiB.
async fn memory_of_open_requests() -> u64 {
    let (_home, gateway) = start("http2 = true").await;
    let mut peer = super::peer(&gateway).await;
    let (memory, _) = cost(&gateway);
    let mut sent = true;
    for stream in streams().take(1_000) {
        sent = sent && peer.send(&begun(stream)).await.is_ok();
    }
    let (mut refused, mut ended) = (0, !sent);
    while let Some(got) = peer.receive(Duration::from_secs(1)).await {
        refused += u32::from(got.kind == RST_STREAM);
        ended |= got.kind == GOAWAY;
    }
    let grown = cost(&gateway).0.saturating_sub(memory);
    println!(
        "HTTP/2, 1,000 open requests: {refused} refused, ended: {ended}, {grown} KiB more memory"
    );
    assert!(refused >= 900 || ended, "{refused} refused");
    grown
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_open_at_once_than_a_connection_may_have() {
    // What a process takes once, as for its allocator's further arenas, may fall into one of these.
    let mut least = u64::MAX;
    for _ in 0..3 {
        least = least.min(memory_of_open_requests().await);
    }
    assert!(least <= 2_048, "{least} KiB");
}

/// Whoever does not know yet how many requests they may begin loses none that was taken.
#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_those_are_refused_and_the_others_answered() {
    const BEGUN: u32 = 120;
    const OPEN: u32 = 100;
    let (_home, gateway) = start("http2 = true").await;
    let mut peer = super::peer(&gateway).await;
    let heads: Vec<u8> = streams().take(BEGUN as usize).flat_map(begun).collect();
    peer.send(&heads).await.unwrap();
    let mut refused = 0;
    while refused < BEGUN - OPEN {
        let got = peer.receive(Duration::from_secs(20)).await.expect("a refusal");
        assert_ne!(got.kind, GOAWAY, "{got:?}");
        if got.kind == RST_STREAM {
            // REFUSED_STREAM: it may be sent again.
            assert_eq!((got.payload.as_slice(), got.stream > 2 * OPEN), (&[0, 0, 0, 7][..], true));
            refused += 1;
        }
    }
    let body = |stream| frame(DATA, END_STREAM, stream, b"{}");
    let bodies: Vec<u8> = streams().take(OPEN as usize).flat_map(body).collect();
    peer.send(&bodies).await.unwrap();
    let mut answered = 0;
    while answered < OPEN {
        let got = peer.receive(Duration::from_secs(20)).await.expect("an answer");
        assert!(got.kind != GOAWAY && got.kind != RST_STREAM, "{got:?}");
        answered += u32::from(got.kind == HEADERS);
    }
}

/// The control: a gateway that keeps no account of a connection reads whatever it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_keeps_no_account_fails_this_test() {
    let (_home, gateway) = start_with("http2 = true", "keep-no-account").await;
    let (_, parts) = attacks().into_iter().find(|(name, _)| *name == "unknown frames").unwrap();
    let attacked = attack(tcp(&gateway).await, 2 * BYTES_MAX, parts()).await;
    assert!(attacked.sent > BYTES_MAX, "{attacked:?}");
}
