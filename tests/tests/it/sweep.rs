//! A first start, some requests and an end, killed at each of its system calls that change a file,
//! one after the other: the next start finds everything that was acknowledged, and serves.
//!
//! `it/crash.rs` kills at random under load; what happens once in the life of a store, as the
//! making of its files, is met here.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Home, HomeBuilder, artifacts, long, store, wait_until};
use tokio::task::JoinSet;

use crate::random::Random;

/// Calls that change what a later start finds.
const CALLS: [&str; 7] =
    ["pwrite64", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "write"];

/// Of each call more are not tried: what follows repeats itself.
const KILLS_MAX: u64 = 120;

/// Without `--long` so many are tried, at random.
const SAMPLE: usize = 6;

/// Gateways at once.
const AT_ONCE: usize = 4;

const SOON: Duration = Duration::from_secs(60);

/// A home with nothing but what is compiled: that takes the longest, and is tried elsewhere.
fn home(compiled: &Path) -> Home {
    let home = HomeBuilder::new()
        .storage("ballast = \"1MiB\"")
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .build()
        .unwrap();
    std::fs::create_dir(home.data()).unwrap();
    let copied = Command::new("cp").arg("-a").arg(compiled).arg(home.data()).status().unwrap();
    assert!(copied.success());
    home
}

/// Whether the gateway was killed at its `n`-th `call`, of whichever thread comes to it first.
async fn is_survived(compiled: &Path, call: &str, n: u64) -> bool {
    let home = home(compiled);
    let report = home.folder().join("calls.txt");
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={n}"), "-o"]).arg(&report);
    strace.arg(artifacts::gateway().unwrap());
    let mut acknowledged = BTreeSet::new();
    let killed = match home.start_by(strace, &[("SLUICE_LOG", "warn")]).await {
        Ok(mut gateway) => {
            for number in 0..3 {
                let id = format!("trn:vkyc:{call}-{n}-{number}");
                if gateway.post_vkyc(vkyc_payload(&id)).await.is_ok_and(|a| a.status == 200) {
                    acknowledged.insert(id);
                }
            }
            // It may be gone already.
            drop(gateway.signal("TERM"));
            let status = wait_until("the end", SOON, || {
                let ended = gateway.ended().unwrap();
                async move { ended }
            });
            let status = status.await.unwrap();
            assert!(status.success() || status.signal() == Some(9), "{call} {n}: {status}");
            !status.success()
        }
        Err(error) => {
            let text = format!("{error:#}");
            assert!(text.contains("signal: 9"), "{call} {n}: {text}");
            true
        }
    };
    let again = format!("{call} {n}: the start after it");
    let gateway = home.start_with(&[("SLUICE_LOG", "warn")]).await.expect(&again);
    let id = "trn:vkyc:after-it";
    assert_eq!(gateway.post_vkyc(vkyc_payload(id)).await.unwrap().status, 200, "{again}");
    assert!(gateway.terminate().await.unwrap().status.success(), "{again}");
    let stored = store::accepted(&home).await.expect(&again);
    let stored: BTreeSet<String> = stored.into_iter().map(|stored| stored.id).collect();
    assert!(stored.is_superset(&acknowledged) && stored.contains(id), "{again}: {stored:?}");
    killed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_killed_anywhere_is_followed_by_one_that_serves() {
    let mut random = Random::new();
    let warm = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    assert!(warm.start().await.unwrap().terminate().await.unwrap().status.success());
    let compiled = Arc::new(warm.data().join("cache"));
    let mut points: Vec<(&str, u64)> = Vec::new();
    if long() {
        points.extend(CALLS.iter().flat_map(|call| (1..=KILLS_MAX).map(|n| (*call, n))));
    } else {
        points.push(("pwrite64", 5));
        // What is rare is met in the first few of its calls.
        points.extend((0..SAMPLE).map(|_| (*random.pick(&CALLS), 1 + random.below(20))));
    }
    let (mut tried, mut killed) = (0, 0);
    let mut over = BTreeSet::new();
    let mut points = points.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((call, n)) = points.find(|(call, _)| !over.contains(call))
        {
            let compiled = Arc::clone(&compiled);
            running.spawn(async move { (call, is_survived(&compiled, call, n).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (call, was_killed) = ended.unwrap();
        tried += 1;
        killed += usize::from(was_killed);
        if long() && !was_killed {
            over.insert(call);
        }
    }
    println!("{tried} tried, {killed} killed");
    assert!(killed > 0, "the kills do not come");
}
