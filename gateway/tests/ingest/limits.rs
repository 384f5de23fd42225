//! Who comes too often, or from elsewhere: in which order that is found out, and who pays for it.

use std::num::NonZeroU32;
use std::time::Duration;

use sluice::config::{AllowFrom, LimitsConfig, Rate};
use sluice::model::{Diagnosis, Found};

use super::client::{Answer, Client, post};
use super::double::{accepted, after, matched, rejected};
use super::gateway::{Gateway, Plan, route, snapshot, token_route};

/// So many at once, and no more while a test lasts.
fn at_once(burst: u32) -> Option<Rate> {
    let burst = NonZeroU32::new(burst).unwrap();
    Some(Rate { count: NonZeroU32::MIN, per: Duration::from_secs(86_400), burst })
}

/// Whether a request is verified depends on its body.
fn plan(per_client: Option<Rate>, per_route: Option<Rate>) -> Plan {
    let mut plan = Plan::default();
    plan.routes[0].limits = LimitsConfig { per_client, per_route, headers: false };
    plan.adapter.does(|call| match &call.inbound.body[..] {
        b"right" => matched(accepted()),
        b"outcome" => after(Found::Mismatched, accepted()),
        _ => after(Found::Mismatched, rejected(401, Diagnosis::SECRET_MISMATCH)),
    });
    plan
}

async fn ask(gateway: &Gateway, from: u8, path: &str, body: &str) -> Answer {
    let mut client = Client::connect_from([127, 0, 0, from], gateway.addr).await;
    client.send(post(path, body)).await;
    client.answer().await.expect("an answer")
}

async fn status(gateway: &Gateway, from: u8, body: &str) -> u16 {
    ask(gateway, from, "/hook", body).await.status
}

#[tokio::test]
async fn a_stranger_with_a_wrong_secret_uses_up_what_is_theirs_and_nothing_of_the_providers() {
    let gateway = Gateway::start(&plan(at_once(5), at_once(3)));
    for _ in 0..2 {
        assert_eq!(status(&gateway, 2, "wrong").await, 401);
        // Neither does who makes the adapter return an outcome.
        assert_eq!(status(&gateway, 2, "outcome").await, 401);
    }
    assert_eq!(status(&gateway, 2, "wrong").await, 401);
    assert_eq!(status(&gateway, 2, "wrong").await, 429, "the sixth");
    // However many strangers there are.
    for stranger in 3..20 {
        assert_eq!(status(&gateway, stranger, "wrong").await, 401);
    }
    for _ in 0..3 {
        assert_eq!(status(&gateway, 1, "right").await, 200);
    }
    let calls = gateway.adapter.calls().len();
    let over = ask(&gateway, 1, "/hook", "right").await;
    assert_eq!((over.status, over.header("retry-after")), (429, Some("86400")));
    assert_eq!(over.header("ratelimit"), None);
    assert_eq!(gateway.adapter.calls().len(), calls + 1, "verified before it was charged");
    assert_eq!(gateway.storage.commits().len(), 3, "what is over the limit is dropped");
    let detail = "the route's limit of 1/d, 3 at once is used up";
    let over = gateway.refused().into_iter().find(|one| one.detail == detail).unwrap();
    assert_eq!(over.diagnosis, Diagnosis::RATE_LIMITED);
}

