//! What a mismatch really is, and what becomes of a request when its secret is corrected.

use std::num::NonZeroU32;
use std::time::Duration;

use sluice::adapter::{CallEnd, ReceiveCall};
use sluice::ingest::Again;
use sluice::model::{Diagnosis, Found, KeyedDigest, Proof};

use super::double::{accepted, after, matched, redacted, rejected, verdict};
use super::gateway::{Gateway, NOW, Plan, route, secret, snapshot, token_route};
use sluice::config::{Rate, RoutePath};

const DAY: Duration = Duration::from_secs(86_400);

/// An adapter that has the header verified, as real ones do.
fn by_header(call: &ReceiveCall) -> CallEnd {
    let verdict = call.secrets.verify_header("shared", &call.presented, NOW).unwrap();
    let found = verdict.found;
    let end = if found.is_match() { accepted() } else { rejected(401, Diagnosis::SECRET_MISMATCH) };
    CallEnd { verdicts: vec![verdict], ..after(found, end) }
}

/// A gateway with `/hook` and `/other`, each with a secret of its own.
fn plan() -> Plan {
    let mut other = route("other", RoutePath::Exact("/other".to_owned()));
    other.secrets.insert("shared".to_owned(), secret("other", &[("0ther", None)]));
    let mut plan = Plan::default();
    plan.routes.push(other);
    plan.adapter.does(by_header);
    plan
}

