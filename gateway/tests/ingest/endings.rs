//! What an adapter call comes to: what is stored, what is answered, what is shown.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluice::adapter::{CallEnd, End};
use sluice::config::{Delivery, RouteAuth};
use sluice::model::{Answer, DestinationName, Diagnosis, Disposition, Found, Verified};
use sluice::storage::{Committed, LaneId, Storage as _, StorageError};

use super::double::{accepted, after, answered, having_seen, key, matched, redacted, rejected};
use super::gateway::{Gateway, NOW, Plan, secret, token_route};

#[tokio::test]
async fn an_accepted_request_is_stored_whole_before_its_answer() {
    let mut plan = Plan::default();
    let to = |name: &str, kind: &str| Delivery {
        destination: DestinationName::new(name).unwrap(),
        types: vec![kind.to_owned()],
    };
    plan.routes[0].deliver_to = vec![to("a", "test.*"), to("b", "other.*"), to("a", "test.made")];
    plan.adapter.does(|_| {
        let headers = vec![("x-own".into(), "1".into())];
        matched(answered(Answer { status: 201, headers, body: "made".into() }))
    });
    let gateway = Gateway::start(&plan);
    let answer = gateway
        .exchange(
            b"POST /hook?q=1 HTTP/1.1\r\nHost: a\r\nX-Webhook-Secret: s3cret\r\nX-A: \xff\r\n\
              Content-Length: 2\r\n\r\nok",
        )
        .await;
    assert_eq!((answer.status, answer.body.as_slice()), (201, b"made".as_slice()));
    assert_eq!(answer.header("x-own"), Some("1"));
    assert_eq!(answer.header("content-length"), Some("4"));
    assert!(answer.header("date").is_some() && answer.header("server").is_none());

    let [commit] = gateway.storage.commits().try_into().unwrap();
    let request = &commit.request;
    assert_eq!(
        (request.disposition, request.verified),
        (Disposition::Accepted, Verified::SharedSecret)
    );
    assert_eq!((request.generation, request.received_at), (1, NOW));
    assert_eq!(request.head.query.as_deref(), Some("q=1"));
    assert_eq!(request.answer.status, 201);
    let masked = request.head.headers.iter().find(|(name, _)| name == "x-webhook-secret").unwrap();
    assert_eq!(masked.1, "***");
    let replaced = request.head.headers.iter().find(|(name, _)| name == "x-a").unwrap();
    assert_eq!(replaced.1, "\u{fffd}");

    let [event] = commit.events.as_slice() else { panic!("{:?}", commit.events) };
    let destinations: Vec<_> = event.destinations.iter().map(DestinationName::as_str).collect();
    assert_eq!(destinations, ["a"]);
    let made = &event.event;
    assert_eq!((made.adapter.as_str(), made.kind.as_str()), ("scripted/1.2.3", "test.made"));
    assert_eq!(made.data_schema.as_deref(), Some("urn:sluice:schema:scripted:1.2.3:test.made"));
    assert_eq!((made.request, made.verified), (request.id, Verified::SharedSecret));
    assert_eq!(made.idempotency_key.as_deref(), Some("k"));
    assert!(gateway.refused().is_empty());
}

#[tokio::test]
async fn an_outcome_that_was_never_verified_is_a_401() {
    for found in [Found::Mismatched, Found::Missing, Found::Repeated, Found::NotConfigured] {
        let gateway = Gateway::start(&Plan::default());
        gateway.adapter.does(move |_| after(found, accepted()));
        let answer = gateway.post("/hook", "ok").await;
        assert_eq!((answer.status, answer.body.len()), (401, 0), "{found:?}");
        assert!(gateway.storage.commits().is_empty());
        let refused = gateway.refusal();
        assert_eq!(refused.diagnosis, Diagnosis::UNVERIFIED);
        assert_eq!((refused.status, refused.body.as_ref()), (401, b"ok".as_slice()));
        assert_eq!(refused.verdicts.len(), 1);
        assert!(refused.detail.contains("verdict on `shared`"), "{}", refused.detail);
    }
}

