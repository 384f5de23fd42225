//! slowhttptest's four attacks, and silence.

use std::cell::Cell;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sluice_tests::{Gateway, wait_until};

use super::healthy::Healthy;
use super::{BODY, HEAD, IDLE, LATE, Silent, home, patient, started};

/// How long a provider is watched before anything goes wrong.
const BEFORE: Duration = Duration::from_secs(2);

/// Rounds that an attack is tried.
const ROUNDS: u32 = 5;

/// One attack at a time: they would measure each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Connections of an attack, all of them opened within a second or so.
const OFFENDERS: u32 = 400;

/// What a healthy provider has open at any moment.
const HEALTHY_MAX: f64 = 10.0;

/// Watches the number of open connections until all offenders are gone; says how many there were at
/// most, and how long some of them stayed.
async fn offenders(gateway: &Gateway, began: Instant) -> (f64, Duration) {
    let watched = Cell::new((0.0_f64, began));
    wait_until("the offenders to be closed", Duration::from_secs(30), || async {
        let open = gateway.metric("sluice_connections_open").await.unwrap();
        let (most, last) = watched.get();
        let most = most.max(open);
        watched.set((most, if open > HEALTHY_MAX { Instant::now() } else { last }));
        // None is left, and they had been there.
        (most > HEALTHY_MAX && open <= HEALTHY_MAX).then_some(())
    })
    .await
    .unwrap();
    let (most, last) = watched.get();
    (most, last - began)
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
    let home = home("");
    let gateway = started(&home).await;
    unharmed(what, &gateway, async || {
        let began = Instant::now();
        let mut tool = slowhttptest(&gateway, arguments, home.folder());
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
    let text = gateway.admin_get("/metrics").await.unwrap().text();
    let ended = text.lines().filter(|line| line.starts_with("sluice_connections_ended_total{"));
    let ended: f64 =
        ended.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert!(ended >= f64::from(OFFENDERS), "{what}: only {ended} connections ended");
    gateway.terminate().await.unwrap();
}

/// Watches a healthy provider before and while `offend` runs: nothing fails, and it takes at most
/// twice as long. What else runs on the machine only ever makes it look worse, so of some rounds
/// the best one counts; a failure counts in each.
async fn unharmed(what: &str, gateway: &Gateway, offend: impl AsyncFn()) {
    let _alone = ALONE.lock().await;
    let (healthy, to) = (Healthy::default(), gateway.ingest());
    for round in 1..=ROUNDS {
        let before = healthy.alone(to, BEFORE).await;
        let (during, ()) = tokio::join!(healthy.run(to), async {
            offend().await;
            healthy.stop();
        });
        if during.is_unharmed(&before, what) {
            return;
        }
        assert!(round < ROUNDS, "{what}: {ROUNDS} rounds, and each of them took too long");
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_silent_connections_hurt_nobody() {
    let gateway = started(&home("")).await;
    unharmed("silent connections", &gateway, async || {
        let open = Silent::open(gateway.ingest(), 2_000).await.closed().await;
        let (shortest, longest) = (open[0], open[open.len() - 1]);
        println!("{} silent connections were open for {shortest:.1?} to {longest:.1?}", open.len());
        // A busy client looks at its clock some time after the gateway has.
        assert!(shortest + Duration::from_millis(500) >= HEAD, "{shortest:?}");
        assert!(longest <= HEAD + LATE, "{longest:?}");
    })
    .await;
}

/// The control: with as many connections as it takes, and all the time in the world, the silent
/// keep everybody else out.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_waits_for_the_silent_fails_this_test() {
    let home = patient("connections_max = 100");
    let gateway = started(&home).await;
    let (healthy, to) = (Healthy::default(), gateway.ingest());
    let _silent = Silent::open(to, 300).await;
    let during = healthy.alone(to, Duration::from_secs(1)).await;
    assert!(during.failed() > 10, "{during:?}");
}