#[tokio::test]
async fn who_comes_too_often_is_turned_away_before_anything_is_read_or_called() {
    let gateway = Gateway::start(&plan(at_once(2), None));
    for _ in 0..2 {
        assert_eq!(status(&gateway, 1, "right").await, 200);
    }
    // Its body never comes.
    let mut client = Client::connect_from([127, 0, 0, 1], gateway.addr).await;
    client.send("POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    let over = client.expect(429).await;
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((86_300..=86_400).contains(&wait), "{wait}");
    assert!(over.body.is_empty());
    assert_eq!(gateway.adapter.calls().len(), 2);
    assert_eq!(status(&gateway, 2, "right").await, 200, "another client has its own");
    assert_eq!(gateway.refusal().detail, "the client's limit of 1/d, 2 at once is used up");
}

#[tokio::test]
async fn a_flood_does_not_push_out_what_the_ring_holds() {
    let gateway = Gateway::start(&plan(at_once(1), None));
    assert_eq!(status(&gateway, 1, "wrong").await, 401);
    for _ in 0..50 {
        assert_eq!(status(&gateway, 1, "wrong").await, 429);
    }
    // The clock of these tests stands still: all of them came in one second.
    let refused = gateway.refused();
    let kept = |diagnosis| refused.iter().filter(|one| one.diagnosis == diagnosis).count();
    assert_eq!((kept(Diagnosis::RATE_LIMITED), kept(Diagnosis::SECRET_MISMATCH)), (2, 1));
}

#[tokio::test]
async fn checks_come_in_their_order() {
    let mut plan = plan(at_once(1), at_once(1));
    let mut by_token = token_route("by-token", &[("token-one", None)]);
    by_token.limits = plan.routes[0].limits.clone();
    by_token.paused = true;
    plan.routes.push(by_token);
    plan.routes[0].allow_from = AllowFrom::only(vec!["127.0.0.1/32".parse().unwrap()]);
    let gateway = Gateway::start(&plan);
    // A wrong token is no matter of the route's, so it is not charged either.
    for _ in 0..3 {
        assert_eq!(ask(&gateway, 1, "/in/wrong", "right").await.status, 404);
    }
    // Then the client's limit, and only then whether the route is paused.
    assert_eq!(ask(&gateway, 1, "/in/token-one", "right").await.status, 503);
    assert_eq!(ask(&gateway, 1, "/in/token-one", "right").await.status, 429);
    // From elsewhere: refused, and not charged.
    for _ in 0..3 {
        assert_eq!(status(&gateway, 2, "right").await, 403);
    }
    assert!(gateway.refused().iter().any(|one| one.diagnosis == Diagnosis::ADDRESS_NOT_ALLOWED));
    assert!(gateway.adapter.calls().is_empty());
    assert_eq!(status(&gateway, 1, "right").await, 200);
}

#[tokio::test]
async fn what_was_used_stays_used_across_reloads() {
    let mut plan = plan(at_once(2), at_once(3));
    plan.routes.push(route("other", sluice::config::RoutePath::Exact("/other".to_owned())));
    let gateway = Gateway::start(&plan);
    assert_eq!(status(&gateway, 1, "right").await, 200);
    gateway.swap.store(snapshot(2, &plan).into());
    assert_eq!(status(&gateway, 1, "right").await, 200);
    assert_eq!(status(&gateway, 1, "right").await, 429, "the same limit");
    // A wider one: two of four are used.
    plan.routes[0].limits.per_client = at_once(4);
    gateway.swap.store(snapshot(3, &plan).into());
    assert_eq!(status(&gateway, 1, "right").await, 200);
    assert_eq!(status(&gateway, 1, "right").await, 429, "the route's, of which three are used");
    plan.routes[0].limits = LimitsConfig::default();
    gateway.swap.store(snapshot(4, &plan).into());
    assert_eq!(status(&gateway, 1, "right").await, 200);
}

#[tokio::test]
async fn answers_tell_what_is_left_where_the_route_says_so() {
    let mut plan = plan(at_once(2), at_once(9));
    plan.routes[0].limits.headers = true;
    let gateway = Gateway::start(&plan);
    let first = ask(&gateway, 1, "/hook", "right").await;
    let policy = Some("\"client\";q=2;w=172800, \"route\";q=9;w=777600");
    assert_eq!(first.header("ratelimit-policy"), policy);
    let left = Some("\"client\";r=1;t=86400, \"route\";r=8;t=86400");
    assert_eq!((first.status, first.header("ratelimit")), (200, left));
    // Not verified, so nothing is known of the route's.
    let second = ask(&gateway, 1, "/hook", "wrong").await;
    assert_eq!(second.header("ratelimit"), Some("\"client\";r=0;t=172800"));
    let third = ask(&gateway, 1, "/hook", "right").await;
    assert_eq!(third.header("ratelimit-policy"), policy);
    let wait = third.header("retry-after").unwrap();
    assert_eq!(third.header("ratelimit"), Some(&*format!("\"client\";r=0;t={wait}")));
}