#[tokio::test]
async fn a_second_secret_that_the_adapter_does_not_ask_for_is_a_401_too() {
    let mut plan = Plan::default();
    let mut route = token_route("both", &[("a-token", None)]);
    route.secrets.insert("shared".to_owned(), secret("shared", &[("s3cret", None)]));
    plan.routes = vec![route];
    let gateway = Gateway::start(&plan);
    gateway.adapter.does(|_| after(Found::Missing, accepted()));
    assert_eq!(gateway.post("/in/a-token", "ok").await.status, 401);
    assert!(gateway.storage.commits().is_empty());
    let refused = gateway.refusal();
    assert_eq!(refused.diagnosis, Diagnosis::UNVERIFIED);
    assert!(refused.detail.contains("verdict on `shared`"), "{}", refused.detail);
    // Nor is it kept for a replay because the call trapped.
    gateway.adapter.does(|_| after(Found::Missing, End::Trap("spun".to_owned())));
    assert_eq!(gateway.post("/in/a-token", "ok").await.status, 503);
    assert!(gateway.storage.commits().is_empty());
    gateway.adapter.does(|_| matched(accepted()));
    assert_eq!(gateway.post("/in/a-token", "ok").await.status, 200);
}

#[tokio::test]
async fn a_route_without_authentication_says_so_in_its_events() {
    let mut plan = Plan::default();
    plan.routes[0].auth = RouteAuth::None;
    let gateway = Gateway::start(&plan);
    gateway.adapter.does(|_| after(Found::NotConfigured, accepted()));
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    assert_eq!(gateway.storage.commits()[0].request.verified, Verified::None);
    // But what trapped there is kept for nobody.
    gateway.adapter.does(|_| after(Found::NotConfigured, End::Trap("spun".to_owned())));
    assert_eq!(gateway.post("/hook", "ok").await.status, 503);
    assert_eq!(gateway.storage.commits().len(), 1);
}

#[tokio::test]
async fn a_rejection_is_a_status_to_the_sender_and_a_diagnosis_to_the_operator() {
    let gateway = Gateway::start(&Plan::default());
    let cases = [
        (Found::Mismatched, Diagnosis::SECRET_MISMATCH, "secret_mismatch"),
        (Found::MatchedExpired, Diagnosis::SECRET_MISMATCH, "matches_expired_secret"),
        (Found::MatchedExpired, Diagnosis::HEADER_MISSING, "header_missing"),
    ];
    for (found, said, shown) in cases {
        gateway.adapter.does(move |_| after(found, rejected(401, said.clone())));
        let answer = gateway.post("/hook", "ok").await;
        assert_eq!((answer.status, answer.body.len()), (401, 0));
        assert!(gateway.refused().iter().any(|each| each.diagnosis.as_str() == shown), "{shown}");
    }
    // Whatever slips through, a refusal never reads as a success.
    gateway.adapter.does(|_| matched(rejected(200, Diagnosis::UNVERIFIED)));
    assert_eq!(gateway.post("/hook", "ok").await.status, 400);
    assert!(gateway.storage.commits().is_empty());
}

#[tokio::test]
async fn why_nothing_of_a_quarantined_request_is_kept_stands_with_it() {
    for (end, why) in [
        (End::Trap("spun".to_owned()), "spun; nothing of its body and query is kept"),
        (
            End::Deadline,
            "plugin `scripted` 1.2.3, call `receive`: it ran out of time; nothing of its body and \
             query is kept",
        ),
    ] {
        let gateway = Gateway::start(&Plan::default());
        gateway
            .adapter
            .does(move |call| CallEnd { withheld: true, ..redacted(call, matched(end.clone())) });
        assert_eq!(gateway.post("/hook", "ok").await.status, 503);
        let [commit] = gateway.storage.commits().try_into().unwrap();
        assert_eq!(commit.request.disposition, Disposition::Quarantined);
        assert_eq!(&*commit.request.body, b"masked");
        assert!(commit.request.note.unwrap().starts_with(why));
    }
}

