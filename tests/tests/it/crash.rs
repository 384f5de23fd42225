//! Promise 1 and 2 under `kill -9`: what was answered 2xx is stored and delivered, once.
//!
//! A process that is killed leaves the page cache behind, so this shows that no answer runs ahead
//! of its commit, and that recovery applies nothing twice; it does not show what a power cut does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluice_tests::http::Connection;
use sluice_tests::ledger::{Audit, Ledger, Outcome, Stored};
use sluice_tests::provider::{vkyc_event_id, vkyc_payload};
use sluice_tests::store;
use sluice_tests::wait::wait_until;
use sluice_tests::{Home, HomeBuilder, vkyc_request};
use tokio::task::JoinSet;

use crate::random::Random;

/// Connections that post at once: enough that a commit group always has company.
const CLIENTS: u64 = 8;

/// How long recovery and the delivery of what was left may take.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_nothing_and_apply_nothing_twice() {
    let audit = kills(50, &[]).await;
    println!("{} requests acknowledged, {} unknown", audit.acknowledged, audit.unknown_stored);
    assert!(audit.acknowledged > 50, "each round acknowledges something");
    audit.assert_nothing_lost();
}

/// The control: with answers before commits, the same test finds what was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_before_its_commit_fails_this_test() {
    let audit = kills(20, &[("SLUICE_FAULT", "ack-before-commit")]).await;
    println!("{} requests acknowledged, {} lost", audit.acknowledged, audit.lost.len());
    assert!(!audit.lost.is_empty(), "an early answer must show as a loss");
}

/// Whether a webhook is answered, and how many events are delivered, once it is in the log.
async fn told_of_what_is_in_the_log(fault: &str) -> (bool, usize) {
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let gateway = home.start_with(&[("SLUICE_FAULT", fault)]).await.unwrap();
    let (log, id) = (home.data().join("sluice.db-wal"), "trn:vkyc:in-the-log");
    let mut connection = Connection::open(gateway.ingest()).await.unwrap();
    let answer = connection.send(vkyc_request(vkyc_payload(id)));
    let mut answer = Box::pin(tokio::time::timeout(SILENCE, answer));
    let in_log = wait_until("the request in the log", RECOVERY_MAX, || async {
        let log = std::fs::read(&log).ok()?;
        log.windows(id.len()).any(|window| window == id.as_bytes()).then_some(())
    });
    let (answered, in_log) = tokio::join!(&mut answer, in_log);
    in_log.unwrap();
    let answered = answered.is_ok_and(|answer| answer.unwrap().status == 200);
    if answered {
        gateway.until_delivered(RECOVERY_MAX).await.unwrap();
    }
    let delivered = home.events().unwrap().len();
    gateway.kill9();
    (answered, delivered)
}

/// How long nobody must be answered: a hundred times as long as a sync takes.
const SILENCE: Duration = Duration::from_secs(2);

/// A log that is written and not synced does not survive a power cut.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_what_is_not_synced() {
    assert_eq!(told_of_what_is_in_the_log("").await, (true, 1), "the control");
    assert_eq!(told_of_what_is_in_the_log("syncer-hangs").await, (false, 0));
}

/// Ends although what it has written is never synced, at one signal or at a second one.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_does_not_keep_it_from_ending() {
    let stopped = async |again: bool| {
        let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
        let gateway = home.start_with(&[("SLUICE_FAULT", "syncer-hangs")]).await.unwrap();
        let answer = gateway.post_vkyc(vkyc_payload("trn:vkyc:hanging")).await.unwrap();
        assert_eq!(answer.status, 503, "it is not synced");
        if again {
            gateway.signal("TERM").unwrap();
            gateway.wait_for_log("Draining.", RECOVERY_MAX).await.unwrap();
        }
        let stopped = gateway.terminate().await.unwrap();
        assert_eq!(stopped.status.code(), Some(1), "it says that this was no orderly end");
        drop(home.start().await.expect("the store can be opened again"));
        stopped.took
    };
    let (once, twice) = tokio::join!(stopped(false), stopped(true));
    println!("ended after {once:?}, at a second signal after {twice:?}");
    assert!(twice < Duration::from_secs(15), "{twice:?}");
}

async fn kills(rounds: u64, environment: &[(&str, &str)]) -> Audit {
    let mut random = Random::new();
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let ledger = Arc::new(Ledger::create(&home.folder().join("ledger.jsonl")).unwrap());
    for round in 0..rounds {
        let gateway = home.start_with(environment).await.unwrap();
        let enough =
            ledger.count(Outcome::Acknowledged) + usize::try_from(random.below(120)).unwrap() + 1;
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
            let address = gateway.ingest();
            clients.spawn(async move {
                let Ok(mut connection) = Connection::open(address).await else { return };
                for number in 0_u64.. {
                    let id = format!("trn:vkyc:{round}-{client}-{number}");
                    let body = vkyc_payload(&id);
                    ledger.sending(&id, body.as_bytes()).unwrap();
                    let status = connection.send(vkyc_request(body)).await.ok().map(|a| a.status);
                    ledger.ended(&id, Outcome::of(status)).unwrap();
                    if status.is_none() || stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let counted = || {
            let reached = ledger.count(Outcome::Acknowledged) >= enough;
            async move { reached.then_some(()) }
        };
        wait_until("acknowledgements", Duration::from_secs(30), counted).await.unwrap();
        gateway.kill9();
        stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
    }
    let gateway = home.start().await.unwrap();
    gateway.until_delivered(RECOVERY_MAX).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let stored: Vec<Stored> = store::accepted(&home).await.unwrap();
    let delivered: Vec<String> = delivered(&home);
    ledger.audit(&stored, &delivered)
}

fn delivered(home: &Home) -> Vec<String> {
    let events = home.events().unwrap();
    // The file destination may repeat a line after a kill; CloudEvents ids make it one.
    let mut ids = BTreeSet::new();
    events
        .iter()
        .filter(|event| ids.insert(event.pointer("/id").cloned().map(|id| id.to_string())))
        .map(|event| vkyc_event_id(event).unwrap().to_owned())
        .collect()
}
