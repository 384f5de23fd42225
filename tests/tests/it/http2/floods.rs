//! Floods of frames that are no part of a request: cheap to send, and each to be handled.
//!
//! Such a flood is measured twice. A *blind* one is sent as fast as the connection takes it, over one
//! connection after the other: what 30 MB of it cost is the figure that has a bar. A *careful* one
//! waits until the gateway has read what it sent, so that the attacker wastes nothing: it is held
//! against the attacker's own processor time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use sluice_tests::frames::{PING, PREFACE, PRIORITY, SETTINGS, WINDOW_UPDATE, frame};
use sluice_tests::{Gateway, cost};

use super::attacks::begun;
use super::{LISTEN, start, start_with};

/// What a blind flood comes to in all.
const FLOOD: usize = 30 << 20;

/// For each MB that is sent. It holds in either profile of the build: what is measured is how soon a
/// flood is cut off, and the control, which cuts nothing off, is far beyond it in both.
const TIME_MAX_PER_MB: Duration = Duration::from_millis(10);

/// One connection at a time floods.
const GROWN_MAX: u64 = 2 << 20;

/// The rule of Envoy: nobody makes us use a hundred times what they use.
const TIMES_MAX: f64 = 100.0;

/// Connections of a careful flood.
const CAREFUL: usize = 40;

/// Frames that a careful attacker sends before they look: few enough to find the bound by.
const STEP: usize = 50;

/// The weight of a frame, and what a connection may waste: `ingest/http2/account.rs`.
const FRAMES_MAX: usize = 1_024 + STEP;
const SETTINGS_MAX: usize = 64 + STEP;

struct Flood {
    name: &'static str,
    /// What the connection begins with after the preface.
    first: Vec<u8>,
    frame: Vec<u8>,
    /// Of which so many get through.
    frames_max: usize,
}

fn floods() -> Vec<Flood> {
    let flood = |name, kind, flags, payload: &[u8], frames_max| {
        let frame = frame(kind, flags, 0, payload);
        Flood { name, first: Vec::new(), frame, frames_max }
    };
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]);
    vec![
        flood("PING", PING, 0, &[0; 8], FRAMES_MAX),
        flood("PING, answers that nobody asked for", PING, 1, &[0; 8], FRAMES_MAX),
        flood("SETTINGS", SETTINGS, 0, &[0, 3, 0, 0, 0, 9], SETTINGS_MAX),
        flood("SETTINGS, empty", SETTINGS, 0, &[], SETTINGS_MAX),
        flood("WINDOW_UPDATE", WINDOW_UPDATE, 0, &[0, 0, 0, 1], FRAMES_MAX),
        flood("unknown frames, empty", 99, 0, &[], FRAMES_MAX),
        flood("unknown frames of 1,000 bytes", 99, 0, &[0; 1_000], FRAMES_MAX),
        Flood {
            name: "PRIORITY",
            first: Vec::new(),
            frame: priority.clone(),
            frames_max: FRAMES_MAX,
        },
        Flood {
            name: "PRIORITY of a request",
            first: begun(1),
            frame: priority,
            frames_max: FRAMES_MAX,
        },
    ]
}

fn open(address: &str, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // It may be cut off at once.
    drop(stream.write_all(&[PREFACE, first].concat()));
    stream
}

/// Sends as fast as it is taken, until so many bytes were, and reads whatever is answered. How many
/// connections that took.
fn blind(address: &str, flood: &Flood, bytes: usize) -> usize {
    let chunk = flood.frame.repeat((64 << 10) / flood.frame.len());
    let (mut sent, mut connections) = (0, 0);
    while sent < bytes {
        connections += 1;
        let mut stream = open(address, &flood.first);
        while sent < bytes && stream.write_all(&chunk).is_ok() && still_there(&mut stream) {
            sent += chunk.len();
        }
    }
    connections
}

/// Reads what has come; whether more can.
fn still_there(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut buffer = [0; 16 << 10];
    let ended = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    stream.set_nonblocking(false).unwrap();
    !ended
}

/// Sends some frames and a ping, and waits for its answer, until the connection is cut off. How many
/// frames of the flood were sent.
fn careful(address: &str, flood: &Flood) -> usize {
    let mut stream = open(address, &flood.first);
    let mut sent = 0;
    for number in 0_u64.. {
        let mark = (number | 1 << 63).to_be_bytes();
        let step = [flood.frame.repeat(STEP), frame(PING, 0, 0, &mark)].concat();
        if stream.write_all(&step).is_err() {
            break;
        }
        sent += STEP;
        if !comes(&mut stream, &frame(PING, 1, 0, &mark)) {
            break;
        }
    }
    sent
}