#[tokio::test]
async fn a_trap_or_deadline_is_quarantined_once_verified_and_forgotten_before() {
    for (end, diagnosis) in
        [(End::Trap("spun".to_owned()), Diagnosis::TRAP), (End::Deadline, Diagnosis::DEADLINE)]
    {
        let gateway = Gateway::start(&Plan::default());
        let unverified = end.clone();
        gateway.adapter.does(move |_| after(Found::Mismatched, unverified.clone()));
        let answer = gateway.post("/hook", "ok").await;
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
        assert!(gateway.storage.commits().is_empty());
        assert_eq!(gateway.refusal().diagnosis, diagnosis);

        gateway.adapter.does(move |_| matched(end.clone()));
        let again = gateway.post("/hook", "ok").await;
        assert_eq!(again.raw, answer.raw);
        let [commit] = gateway.storage.commits().try_into().unwrap();
        assert_eq!(commit.request.disposition, Disposition::Quarantined);
        assert_eq!(commit.request.answer.status, 503);
        assert!(commit.request.note.is_some() && commit.events.is_empty());
        assert_eq!(gateway.refused().len(), 1);
    }
}

#[tokio::test]
async fn of_a_redacted_request_only_the_hash_is_of_what_was_received() {
    let sha256 = |text: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        <[u8; 32]>::try_from(digest.as_ref()).unwrap()
    };
    let mut plan = Plan::default();
    plan.routes[0].deadline = Duration::from_secs(1);
    let gateway = Gateway::start(&plan);
    gateway.adapter.does(|call| redacted(call, matched(End::Trap("spun".to_owned()))));
    assert_eq!(gateway.post("/hook", "received").await.status, 503);
    gateway.adapter.does(|call| redacted(call, having_seen(matched(accepted()))));
    gateway.storage.replies([Ok(Committed::Conflict)]);
    assert_eq!(gateway.post("/hook", "received").await.status, 200);
    let commits = gateway.storage.commits();
    let dispositions: Vec<_> = commits.iter().map(|each| each.request.disposition).collect();
    assert_eq!(dispositions, [Disposition::Quarantined, Disposition::Accepted]);
    for commit in commits {
        assert_eq!(&*commit.request.body, b"masked");
        assert_eq!(commit.request.body_sha256, sha256("received"), "the same: it supersedes");
        assert_eq!(commit.request.kept_sha256, Some(sha256("masked")));
    }
    // A conflict runs the call on what was received.
    assert!(gateway.adapter.calls().iter().all(|call| &*call.inbound.body == b"received"));

    gateway.adapter.does(|call| redacted(call, matched(rejected(422, Diagnosis::UNVERIFIED))));
    assert_eq!(gateway.post("/hook", "received").await.status, 422);
    gateway.adapter.does(|call| redacted(call, after(Found::Mismatched, accepted())));
    assert_eq!(gateway.post("/hook", "received").await.status, 401);
    gateway.adapter.does(|call| redacted(call, having_seen(matched(accepted()))));
    let held = gateway.storage.lane(&plan.routes[0].adapter).await.unwrap();
    gateway.storage.replies(vec![Ok(Committed::Conflict); 3]);
    assert_eq!(gateway.post("/hook", "received").await.status, 503);
    drop(held);
    let refused = gateway.refused();
    assert_eq!(refused.len(), 3);
    for each in refused.iter().filter(|each| each.redacted) {
        assert_eq!(each.body.as_ref(), b"masked");
    }
    assert!(refused.iter().all(|each| each.redacted), "{refused:?}");
}

#[tokio::test]
async fn a_duplicate_gets_the_answer_that_storage_names() {
    let gateway = Gateway::start(&Plan::default());
    let first = Answer::json(200, r#"{"first":true}"#);
    gateway.storage.replies([Ok(Committed::Duplicate { answer: first })]);
    let answer = gateway.post("/hook", "ok").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, br#"{"first":true}"#.as_slice()));
    assert!(gateway.refused().is_empty());
}

#[tokio::test]
async fn a_conflict_runs_the_call_again_with_the_same_id_and_time() {
    let gateway = Gateway::start(&Plan::default());
    gateway.adapter.does(|_| having_seen(matched(accepted())));
    gateway.storage.replies([Ok(Committed::Conflict), Ok(Committed::Conflict)]);
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    let calls = gateway.adapter.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call.inbound.id == calls[0].inbound.id));
    assert!(calls.iter().all(|call| call.inbound.received_at == NOW));
    assert_eq!(gateway.storage.commits().len(), 1);
}

