//! Adapters' state in a running gateway: calls that race come one after the other, a kill loses and
//! repeats nothing, and every stored request comes to the same again from its record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use sluice::adapter::{Adapter, Cause, End, Sandbox, SandboxLimits};
use sluice::model::{Disposition, PluginName, RouteName};
use sluice::replay::rerun;
use sluice::storage::StoredRequest;
use sluice_tests::http::{Connection, Request};
use sluice_tests::sandbox::settings;
use sluice_tests::wait::wait_until;
use sluice_tests::{Gateway, Home, HomeBuilder, artifact, store};
use tokio::task::JoinSet;

use crate::random::Random;

const SECRET: &str = "b1a0f4e5c2d94f6f8a3e7d5c9b0a1f2e";

/// Names that are tallied: few, so that nearly every call races.
const NAMES: u64 = 8;

const BODY_MAX: usize = 1 << 20;

fn home() -> Home {
    let route = r#"
        [routes.keeper]
        path = "/hooks/keeper"
        plugin = "keeper"
        secrets = { shared = "keeper-secret" }
        deadline = "2m"
        deliver_to = ["events"]
    "#;
    let builder = HomeBuilder::new().guest("keeper").unwrap().secret("keeper-secret", SECRET);
    builder.toml(route).events_file().build().unwrap()
}

fn request(body: String) -> Request {
    Request::new("POST", "/hooks/keeper").header("x-webhook-secret", SECRET).body(body)
}

/// What each tally was answered, by name: the count that it made.
type Counts = BTreeMap<String, Vec<u64>>;

/// `clients` connections that tally, `each` times or until the gateway is gone.
async fn tally(
    gateway: &Gateway,
    clients: u64,
    each: u64,
    done: &Arc<AtomicUsize>,
) -> JoinSet<Counts> {
    let mut set = JoinSet::new();
    for client in 0..clients {
        let (address, done) = (gateway.ingest(), Arc::clone(done));
        set.spawn(async move {
            let mut counts = Counts::new();
            let Ok(mut connection) = Connection::open(address).await else { return counts };
            let mut left = each;
            while left > 0 {
                let name = format!("n{}", client.wrapping_add(left) % NAMES);
                let Ok(answer) = connection.send(request(format!("tally {name}"))).await else {
                    break;
                };
                // On a busy machine a call may run out of its time, and is sent again.
                if answer.status == 200 {
                    counts.entry(name).or_default().push(answer.text().parse().unwrap());
                    done.fetch_add(1, Ordering::Relaxed);
                    left -= 1;
                } else {
                    assert_eq!(answer.status, 503);
                }
            }
            counts
        });
    }
    set
}

async fn together(set: JoinSet<Counts>) -> Counts {
    let mut all = Counts::new();
    for counts in set.join_all().await {
        for (name, counts) in counts {
            all.entry(name).or_default().extend(counts);
        }
    }
    all.values_mut().for_each(|counts| counts.sort_unstable());
    all
}

async fn accepted(home: &Home) -> Vec<StoredRequest> {
    let mut stored = store::requests(home).await.unwrap();
    stored.retain(|stored| stored.record.disposition == Disposition::Accepted);
    stored
}

fn count_of(stored: &StoredRequest) -> (String, u64) {
    let body = String::from_utf8(stored.record.body.to_vec()).unwrap();
    let name = body.strip_prefix("tally ").unwrap().to_owned();
    let answer = String::from_utf8(stored.record.answer.body.to_vec()).unwrap();
    (name, answer.parse().unwrap())
}