/// Reads until these bytes have come; whether they do.
fn comes(stream: &mut TcpStream, wanted: &[u8]) -> bool {
    let mut read: Vec<u8> = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => read.extend(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("neither answered nor cut off")
            }
            Err(_) => return false,
        }
        if read.windows(wanted.len()).any(|window| window == wanted) {
            return true;
        }
    }
}

/// What the gateway and the attacker used meanwhile, of the processors.
struct Used<T> {
    gateway: Duration,
    attacker: Duration,
    came_to: T,
}

async fn used<T: Send + 'static>(
    gateway: &Gateway,
    attack: impl FnOnce(String) -> T + Send + 'static,
) -> Used<T> {
    let address = gateway.listener(LISTEN).unwrap();
    let before = gateway.processor_time().unwrap();
    // On a thread of its own, whose time is the attacker's.
    let attacking = tokio::task::spawn_blocking(move || {
        let before = cost::own_processor_time().unwrap();
        let came_to = attack(address);
        (came_to, cost::own_processor_time().unwrap() - before)
    });
    let (came_to, attacker) = attacking.await.unwrap();
    Used { gateway: gateway.processor_time().unwrap().saturating_sub(before), attacker, came_to }
}

/// What each MB of a blind flood costs the gateway.
async fn cost_per_mb(gateway: &Gateway, flood: Flood, bytes: usize) -> Duration {
    let name = flood.name;
    let used = used(gateway, move |address| blind(&address, &flood, bytes)).await;
    let megabytes = u32::try_from(bytes / 1_000_000).unwrap();
    println!(
        "HTTP/2, {megabytes} MB of {name}: {} connections, {:.3} ms of processor time for each MB, \
         the attacker's {:.3} ms",
        used.came_to,
        used.gateway.as_secs_f64() * 1e3 / f64::from(megabytes),
        used.attacker.as_secs_f64() * 1e3 / f64::from(megabytes),
    );
    used.gateway / megabytes
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_megabytes_of_small_frames_cost_little_time_and_no_memory() {
    let (_home, gateway) = start("http2 = true").await;
    let pid = gateway.pid();
    // What a first connection makes for all that follow.
    used(&gateway, |address| careful(&address, &floods()[0])).await;
    for flood in floods() {
        let (name, before) = (flood.name, gateway.memory().unwrap());
        cost::forget_peak_memory(pid).unwrap();
        let time = cost_per_mb(&gateway, flood, FLOOD).await;
        let grown = gateway.peak_memory().unwrap().saturating_sub(before);
        println!("HTTP/2, {name}: {} KiB more memory at most", grown >> 10);
        assert!(time <= TIME_MAX_PER_MB, "{name}: {time:?} for each MB");
        assert!(grown <= GROWN_MAX, "{name}: {grown} bytes");
    }
    // Nor do the libraries write a line for each frame that is wrong.
    let log = gateway.log().unwrap();
    let said = log.lines().filter(|line| line.contains("h2::")).count();
    assert_eq!(said, 0, "{} bytes of log", log.len());
    println!("HTTP/2, all floods: {} lines of log", log.lines().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wastes_nothing_is_cut_off_soon_and_costs_no_hundred_times_what_they_use() {
    let (_home, gateway) = start("http2 = true").await;
    for flood in floods() {
        let (name, frames_max) = (flood.name, flood.frames_max);
        let used = used(&gateway, move |address| -> Vec<usize> {
            (0..CAREFUL).map(|_| careful(&address, &flood)).collect()
        })
        .await;
        let most = *used.came_to.iter().max().unwrap();
        let least = *used.came_to.iter().min().unwrap();
        let times = used.gateway.as_secs_f64() / used.attacker.as_secs_f64();
        println!(
            "HTTP/2, {name}, carefully: cut off after {least} to {most} frames, {:.2?} of processor \
             time for a connection, {times:.1} times the attacker's",
            used.gateway / u32::try_from(CAREFUL).unwrap(),
        );
        assert!(most <= frames_max, "{name}: {most} frames");
        assert!(times <= TIMES_MAX, "{name}: {times} times");
    }
}

/// The control: a gateway that keeps no account handles every frame.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cuts_no_flood_off_uses_more_time_than_it_may() {
    let (_home, gateway) = start_with("http2 = true", "keep-no-account").await;
    let empty = floods().into_iter().find(|flood| flood.name == "SETTINGS, empty").unwrap();
    let time = cost_per_mb(&gateway, empty, FLOOD).await;
    assert!(time > TIME_MAX_PER_MB, "{time:?} for each MB");
}