fn post(path: &str, header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nX-Webhook-Secret: {header}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_corrected_secret_makes_a_refused_request_an_ordinary_one_exactly_once() {
    let mut plan = plan();
    let gateway = Gateway::start(&plan);
    assert_eq!(gateway.exchange(post("/hook", "the-right-one", "body")).await.status, 401);
    let refused = gateway.refusal();
    assert!(!format!("{refused:?}").contains("the-right-one"), "only its digest is kept");
    let verify = || gateway.reverifier.verify(refused.id);
    let Again::Refused { status: 401, diagnosis, .. } = verify().await.unwrap() else {
        panic!("the secret is still the wrong one")
    };
    assert_eq!(diagnosis, Diagnosis::SECRET_MISMATCH);
    assert!(gateway.storage.commits().is_empty());

    let corrected = secret("shared", &[("the-right-one", None)]);
    plan.routes[0].secrets.insert("shared".to_owned(), corrected);
    // Neither keeps an operator from it.
    plan.routes[0].paused = true;
    gateway.swap.store(snapshot(2, &plan).into());
    let (first, second) = tokio::join!(verify(), verify());
    let stored = Again::Stored { disposition: "accepted", status: 200 };
    assert_eq!(first.unwrap(), stored);
    assert_eq!(second.unwrap(), Again::Impossible("it is being verified at this moment".into()));
    assert_eq!(verify().await.unwrap(), Again::Impossible("it is stored already".into()));
    let commits = gateway.storage.commits();
    assert_eq!(commits.len(), 1);
    let request = &commits[0].request;
    assert_eq!((request.id, request.received_at, request.generation), (refused.id, NOW, 2));
    assert_eq!(&request.body[..], b"body");
    assert_eq!(commits[0].events.len(), 1);
    assert!(gateway.refused().is_empty(), "it is refused no longer");
}

/// More than the ring holds.
const FLOOD: usize = 1_100;

#[tokio::test]
async fn floods_leave_what_an_operator_looks_for() {
    let mut plan = plan();
    plan.routes.push(token_route("by-token", &[("token-one", None)]));
    let mut paused = route("paused", RoutePath::Exact("/paused".to_owned()));
    paused.paused = true;
    let mut limited = route("limited", RoutePath::Exact("/limited".to_owned()));
    let rate = Rate { count: NonZeroU32::MIN, per: DAY, burst: NonZeroU32::MIN };
    limited.limits.per_client = Some(rate);
    let mut never = route("never", RoutePath::Exact("/never".to_owned()));
    never.deadline = Duration::ZERO;
    plan.routes.extend([paused, limited, never]);
    let gateway = Gateway::start(&plan);
    assert_eq!(gateway.exchange(post("/hook", "the-right-one", "body")).await.status, 401);
    let refused = gateway.refusal();
    for (request, status, diagnosis) in [
        ("POST /hook HTTP/1.1\r\n\r\n".to_owned(), 400, Diagnosis::MALFORMED_REQUEST),
        ("GET /hook HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405, Diagnosis::METHOD_NOT_ALLOWED),
        (post("/in/x", "s3cret", "body"), 404, Diagnosis::SECRET_MISMATCH),
        (post("/paused", "s3cret", "body"), 503, Diagnosis::PAUSED),
        (post("/limited", "s3cret", "body"), 429, Diagnosis::RATE_LIMITED),
        (post("/never", "s3cret", "body"), 503, Diagnosis::OVERLOADED),
        // Who sends wrong signatures to one route has what is kept of that route.
        (post("/other", "wrong", "body"), 401, Diagnosis::SECRET_MISMATCH),
    ] {
        let mut client = gateway.client().await;
        for _ in 0..FLOOD {
            client.send(&request).await;
            let answer = client.answer().await.expect("an answer");
            assert!(answer.status == status || answer.status == 200, "{answer:?}");
            if answer.header("connection") == Some("close") {
                client = gateway.client().await;
            }
        }
        let kept = gateway.refused();
        let kept = kept.iter().filter(|each| each.diagnosis == diagnosis).count();
        // The clock of this test stands still. Wrong tokens are called the same as wrong secrets.
        let (least, most) = match diagnosis.as_str() {
            "secret_mismatch" if status == 401 => (700, 752),
            // All of them, in the part of the ring that others leave.
            "paused" => (200, 250),
            _ => (2, 3),
        };
        assert!((least..=most).contains(&kept), "{diagnosis}: {kept}");
    }
    plan.routes[0]
        .secrets
        .insert("shared".to_owned(), secret("shared", &[("the-right-one", None)]));
    gateway.swap.store(snapshot(2, &plan).into());
    let stored = Again::Stored { disposition: "accepted", status: 200 };
    assert_eq!(gateway.reverifier.verify(refused.id).await.unwrap(), stored);
}

#[tokio::test]
async fn what_is_not_whole_is_not_verified_again_and_says_why() {
    let mut plan = plan();
    plan.routes.push(token_route("by-token", &[("token-one", None)]));
    plan.routes[0].body_max = 1 << 20;
    let gateway = Gateway::start(&plan);
    let why = async || {
        let last = gateway.refusal();
        let Again::Impossible(why) = gateway.reverifier.verify(last.id).await.unwrap() else {
            panic!("{last:?} was verified")
        };
        gateway.ring.remove(last.id);
        why
    };
    gateway.exchange(post("/hook", "wrong", &"x".repeat(70_000))).await;
    assert_eq!(why().await, "only 65536 of the 70000 bytes of its body were kept");
    gateway.exchange(post("/in/token-two", "s3cret", "body")).await;
    assert_eq!(why().await, "it was refused before its body was read");
    gateway.exchange("GET /hook HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(why().await, "it was refused before its body was read");
    gateway.exchange("POST /hook HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert_eq!(why().await, "it came to no route, so nobody knows what it presented");
    gateway.adapter.does(|call| redacted(call, by_header(call)));
    gateway.exchange(post("/hook", "wrong", "body")).await;
    let masked = "the adapter had parts of it masked, and what is signed is not there";
    assert_eq!(why().await, masked);
    gateway.adapter.does(by_header);
    gateway.exchange(post("/hook", "wrong", "body")).await;
    plan.routes.remove(0);
    gateway.swap.store(snapshot(2, &plan).into());
    assert_eq!(why().await, "the route `hook` is not configured any more");
    let gone = sluice::model::RequestId::new(NOW);
    assert_eq!(gateway.reverifier.verify(gone).await.unwrap(), Again::Unknown);
}

#[tokio::test]
async fn the_secret_of_another_route_is_called_that() {
    let gateway = Gateway::start(&plan());
    for (header, diagnosis) in
        [("0ther", Diagnosis::MATCHES_OTHER_ROUTE), ("neither", Diagnosis::SECRET_MISMATCH)]
    {
        let answer = gateway.exchange(post("/hook", header, "body")).await;
        assert_eq!((answer.status, answer.body.len()), (401, 0), "the sender is told no more");
        let refused = gateway.refusal();
        assert_eq!(refused.diagnosis, diagnosis);
        if diagnosis == Diagnosis::MATCHES_OTHER_ROUTE {
            assert_eq!(refused.detail, "what it presents is of the route `other`");
        }
        gateway.ring.remove(refused.id);
    }
}

/// A verdict on the signature that has this digest.
fn signed(found: Found, digest: u8) -> CallEnd {
    let mut record = verdict(Proof::Mac, found);
    record.digest = Some(KeyedDigest([digest; 32]));
    let end =
        if found.is_match() { accepted() } else { rejected(401, Diagnosis::SIGNATURE_MISMATCH) };
    CallEnd { verdicts: vec![record], ..matched(end) }
}

#[tokio::test]
async fn a_request_signed_with_another_routes_key_is_called_that() {
    let plan = plan();
    // The key of `other`, wherever it arrives.
    plan.adapter.does(|call| {
        let is_other = call.route.as_str() == "other";
        signed(if is_other { Found::Matched { version: 0 } } else { Found::Mismatched }, 1)
    });
    let gateway = Gateway::start(&plan);
    assert_eq!(gateway.exchange(post("/hook", "-", "body")).await.status, 401);
    let refused = gateway.refusal();
    assert_eq!(refused.diagnosis, Diagnosis::MATCHES_OTHER_ROUTE);
    assert_eq!(refused.detail, "what it presents is of the route `other`");
    assert!(gateway.storage.commits().is_empty(), "nothing comes of a trial");
    // A flood of them is not tried again and again: the clock of this test stands still.
    let calls = gateway.adapter.calls().len();
    for _ in 0..20 {
        gateway.exchange(post("/hook", "-", "body")).await;
    }
    assert_eq!(gateway.adapter.calls().len(), calls + 20 + 4, "five trials in one second");
}

#[tokio::test]
async fn a_signature_that_came_with_another_body_is_called_that() {
    let plan = Plan::default();
    plan.adapter.does(|call| match &call.inbound.body[..] {
        b"signed" => signed(Found::Matched { version: 0 }, 1),
        b"forged" => signed(Found::Mismatched, 1),
        _ => signed(Found::Mismatched, 2),
    });
    let gateway = Gateway::start(&plan);
    assert_eq!(gateway.post("/hook", "signed").await.status, 200);
    for (body, diagnosis) in [
        ("forged", Diagnosis::SIGNATURE_SEEN_WITH_OTHER_BODY),
        ("garbled", Diagnosis::SIGNATURE_MISMATCH),
    ] {
        assert_eq!(gateway.post("/hook", body).await.status, 401);
        let refused = gateway.refusal();
        assert_eq!(refused.diagnosis, diagnosis, "{body}");
        gateway.ring.remove(refused.id);
    }
}
