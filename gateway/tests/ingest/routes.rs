//! From a path to a route, by exact path and by token.

use sluice::config::RoutePath;
use sluice::model::{Answer, Diagnosis, Found, Proof, RouteSwitch, UnixMillis, Verified};
use sluice::storage::StorageError;

use super::client::post;
use super::double::{accepted, after};
use super::gateway::{Gateway, NOW, Plan, route, snapshot, token_route};

fn by_token() -> Plan {
    let expired = [("new-token", None), ("old-token", Some(UnixMillis(NOW.0 - 1)))];
    let routes = vec![
        route("hook", RoutePath::Exact("/hook".to_owned())),
        token_route("first", &[("token-one", None)]),
        token_route("second", &expired),
    ];
    Plan { routes, ..Plan::default() }
}

#[tokio::test]
async fn each_token_leads_to_its_own_route_and_is_a_verdict() {
    let plan = by_token();
    plan.adapter.does(|_| after(Found::Missing, accepted()));
    let gateway = Gateway::start(&plan);
    for (token, name) in [("token-one", "first"), ("new-token", "second")] {
        assert_eq!(gateway.post(&format!("/in/{token}?t=1"), "ok").await.status, 200);
        let request = gateway.storage.commits().pop().unwrap().request;
        assert_eq!(request.route.as_str(), name);
        assert_eq!(request.head.path, "/in/***");
        assert_eq!(request.verified, Verified::SharedUrl);
        assert_eq!(request.verdicts[0].proof, Proof::PathToken);
        assert_eq!(request.verdicts.len(), 2);
        let call = gateway.adapter.calls().pop().unwrap();
        assert_eq!(call.inbound.head.path, "/in/***");
    }
}

#[tokio::test]
async fn a_wrong_token_and_an_unknown_path_get_the_same_bytes() {
    let gateway = Gateway::start(&by_token());
    let unknown = gateway.post("/nowhere", "ok").await;
    assert_eq!(unknown.status, 404);
    let paths = [
        "/in/token-two",
        "/in/old-token",
        "/in/",
        "/in/token-one/x",
        "/in/token-on",
        "/IN/token-one",
    ];
    for path in paths {
        assert_eq!(gateway.post(path, "ok").await.raw, unknown.raw, "{path}");
    }
    // Without the token not even the methods of a route are told.
    for path in ["/in/token-two", "/nowhere"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(gateway.exchange(request).await.raw, unknown.raw);
    }
    assert!(gateway.adapter.calls().is_empty());
    assert!(gateway.storage.commits().is_empty());
}

#[tokio::test]
async fn an_operator_sees_wrong_tokens_but_never_a_token() {
    let gateway = Gateway::start(&by_token());
    gateway.post("/in/old-token", "ok").await;
    gateway.post("/in/guessed-token", "ok").await;
    gateway.post("/unknown-token", "ok").await;
    let refused = gateway.refused();
    let seen: Vec<_> = refused
        .iter()
        .map(|each| (each.diagnosis.as_str(), each.route.as_ref().map(|route| route.as_str())))
        .collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.contains(&("matches_expired_secret", Some("second"))), "{seen:?}");
    // Two routes have paths of that form: which was meant is not known.
    assert!(seen.contains(&("secret_mismatch", None)), "{seen:?}");
    let all = format!("{refused:?}");
    assert!(!all.contains("-token"), "{all}");
}

#[tokio::test]
async fn another_method_is_told_what_is_allowed() {
    let gateway = Gateway::start(&Plan::default());
    let mut client = gateway.client().await;
    client.bodiless = true;
    for method in ["GET", "HEAD", "post"] {
        client.send(format!("{method} /hook HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = client.expect(405).await;
        assert_eq!(answer.header("allow"), Some("POST"));
    }
    assert!(gateway.refused().iter().all(|each| each.diagnosis == Diagnosis::METHOD_NOT_ALLOWED));
    assert!(gateway.adapter.calls().is_empty());
}

#[tokio::test]
async fn a_paused_route_gives_its_paused_answer_and_calls_nobody() {
    let mut plan = Plan::default();
    plan.routes[0].paused = true;
    let gateway = Gateway::start(&plan);
    let answer = gateway.post("/hook", "ok").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")));

    plan.routes[0].paused_answer = Some(Answer::json(200, r#"{"ok":false}"#));
    gateway.swap.store(snapshot(2, &plan).into());
    let answer = gateway.post("/hook", "ok").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, br#"{"ok":false}"#.as_slice()));
    assert!(gateway.adapter.calls().is_empty());
    assert!(gateway.storage.commits().is_empty());
    assert!(gateway.refused().iter().all(|each| each.diagnosis == Diagnosis::PAUSED));
}

#[tokio::test]
async fn a_switch_is_stronger_than_the_configuration_until_it_is_taken_away() {
    let mut plan = Plan::default();
    let gateway = Gateway::start(&plan);
    let hook = plan.routes[0].name.clone();
    let switch = |paused| Some(RouteSwitch { paused, since: NOW });
    // The configuration, the switch, and what is answered.
    for (generation, paused, switch, status) in [
        (2, false, None, 200),
        (3, false, switch(true), 503),
        (4, true, switch(false), 200),
        (5, true, None, 503),
    ] {
        gateway.switches.set(&hook, switch).await.unwrap();
        plan.routes[0].paused = paused;
        gateway.swap.store(snapshot(generation, &plan).into());
        assert_eq!(gateway.post("/hook", "ok").await.status, status, "generation {generation}");
    }
    // What cannot be stored is not in force.
    gateway.storage.fail_switches(StorageError::Full);
    assert!(gateway.switches.set(&hook, switch(false)).await.is_err());
    assert_eq!(gateway.post("/hook", "ok").await.status, 503);
    assert_eq!(gateway.refused().len(), 3, "{:?}", gateway.refused());
}

#[tokio::test]
async fn nobody_is_let_in_before_the_switches_are_known() {
    let gateway = Gateway::start(&Plan::default());
    gateway.storage.fail_switches(StorageError::Full);
    let answer = gateway.post("/hook", "ok").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")));
    assert_eq!(gateway.refusal().diagnosis, Diagnosis::STORAGE_UNAVAILABLE);
    gateway.storage.mend_switches();
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
}

#[tokio::test]
async fn a_request_ends_under_the_snapshot_it_began_with() {
    let plan = Plan::default();
    let gateway = Gateway::start(&plan);
    gateway.storage.hold();
    let mut client = gateway.client().await;
    client.send(post("/hook", "ok")).await;
    gateway.storage.begun(1).await;
    let without = Plan { routes: Vec::new(), ..Plan::default() };
    gateway.swap.store(snapshot(2, &without).into());
    gateway.storage.release();
    client.expect(200).await;
    assert_eq!(gateway.storage.commits()[0].request.generation, 1);
    // The same connection, and the next snapshot.
    client.send(post("/hook", "ok")).await;
    client.expect(404).await;
}

#[tokio::test]
async fn a_configured_credential_header_has_no_twin_either() {
    let mut plan = Plan::default();
    let settings = serde_json::json!({ "header": "X-Own-Key" });
    plan.routes[0].settings = settings.as_object().unwrap().clone();
    let gateway = Gateway::start(&plan);
    for (name, status) in [("X_Own_Key", 400), ("X-Own_Key", 400), ("X_Other_Key", 200)] {
        let head = format!("POST /hook HTTP/1.1\r\nHost: a\r\n{name}: s\r\n");
        let answer = gateway.exchange(format!("{head}Content-Length: 0\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{name}");
    }
}
