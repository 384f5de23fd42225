//! Orderly ends under load, and providers that send the same at the same time: whoever is stored is
//! answered, and each event is there once.

use std::sync::Arc;
use std::time::Duration;

use sluice_tests::http::Connection;
use sluice_tests::ledger::{Audit, Ledger, Outcome};
use sluice_tests::provider::{vkyc_event_id, vkyc_payload};
use sluice_tests::{Gateway, Home, HomeBuilder, store, vkyc_request, wait_until};
use tokio::task::JoinSet;

const CLIENTS: usize = 8;

/// An orderly end has nothing to wait for but what is under way.
const END_MAX: Duration = Duration::from_secs(10);

const SOON: Duration = Duration::from_secs(60);

fn home() -> Home {
    HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap()
}

/// Posts by `CLIENTS` connections until each is closed.
fn load(gateway: &Gateway, ledger: &Arc<Ledger>, prefix: &str) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (ledger, address) = (Arc::clone(ledger), gateway.ingest());
        let prefix = format!("trn:vkyc:{prefix}-{client}");
        clients.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            for number in 0_u64.. {
                let id = format!("{prefix}-{number}");
                let body = vkyc_payload(&id);
                ledger.sending(&id, body.as_bytes()).unwrap();
                let status = connection.send(vkyc_request(body)).await.ok().map(|a| a.status);
                ledger.ended(&id, Outcome::of(status)).unwrap();
                if status != Some(200) {
                    return;
                }
            }
        });
    }
    clients
}

/// Ends the gateway under load by each of `signals`, and compares what clients saw with the store.
async fn ended_by(signals: &[&str]) -> Audit {
    let home = home();
    let ledger = Arc::new(Ledger::create(&home.folder().join("ledger.jsonl")).unwrap());
    for (round, signal) in signals.iter().enumerate() {
        let mut gateway = home.start_with(&[]).await.unwrap();
        let enough = ledger.count(Outcome::Acknowledged) + 50;
        let clients = load(&gateway, &ledger, &round.to_string());
        wait_until("acknowledgements", SOON, || async {
            (ledger.count(Outcome::Acknowledged) >= enough).then_some(())
        })
        .await
        .unwrap();
        gateway.signal(signal).unwrap();
        let status = wait_until("the end", END_MAX, || {
            let ended = gateway.ended().unwrap();
            async move { ended }
        });
        let status = status.await.unwrap();
        assert!(status.success() || *signal == "KILL", "{signal}: {status}");
        clients.join_all().await;
    }
    let gateway = home.start_with(&[]).await.unwrap();
    gateway.until_delivered(SOON).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let events = home.events().unwrap();
    let delivered: Vec<_> =
        events.iter().map(|event| vkyc_event_id(event).unwrap().to_owned()).collect();
    let audit = ledger.audit(&store::accepted(&home).await.unwrap(), &delivered);
    println!(
        "{} times {signals:?}: {} acknowledged, {} stored and not answered, {} delivered again",
        signals.len(),
        audit.acknowledged,
        audit.unknown_stored,
        audit.delivered_again.len()
    );
    audit
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_a_signal_answers_what_it_stores_and_delivers_nothing_twice() {
    let audit = ended_by(&["TERM", "INT", "TERM", "INT"]).await;
    audit.assert_exact();
    assert_eq!(audit.unknown_stored, 0, "whoever is stored is answered");
}

/// The control: `kill -9` leaves requests that are stored and were not answered.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_no_orderly_one_fails_this_test() {
    let audit = ended_by(&["KILL"; 6]).await;
    audit.assert_nothing_lost();
    assert!(audit.unknown_stored > 0 || !audit.delivered_again.is_empty());
}

/// Fifty connections send at once; `id` tells what each sends.
async fn at_once(gateway: &Gateway, id: impl Fn(usize) -> String) {
    let mut connections = Vec::new();
    for _ in 0..50 {
        connections.push(Connection::open(gateway.ingest()).await.unwrap());
    }
    let mut clients = JoinSet::new();
    for (number, mut connection) in connections.into_iter().enumerate() {
        let request = vkyc_request(vkyc_payload(&id(number)));
        clients.spawn(async move { connection.send(request).await.unwrap().status });
    }
    assert_eq!(clients.join_all().await, [200; 50], "each is told that it was taken");
}

/// The event arrives once, whether its copies come together or after a restart; fifty others, as a
/// control, arrive as fifty.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_copies_at_once_and_again_after_a_restart_are_one_event() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    at_once(&gateway, |_| "trn:vkyc:the-same".to_owned()).await;
    at_once(&gateway, |number| format!("trn:vkyc:another-{number}")).await;
    assert!(gateway.terminate().await.unwrap().status.success());
    let gateway = home.start_with(&[]).await.unwrap();
    at_once(&gateway, |_| "trn:vkyc:the-same".to_owned()).await;
    gateway.until_delivered(SOON).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let events = home.events().unwrap();
    let same = |event: &&serde_json::Value| vkyc_event_id(event) == Some("trn:vkyc:the-same");
    assert_eq!((events.iter().filter(same).count(), events.len()), (1, 51));
    assert_eq!(store::accepted(&home).await.unwrap().len(), 51);
}
