//! One adapter consumes another's events: exactly once, whatever happens in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sluice::adapter::{Adapter, Cause, End, Sandbox, SandboxLimits};
use sluice::model::{PluginName, RequestId};
use sluice::replay::rerun_consumed;
use sluice::storage::StoredRequest;
use sluice_tests::http::{Connection, Request};
use sluice_tests::sandbox::settings;
use sluice_tests::wait::wait_until;
use sluice_tests::{Home, HomeBuilder, artifact, store};
use tokio::task::JoinSet;

use crate::random::Random;

const SECRET: &str = "b1a0f4e5c2d94f6f8a3e7d5c9b0a1f2e";

/// How long recovery and what is owed may take.
const ALL_DONE: Duration = Duration::from_secs(90);

/// Every tally of `first` is tallied by `second` under the same name.
fn home(more: &str) -> Home {
    let tables = r#"
        [routes.first]
        path = "/hooks/keeper"
        adapter = "first"
        secrets = { shared = "keeper-secret" }
        deliver_to = ["tallies"]

        [adapters.first]
        plugin = "keeper"

        [adapters.second]
        plugin = "keeper"
        deliver_to = ["events"]

        [destinations.tallies]
        type = "adapter"
        adapter = "second"
        concurrency = 4
    "#;
    let builder = HomeBuilder::new().guest("keeper").unwrap().secret("keeper-secret", SECRET);
    builder.toml(&format!("{tables}\n{more}")).events_file().build().unwrap()
}

fn tally(name: &str) -> Request {
    Request::new("POST", "/hooks/keeper")
        .header("x-webhook-secret", SECRET)
        .body(format!("tally {name}"))
}

/// The events that arrived at the file, each once.
fn delivered(home: &Home) -> Vec<Value> {
    let mut events = home.events().unwrap();
    events.sort_by_key(|event| event["id"].to_string());
    events.dedup_by_key(|event| event["id"].to_string());
    events
}

/// The requests of `second`: one for each event that it consumed.
async fn consumed(home: &Home) -> (Vec<StoredRequest>, usize) {
    let (consumed, received): (Vec<_>, Vec<_>) = store::requests(home)
        .await
        .unwrap()
        .into_iter()
        .partition(|stored| stored.record.consumed.is_some());
    (consumed, received.len())
}

/// Run again from its record with the same component, each comes to the same.
fn assert_repeatable(stored: &[StoredRequest]) {
    let limits = SandboxLimits { deadline: Duration::from_secs(5), ..SandboxLimits::default() };
    let sandbox = Sandbox::new(limits).unwrap();
    let name = PluginName::new("keeper").unwrap();
    let plugin = sandbox.load(&name, &artifact("keeper").unwrap()).unwrap();
    let adapter: Adapter = sandbox.configure(&plugin, &settings(json!({})), &[]).unwrap();
    for request in stored {
        let again = rerun_consumed(&adapter, &request.record, Cause::Live).unwrap();
        let End::Outcome(outcome) = again.end else { panic!("{:?}", again.end) };
        assert_eq!(
            (&outcome.answer, &outcome.facts),
            (&request.record.answer, &request.record.facts)
        );
        let data = |stored: &StoredRequest| stored.events[0].event.data.clone();
        assert_eq!(outcome.events[0].data, data(request));
    }
}

/// No count is lost and none is made twice.
fn assert_counted(mut counts: Vec<u64>) {
    counts.sort_unstable();
    let expected: Vec<u64> = (1..=counts.len() as u64).collect();
    assert_eq!(counts, expected);
}

