//! Errors of the disk: what could not be written is not acknowledged, and neither is anything after
//! it; the gateway ends with an error, and its next start finds everything that was acknowledged.
//!
//! The kernel is made to answer calls of the real program with errors (`strace`).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sluice_tests::http::Connection;
use sluice_tests::ledger::{Audit, Ledger, Outcome};
use sluice_tests::provider::{vkyc_event_id, vkyc_payload};
use sluice_tests::{Gateway, Home, HomeBuilder, artifacts, store, vkyc_request, wait_until};
use tokio::task::JoinSet;

/// How long an end and a recovery may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Connections that post at once: a group of commits is written while the one before is synced.
const CLIENTS: usize = 8;

/// Of each of them: more than it takes to come to the error.
const REQUESTS: usize = 60;

/// Has the kernel do `fault`, as `strace -e inject=` names it, to the gateway's calls.
fn strace(report: &Path, fault: &str) -> Command {
    let (call, _) = fault.split_once(':').unwrap();
    let mut strace = Command::new("strace");
    // The gateway stays our child: its end is told to us.
    strace.args(["-D", "-f", "-qq", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={fault}"), "-o"]).arg(report);
    strace.arg(artifacts::gateway().unwrap());
    strace
}

/// Posts until all is sent, or the gateway is gone. Returns how many were refused, and how many
/// were acknowledged on a connection that had been told of a failure before.
async fn post(gateway: &Gateway, ledger: &Arc<Ledger>, prefix: &str) -> (usize, usize) {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (ledger, address) = (Arc::clone(ledger), gateway.ingest());
        let prefix = format!("trn:vkyc:{prefix}-{client}");
        clients.spawn(async move {
            let (mut refused, mut acknowledged_after) = (0, 0);
            let Ok(mut connection) = Connection::open(address).await else {
                return (refused, acknowledged_after);
            };
            for number in 0..REQUESTS {
                let id = format!("{prefix}-{number}");
                let body = vkyc_payload(&id);
                ledger.sending(&id, body.as_bytes()).unwrap();
                match connection.send(vkyc_request(body)).await.ok().map(|answer| answer.status) {
                    Some(200) => {
                        ledger.ended(&id, Outcome::Acknowledged).unwrap();
                        acknowledged_after += usize::from(refused > 0);
                    }
                    // It stays unknown: it may be in the log, and not known to be on disk.
                    Some(503) => refused += 1,
                    Some(other) => panic!("a broken disk was answered {other}"),
                    None => break,
                }
            }
            (refused, acknowledged_after)
        });
    }
    let seen = clients.join_all().await;
    seen.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// What arrived at the destination once nothing is owed any more, each event once.
async fn delivered(home: &Home, gateway: &Gateway) -> Vec<String> {
    gateway.until_delivered(SOON).await.unwrap();
    let mut events = BTreeSet::new();
    let of_home = home.events().unwrap().into_iter();
    of_home
        .filter(|event| events.insert(event["id"].to_string()))
        .map(|event| vkyc_event_id(&event).unwrap().to_owned())
        .collect()
}

/// Meets `fault` under load, ends of itself, and starts again without it.
async fn met(fault: &str, broken: &str) -> Audit {
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let report = home.folder().join("calls.txt");
    let ledger = Arc::new(Ledger::create(&home.folder().join("ledger.jsonl")).unwrap());
    let environment = [("SLUICE_LOG", "info"), ("SLUICE_FAULT", broken)];
    let mut gateway = home.start_by(strace(&report, fault), &environment).await.unwrap();
    let (refused, acknowledged_after) = post(&gateway, &ledger, "at-the-error").await;
    if broken.is_empty() {
        assert_eq!(acknowledged_after, 0, "{fault}: after an error nothing is acknowledged");
    }
    let status = wait_until("the end of the gateway", SOON, || {
        let ended = gateway.ended().unwrap();
        async move { ended }
    });
    assert_eq!(status.await.unwrap().code(), Some(1), "{fault}");
    let calls = std::fs::read_to_string(&report).unwrap();
    let injected = calls.lines().filter(|line| line.ends_with("(INJECTED)")).count();
    assert!(injected > 0, "{fault} was never met");
    drop(gateway);
    let before = ledger.count(Outcome::Acknowledged);
    let gateway = home.start().await.unwrap();
    post(&gateway, &ledger, "after-it").await;
    assert_eq!(ledger.count(Outcome::Acknowledged), before + CLIENTS * REQUESTS, "{fault}");
    let delivered = delivered(&home, &gateway).await;
    assert!(gateway.terminate().await.unwrap().status.success());
    let audit = ledger.audit(&store::accepted(&home).await.unwrap(), &delivered);
    println!(
        "{fault}: {injected} errors; {before} acknowledged before, {refused} refused; {} not \
         answered with success and stored; {} lost",
        audit.unknown_stored,
        audit.lost.len()
    );
    audit
}

/// The sync of the log is the 20th of its thread, and the first that fails; writes fail for good,
/// once, or for want of rights.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_disk_ends_the_gateway_and_loses_nothing_acknowledged() {
    let audits = tokio::join!(
        met("fdatasync:error=EIO:when=20+", ""),
        // The next sync would succeed: the kernel has dropped what it could not write.
        met("fdatasync:error=EIO:when=20", ""),
        met("pwrite64:error=EIO:when=150", ""),
        met("pwrite64:error=EROFS:when=150+", ""),
    );
    for audit in [audits.0, audits.1, audits.2, audits.3] {
        audit.assert_nothing_lost();
    }
}

/// The control: whoever answers before the commit has acknowledged what is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_early_loses_what_the_disk_did_not_take() {
    let audit = met("pwrite64:error=EIO:when=150", "ack-before-commit").await;
    assert!(!audit.lost.is_empty(), "an early answer must show as a loss");
}