#[tokio::test]
async fn after_three_conflicts_a_call_runs_in_its_adapters_lane_until_it_is_stored() {
    let gateway = Gateway::start(&Plan::default());
    gateway.adapter.does(|_| having_seen(matched(accepted())));
    gateway.storage.replies(vec![Ok(Committed::Conflict); 3]);
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    assert_eq!(gateway.adapter.calls().len(), 4);
    let lanes = |gateway: &Gateway| -> Vec<Option<LaneId>> {
        gateway.storage.commits().iter().map(|commit| commit.lane).collect()
    };
    assert_eq!(lanes(&gateway), [Some(LaneId(7))]);
    // What it read of another adapter's routes may change even there.
    gateway.storage.replies(vec![Ok(Committed::Conflict); 5]);
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    assert_eq!(gateway.adapter.calls().len(), 10);
    // Each lane was left again.
    gateway.storage.replies(vec![Ok(Committed::Conflict); 3]);
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    gateway.storage.replies(vec![Ok(Committed::Conflict); 2]);
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    let lane = Some(LaneId(7));
    assert_eq!(lanes(&gateway), [lane, lane, lane, None]);
}

#[tokio::test]
async fn one_conflict_is_enough_where_others_are_in_the_lane() {
    let gateway = Gateway::start(&Plan::default());
    gateway.adapter.does(|_| having_seen(matched(accepted())));
    gateway.storage.replies([Ok(Committed::Contended)]);
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    assert_eq!(gateway.adapter.calls().len(), 2);
    let commits = gateway.storage.commits();
    assert_eq!(commits.iter().map(|commit| commit.lane).collect::<Vec<_>>(), [Some(LaneId(7))]);
}

#[tokio::test]
async fn a_lane_that_is_not_free_in_time_is_answered_503() {
    let mut plan = Plan::default();
    plan.routes[0].deadline = Duration::from_millis(200);
    let gateway = Gateway::start(&plan);
    gateway.adapter.does(|_| having_seen(matched(accepted())));
    let held = gateway.storage.lane(&plan.routes[0].adapter).await.unwrap();
    gateway.storage.replies(vec![Ok(Committed::Conflict); 3]);
    let answer = gateway.post("/hook", "ok").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(gateway.refusal().body.as_ref(), b"ok");
    assert!(gateway.storage.commits().is_empty());
    drop(held);
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
}

#[tokio::test]
async fn a_call_reads_keys_of_the_store() {
    let gateway = Gateway::start(&Plan::default());
    gateway.adapter.does(|call| {
        assert_eq!(call.seen.seen(&key("known")), Some(true));
        assert_eq!(call.seen.seen(&key("new")), Some(false));
        assert_eq!(call.seen.seen(&key("unreadable")), None);
        matched(accepted())
    });
    assert_eq!(gateway.post("/hook", "ok").await.status, 200);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_storage_did_not_take() {
    let gateway = Gateway::start(&Plan::default());
    let detail = || "no such luck".to_owned();
    let errors = [
        StorageError::Full,
        StorageError::Busy,
        StorageError::Fatal { detail: detail() },
        StorageError::Closed,
        StorageError::Failed { detail: detail() },
    ];
    for error in errors {
        gateway.storage.replies([Err(error.clone())]);
        let answer = gateway.post("/hook", "ok").await;
        assert_eq!((answer.status, answer.body.len()), (503, 0), "{error}");
        assert!(answer.header("retry-after").is_some());
    }
    assert!(gateway.storage.commits().is_empty());
    let refused = gateway.refused();
    assert_eq!(refused.len(), 2, "of one second");
    assert!(refused.iter().all(|each| each.diagnosis == Diagnosis::STORAGE_UNAVAILABLE));
}

#[tokio::test]
async fn a_panic_in_a_call_ends_its_connection_and_no_other() {
    let gateway = Gateway::start(&Plan::default());
    let calls = AtomicUsize::new(0);
    gateway.adapter.does(move |_| {
        assert_ne!(calls.fetch_add(1, Ordering::SeqCst), 0, "the first call panics");
        matched(accepted())
    });
    let mut other = gateway.client().await;
    let mut unlucky = gateway.client().await;
    unlucky.send(super::client::post("/hook", "ok")).await;
    unlucky.expect_end().await;
    other.send(super::client::post("/hook", "ok")).await;
    other.expect(200).await;
    // Its permits came back with it.
    for _ in 0..8 {
        assert_eq!(gateway.post("/hook", "ok").await.status, 200);
    }
}