/// Every stored request run again with the same component: to the byte what is stored.
fn assert_repeatable(stored: &[StoredRequest]) {
    let sandbox = Sandbox::new(SandboxLimits {
        deadline: Duration::from_secs(5),
        ..SandboxLimits::default()
    });
    let sandbox = sandbox.unwrap();
    let name = PluginName::new("keeper").unwrap();
    let plugin = sandbox.load(&name, &artifact("keeper").unwrap()).unwrap();
    let route = (RouteName::new("keeper").unwrap(), settings(json!({})));
    let adapter: Adapter = sandbox.configure(&plugin, &settings(json!({})), &[route]).unwrap();
    for request in stored {
        let again = rerun(&adapter, &request.record, Cause::Live, BODY_MAX).unwrap();
        let End::Outcome(outcome) = again.end else { panic!("{:?}", again.end) };
        assert_eq!(outcome.answer, request.record.answer);
        assert_eq!(outcome.facts, request.record.facts);
        assert_eq!(outcome.events.len(), request.events.len());
        for (made, stored) in outcome.events.iter().zip(&request.events) {
            assert_eq!((&made.data, &made.kind), (&stored.event.data, &stored.event.kind));
            assert_eq!(made.subject, stored.event.subject);
            assert_eq!(
                made.key.as_ref().map(|key| &key.value),
                stored.event.idempotency_key.as_ref()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_race_come_one_after_the_other_and_each_can_be_repeated() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    let counts = together(tally(&gateway, 64, 10, &Arc::default()).await).await;
    assert_eq!(counts.values().map(Vec::len).sum::<usize>(), 640);
    for (name, counts) in &counts {
        let expected: Vec<u64> = (1..=counts.len() as u64).collect();
        assert_eq!(*counts, expected, "{name}: no count is lost, and none is made twice");
    }
    let metrics = gateway.admin_get("/metrics").await.unwrap().text();
    let conflicts: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("sluice_call_conflicts_total{")).collect();
    println!("{conflicts:?}");
    let refused = metrics.lines().find(|line| line.contains("diagnosis=\"overloaded\""));
    assert_eq!(refused, None, "no conflict is the sender's to see");
    assert!(!conflicts.is_empty(), "they did race");
    assert!(gateway.terminate().await.unwrap().status.success());
    let stored = accepted(&home).await;
    assert_eq!(stored.len(), 640);
    assert_repeatable(&stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_change_and_repeat_none() {
    const ROUNDS: u64 = 12;
    let (home, mut random) = (home(), Random::new());
    let mut acknowledged = Counts::new();
    for _ in 0..ROUNDS {
        let gateway = home.start_with(&[]).await.unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let clients = tally(&gateway, 8, u64::MAX, &done).await;
        let enough = usize::try_from(random.below(60)).unwrap() + 1;
        let counted = || {
            let reached = done.load(Ordering::Relaxed) >= enough;
            async move { reached.then_some(()) }
        };
        wait_until("tallies", Duration::from_secs(30), counted).await.unwrap();
        gateway.kill9();
        for (name, counts) in together(clients).await {
            acknowledged.entry(name).or_default().extend(counts);
        }
    }
    let gateway = home.start_with(&[]).await.unwrap();
    let last = together(tally(&gateway, NAMES, 1, &Arc::default()).await).await;
    assert!(gateway.terminate().await.unwrap().status.success());
    let requests = accepted(&home).await;
    let mut stored = Counts::new();
    for (name, count) in requests.iter().map(count_of) {
        stored.entry(name).or_default().push(count);
    }
    for (name, mut counts) in stored {
        counts.sort_unstable();
        let expected: Vec<u64> = (1..=counts.len() as u64).collect();
        assert_eq!(counts, expected, "{name}: as many changes as requests, one each");
        let acknowledged = acknowledged.get(&name).into_iter().flatten();
        assert!(acknowledged.clone().all(|count| counts.contains(count)));
        assert_eq!(last.get(&name).and_then(|counts| counts.last()), counts.last());
    }
    assert_repeatable(&requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_another_version_is_a_problem_that_says_so() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    together(tally(&gateway, 1, 1, &Arc::default()).await).await;
    assert!(gateway.terminate().await.unwrap().status.success());
    let database = rusqlite::Connection::open(home.data().join("sluice.db")).unwrap();
    assert_eq!(database.execute("UPDATE namespaces SET state_version = 7", []).unwrap(), 1);
    drop(database);
    let config = home.config();
    let told = home.sluice(&["run", "--config", config.to_str().unwrap()]).unwrap();
    assert!(!told.status.success());
    let text = String::from_utf8_lossy(&told.stderr);
    let said =
        "the stored state of the adapter `keeper` has version 7, and `keeper` keeps version 1";
    assert!(text.contains(said), "{text}");
}