fn counts(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"]["count"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_consumes_each_event_of_another_once() {
    const TALLIES: usize = 40;
    let home = home("");
    let gateway = home.start_with(&[]).await.unwrap();
    let mut connection = Connection::open(gateway.ingest()).await.unwrap();
    for _ in 0..TALLIES {
        assert_eq!(connection.send(tally("apples")).await.unwrap().status, 200);
    }
    gateway.until_delivered(ALL_DONE).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let events = delivered(&home);
    assert_counted(counts(&events));
    assert_eq!(events.len(), TALLIES);
    assert!(events.iter().all(|event| event["source"] == "/adapters/second"));
    let (consumed, received) = consumed(&home).await;
    assert_eq!((consumed.len(), received), (TALLIES, TALLIES));
    assert_repeatable(&consumed);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_event_and_have_none_consumed_twice() {
    const ROUNDS: u64 = 12;
    let (home, mut random) = (home(""), Random::new());
    for _ in 0..ROUNDS {
        let gateway = home.start_with(&[]).await.unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (address, done) = (gateway.ingest(), Arc::clone(&done));
            clients.spawn(async move {
                let Ok(mut connection) = Connection::open(address).await else { return };
                while connection.send(tally("apples")).await.is_ok() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let enough = usize::try_from(random.below(40)).unwrap() + 1;
        let counted = || {
            let reached = done.load(Ordering::Relaxed) >= enough;
            async move { reached.then_some(()) }
        };
        wait_until("tallies", Duration::from_secs(30), counted).await.unwrap();
        gateway.kill9();
        clients.join_all().await;
    }
    let gateway = home.start_with(&[]).await.unwrap();
    gateway.until_delivered(ALL_DONE).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let (consumed, received) = consumed(&home).await;
    println!("{received} received, {} consumed, over {ROUNDS} kills", consumed.len());
    assert_eq!(consumed.len(), received, "each event once");
    let mut events: Vec<_> =
        consumed.iter().map(|stored| stored.record.consumed.unwrap().event).collect();
    events.sort_unstable();
    events.dedup();
    assert_eq!(events.len(), received);
    let delivered = delivered(&home);
    assert_counted(counts(&delivered));
    assert_eq!(delivered.len(), received, "what was made of them went on");
    assert_repeatable(&consumed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_a_dead_letter_and_a_trap_is_tried_again() {
    let home = home("retry = { delays = [\"10ms\"], jitter = 0.0 }");
    let gateway = home.start_with(&[]).await.unwrap();
    let mut connection = Connection::open(gateway.ingest()).await.unwrap();
    for name in ["refused", "trapped", "apples"] {
        assert_eq!(connection.send(tally(name)).await.unwrap().status, 200);
    }
    gateway.until_delivered(ALL_DONE).await.unwrap();
    let list = gateway.admin_get("/api/v1/requests?route=first").await.unwrap().json().unwrap();
    let mut ends = Vec::new();
    for row in list["requests"].as_array().unwrap() {
        let id: RequestId = row["id"].as_str().unwrap().parse().unwrap();
        let whole = gateway.admin_get(&format!("/api/v1/requests/{id}")).await.unwrap();
        ends.push(whole.json().unwrap()["events"][0]["deliveries"][0].clone());
    }
    let [apples, trapped, refused] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!(apples["state"], "delivered");
    assert_eq!(
        (&refused["state"], &refused["reason"]),
        (&json!("dead_letter"), &json!("rejected"))
    );
    let told = &refused["attempts"][0];
    assert_eq!((&told["kind"], &told["status"]), (&json!("rejected"), &json!(422)));
    assert!(told["detail"].as_str().unwrap().contains("unwanted_name: that name"), "{told}");
    assert_eq!(refused["attempts"].as_array().unwrap().len(), 1, "not tried again");
    let attempts = trapped["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &trapped["reason"]), (2, &json!("retries_exhausted")));
    assert!(attempts.iter().all(|attempt| attempt["kind"] == "trap"), "{trapped}");
    assert!(gateway.terminate().await.unwrap().status.success());
    let events = delivered(&home);
    assert_eq!(counts(&events), [1], "neither left anything");
    assert_eq!(consumed(&home).await.0.len(), 1);
}

/// Six adapters in a row: the fifth is the last that consumes.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_through_four_adapters_and_no_further() {
    let mut chain = String::new();
    for n in 3..=6 {
        let next = if n == 6 { "events".to_owned() } else { format!("to-{}", n + 1) };
        chain.push_str(&format!(
            "[adapters.a{n}]\nplugin = \"keeper\"\ndeliver_to = [\"{next}\"]\n\
             [destinations.to-{n}]\ntype = \"adapter\"\nadapter = \"a{n}\"\n"
        ));
    }
    let home = home(&chain);
    let config = std::fs::read_to_string(home.config()).unwrap();
    let longer = config.replacen("deliver_to = [\"events\"]", "deliver_to = [\"to-3\"]", 1);
    std::fs::write(home.config(), longer).unwrap();
    let gateway = home.start_with(&[]).await.unwrap();
    let mut connection = Connection::open(gateway.ingest()).await.unwrap();
    assert_eq!(connection.send(tally("apples")).await.unwrap().status, 200);
    gateway.until_delivered(ALL_DONE).await.unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    let (consumed, _) = consumed(&home).await;
    let mut by: Vec<_> = consumed.iter().map(|stored| stored.record.adapter.as_str()).collect();
    by.sort_unstable();
    assert_eq!(by, ["a3", "a4", "a5", "second"]);
    let last = consumed.iter().find(|stored| stored.record.adapter.as_str() == "a5").unwrap();
    let delivery = &last.events[0].deliveries[0];
    assert_eq!(delivery.reason.as_deref(), Some("too_many_hops"));
    assert_eq!(delivered(&home).len(), 0);
}

#[test]
fn adapters_in_a_circle_are_a_problem_with_names() {
    let circle = r#"
        [destinations.back]
        type = "adapter"
        adapter = "first"
    "#;
    let home = home(circle);
    let config = std::fs::read_to_string(home.config()).unwrap();
    let round = config.replacen("deliver_to = [\"events\"]", "deliver_to = [\"back\"]", 1);
    std::fs::write(home.config(), round).unwrap();
    let checked = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
    assert_eq!(checked.status.code(), Some(78));
    let told =
        String::from_utf8(checked.stderr).unwrap() + &String::from_utf8(checked.stdout).unwrap();
    assert!(told.contains("events would go round: `first` to `second` to `first`"), "{told}");
}
