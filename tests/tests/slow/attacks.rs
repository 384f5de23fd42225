//! slowhttptest's four attacks, and silence.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sluice_tests::{Gateway, long};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::healthy::Healthy;
use super::rounds::{Rounds, rounds};
use super::{BODY, HEAD, IDLE, LATE, MACHINE, Silent, Site, apart};

/// Connections of an attack, all of them opened within a second or so.
const OFFENDERS: u32 = 400;

/// Connections that say nothing, all of them open at the same time.
const SILENT: u32 = 2_000;

/// What a healthy provider has open at any moment.
const HEALTHY_MAX: f64 = 10.0;

/// How often the number of connections is asked for: not so often that asking is a load.
const LOOK: Duration = Duration::from_millis(200);

/// Looks no more than this.
const LOOKS: u32 = 150;

/// Watches the number of open connections until all offenders are gone; says how many there were at
/// most, and how long some of them stayed.
async fn offenders(gateway: &Gateway, began: Instant) -> (f64, Duration) {
    let (mut most, mut last) = (0.0_f64, began);
    let mut looks = interval(LOOK);
    for _ in 0..LOOKS {
        looks.tick().await;
        let open = gateway.metric("sluice_connections_open").await.unwrap();
        most = most.max(open);
        if open > HEALTHY_MAX {
            last = Instant::now();
        } else if most > HEALTHY_MAX {
            // None is left, and they had been there.
            return (most, last - began);
        }
    }
    (most, Duration::MAX)
}

/// Attacks so, which needs no more than this from the tool.
fn slowhttptest(gateway: &Gateway, arguments: &[&str], folder: &Path) -> tokio::process::Child {
    let url = format!("http://{}/hooks/vkyc", gateway.ingest());
    let count = OFFENDERS.to_string();
    tokio::process::Command::new("slowhttptest")
        .args(["-c", &count, "-r", &count, "-i", "1", "-l", "25", "-u", &url])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("slowhttptest: `cargo xtask test` installs it")
}

/// Runs one attack beside a healthy provider. Where `deadline` is none, its requests are whole, and
/// nobody is held up.
async fn attack(what: &str, arguments: &[&str], deadline: Option<Duration>) {
    let _machine = MACHINE.lock().await;
    // Of as many, one client may owe the bodies of all its offending requests: it is their deadline
    // that ends them here.
    let site = Site::new("requests_in_flight_max = 4096");
    let gateway = site.start("").await;
    let rounds = rounds(what, &gateway, Rounds::unharmed, async || {
        let began = Instant::now();
        let mut tool = slowhttptest(&gateway, arguments, site.home.folder());
        let Some(deadline) = deadline else {
            let ended = tokio::time::timeout(Duration::from_secs(20), tool.wait()).await;
            assert!(ended.is_ok(), "{what}: some are still open");
            return;
        };
        let (most, stayed) = offenders(&gateway, began).await;
        tool.kill().await.ok();
        println!("{what}: {most} connections at most, the last closed after {stayed:.1?}");
        assert!(most >= f64::from(OFFENDERS) / 2.0, "{what} made only {most} connections");
        // They are not opened all at once.
        let opening = Duration::from_secs(2);
        assert!(stayed <= opening + deadline + LATE, "{what}: {stayed:?}");
    })
    .await;
    assert!(rounds.unharmed(), "{what}: {rounds:?}");
    let text = gateway.admin_get("/metrics").await.unwrap().text();
    let ended = text.lines().filter(|line| line.starts_with("sluice_connections_ended_total{"));
    let ended: f64 =
        ended.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert!(ended >= f64::from(OFFENDERS), "{what}: only {ended} connections ended");
    gateway.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_hurt_nobody() {
    attack("slow heads", &["-H"], Some(HEAD)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_hurt_nobody() {
    attack("slow bodies", &["-B", "-s", "8192"], Some(BODY)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_hurt_nobody() {
    attack(
        "slow readers",
        &["-X", "-k", "3", "-w", "10", "-y", "20", "-n", "1", "-z", "1"],
        Some(HEAD + IDLE),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_ranges_hurt_nobody() {
    attack("ranges", &["-R"], None).await;
}

/// What [`Silent`] does, and when they were closed.
async fn silence(to: SocketAddr) {
    let open = Silent::open_apart(to, SILENT).await;
    let (shortest, longest) = (open[0], open[open.len() - 1]);
    println!("{} silent connections were open for {shortest:.1?} to {longest:.1?}", open.len());
    // A busy client looks at its clock some time after the gateway has.
    assert!(shortest + Duration::from_millis(500) >= HEAD, "{shortest:?}");
    assert!(longest <= HEAD + LATE, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_silent_connections_hurt_nobody() {
    let _machine = MACHINE.lock().await;
    let site = Site::new("");
    let gateway = site.start("").await;
    let silent = rounds("silence", &gateway, Rounds::unharmed, async || {
        silence(gateway.ingest()).await;
    })
    .await;
    assert!(silent.unharmed(), "{silent:?}");
    if long() {
        // For comparison: what the machine makes of it.
        rounds("silence elsewhere", &gateway, Rounds::unharmed, silence_elsewhere).await;
    }
}

/// The same connections to a listener that only accepts, and closes them in time.
async fn silence_elsewhere() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepting = apart(move || async move {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let mut open = JoinSet::new();
        for _ in 0..SILENT {
            let (stream, _) = listener.accept().await.unwrap();
            open.spawn(async move {
                sleep(HEAD).await;
                drop(stream);
            });
        }
        open.join_all().await;
    });
    tokio::join!(accepting, Silent::open_apart(address, SILENT));
}

/// The control: where the gateway waits at each connection, everybody waits behind the silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_at_each_connection_fails_this_test() {
    let _machine = MACHINE.lock().await;
    let site = Site::new("");
    let gateway = site.start("wait-at-accept").await;
    let rounds = rounds(
        "waiting",
        &gateway,
        |rounds| !rounds.unharmed(),
        async || {
            Silent::open_apart(gateway.ingest(), SILENT / 4).await;
        },
    )
    .await;
    assert!(!rounds.unharmed(), "{rounds:?}");
}

/// The control: with as many connections as it takes, and all the time in the world, the silent
/// keep everybody else out.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_for_the_silent_fails_this_test() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("connections_max = 100");
    let gateway = site.start("share-nothing").await;
    let (healthy, to) = (Healthy::default(), gateway.ingest());
    let _silent = Silent::open(to, 300).await;
    let during = healthy.alone(to, Duration::from_secs(1)).await;
    assert!(during.failed() > 10, "{during:?}");
}
