//! Nothing left to accept with.

use std::process::Command;
use std::time::Duration;

use sluice_tests::http::Connection;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, vkyc_request, wait_until};

use super::healthy::Healthy;
use super::rounds::{Rounds, rounds_of};
use super::{MACHINE, Silent, Site};

/// Few enough to be used up, and more than the gateway needs for itself.
const FEW: u64 = 300;

/// Watched for so long: in units of `/proc`, 100 to the second.
const WATCHED: Duration = Duration::from_secs(1);
const TICKS: f64 = 100.0;

async fn with_few_descriptors(site: &Site, fault: &str) -> Gateway {
    let environment = [("SLUICE_LOG", "info"), ("SLUICE_FAULT", fault)];
    site.home.start_limited(FEW, &environment).await.unwrap()
}

/// Sets how many descriptors a running gateway may have.
fn limit(gateway: &Gateway, descriptors: usize) {
    let pid = gateway.pid().to_string();
    let limit = format!("--nofile={descriptors}:");
    let set = Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
    assert!(set.success());
}

/// Descriptors that it has now.
fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count()
}

/// The processor time that it has used, in hundredths of a second.
fn used(gateway: &Gateway) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()
}

/// Whether the admin side answers a new connection.
async fn admin_answers(gateway: &Gateway) -> bool {
    let asked = tokio::time::timeout(Duration::from_secs(3), gateway.admin_get("/healthz"));
    matches!(asked.await, Ok(Ok(answer)) if answer.status == 200)
}

async fn kept(gateway: &Gateway) -> Connection {
    let mut kept = Connection::open(gateway.ingest()).await.unwrap();
    let first = kept.send(vkyc_request(vkyc_payload("kept-first"))).await.unwrap();
    assert_eq!(first.status, 200);
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_descriptors_for_everything_else() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("");
    let gateway = with_few_descriptors(&site, "").await;
    gateway.wait_for_log("the limit of open files is low", Duration::from_secs(5)).await.unwrap();
    let mut kept = kept(&gateway).await;
    let silent = Silent::open(gateway.ingest(), 400).await;
    for number in 0..20 {
        assert!(admin_answers(&gateway).await, "the admin side is shut out");
        let request = vkyc_request(vkyc_payload(&format!("kept-{number}")));
        assert_eq!(kept.send(request).await.unwrap().status, 200, "storage is shut out");
    }
    let most = descriptors(&gateway);
    println!("{most} of {FEW} descriptors with 400 connections waiting");
    assert!(most < usize::try_from(FEW).unwrap());
    drop(silent);
    let later = gateway.post_vkyc(vkyc_payload("later")).await.unwrap();
    assert_eq!(later.status, 200);
    assert!(!gateway.log().unwrap().contains("Connections cannot be accepted"));
}

/// The control: where connections take the last one, nobody can ask what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_reserved_descriptors_fails_this_test() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("");
    let gateway = with_few_descriptors(&site, "use-all-descriptors").await;
    let _silent = Silent::open(gateway.ingest(), 400).await;
    gateway.wait_for_log("cannot be accepted", Duration::from_secs(10)).await.unwrap();
    assert!(!admin_answers(&gateway).await);
}

/// The share of a processor that it uses, for a while.
async fn watched(gateway: &Gateway) -> f64 {
    let before = used(gateway);
    tokio::time::sleep(WATCHED).await;
    (used(gateway) - before) / TICKS
}

/// Takes every descriptor away while it runs, and lets some wait for one.
async fn without_descriptors(site: &Site, fault: &str) -> (Gateway, Connection, Silent) {
    let gateway = site.start(fault).await;
    let connection = kept(&gateway).await;
    limit(&gateway, descriptors(&gateway));
    // The first of them may find gaps among the numbers that are taken.
    let waiting = Silent::open(gateway.ingest(), 20).await;
    if fault.is_empty() {
        let told = "Connections cannot be accepted";
        gateway.wait_for_log(told, Duration::from_secs(5)).await.unwrap();
    }
    (gateway, connection, waiting)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_descriptor_it_waits_and_serves_whom_it_has() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("");
    let (gateway, mut kept, waiting) = without_descriptors(&site, "").await;
    let used = watched(&gateway).await;
    drop(waiting);
    println!("without a descriptor it uses {:.1} % of a processor", used * 100.0);
    assert!(used < 0.10, "{used}");
    let log = gateway.log().unwrap();
    let told = log.lines().filter(|line| line.contains("Connections cannot be accepted")).count();
    assert!((1..20).contains(&told), "told {told} times");
    let answer = kept.send(vkyc_request(vkyc_payload("meanwhile"))).await.unwrap();
    assert_eq!(answer.status, 200);
    limit(&gateway, 1_000);
    wait_until("new connections to be served", Duration::from_secs(5), || async {
        let posted = gateway.post_vkyc(vkyc_payload("after")).await;
        posted.ok().filter(|answer| answer.status == 200)
    })
    .await
    .unwrap();
    let health = gateway.admin_get("/healthz").await.unwrap();
    assert_eq!(health.status, 200);
}

/// Who keeps its connection notices nothing.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_descriptor_whom_it_has_is_served_as_fast() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("");
    let gateway = site.start("").await;
    let (healthy, what) = (Healthy::keeping(), "no descriptors");
    let rounds = rounds_of(&healthy, what, &gateway, Rounds::unharmed, async || {
        limit(&gateway, descriptors(&gateway));
        let waiting = Silent::open(gateway.ingest(), 20).await;
        tokio::time::sleep(2 * WATCHED).await;
        drop(waiting);
        limit(&gateway, 1_000);
    })
    .await;
    assert!(gateway.log().unwrap().contains("Connections cannot be accepted"));
    assert!(rounds.unharmed(), "{rounds:?}");
}

/// The control: one that tries again at once does nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_wait_fails_this_test() {
    let _machine = MACHINE.lock().await;
    let site = Site::patient("");
    let (gateway, _kept, _waiting) = without_descriptors(&site, "spin-on-accept").await;
    // On a busy machine not everybody who wants a processor has one.
    wait_until("it to use a processor", Duration::from_secs(30), || async {
        (watched(&gateway).await > 0.10).then_some(())
    })
    .await
    .unwrap();
}
