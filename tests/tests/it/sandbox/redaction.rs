//! What a guest asks to have masked is in nothing that its call leaves behind.

use std::fmt::Debug;
use std::sync::Arc;

use ring::hmac;
use sluice::adapter::{CallEnd, End, Receive as _};
use sluice::model::{Found, Proof, Verified};

use super::{configure, outcome, request, request_to, route, shared, trap};

const SECRET: &str = "canary-4111111111111111";

/// Receives `body` with the canary where it says `@`, on a route that a MAC is presented to.
fn receive(body: &str) -> CallEnd {
    let body = body.replace('@', SECRET);
    let mut request = request_to(true);
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"hunter2");
    let signature = hex::encode(hmac::sign(&key, body.as_bytes()));
    request.headers.push(("x-signature".to_owned(), signature));
    let ended = shared().adapter.receive(request.call(&route(), body));
    let found: Vec<Found> = ended.verdicts.iter().map(|verdict| verdict.found).collect();
    assert_eq!(found[..3], [Found::Matched { version: 0 }; 3], "of what was received");
    assert_eq!(request.secrets.verified(&ended.verdicts), Some(Verified::Signature));
    ended
}

fn kept(ended: &CallEnd) -> String {
    let masked = ended.masked.as_ref().expect("it is redacted");
    assert!(masked.redacted);
    String::from_utf8(masked.body.to_vec()).unwrap()
}

fn holds_nothing(ended: &impl Debug) {
    let shown = format!("{ended:?}");
    assert!(!shown.contains("canary") && !shown.contains("4111"), "{shown}");
}

#[test]
fn an_outcome_is_made_of_what_may_be_kept_and_its_verdicts_of_what_was_received() {
    let ended = receive("mask-outcome a <@> b <@>");
    holds_nothing(&ended);
    assert_eq!(kept(&ended), "mask-outcome a <***> b <***>");
    assert_eq!(ended.verdicts.len(), 3);
    assert_eq!(ended.verdicts[1].proof, Proof::Mac);
    assert_eq!(ended.reads.seen.len(), 1, "what the run read that is kept");
    assert_eq!(ended.reads.seen[0].0.value, kept(&ended));
    let made = outcome(ended.end);
    let received = "mask-outcome a <@> b <@>".replace('@', SECRET);
    let digest = ring::digest::digest(&ring::digest::SHA256, received.as_bytes());
    let key = made.events[0].key.as_ref().unwrap();
    assert_eq!(key.value, hex::encode(digest), "the hash of the received bytes");
    assert_eq!(made.events[0].data, r#"{"original":"mask-outcome a <***> b <***>"}"#);
}

#[test]
fn numbers_stay_json_and_the_query_is_masked_too() {
    let ended = receive("mask-number {\"a\":<@>}");
    assert_eq!(kept(&ended), "mask-number {\"a\":<null>}");
    let mut request = request();
    request.query = Some(format!("a=({SECRET})&b=1"));
    let ended = shared().adapter.receive(request.call(&route(), "mask-query"));
    holds_nothing(&ended);
    let masked = ended.masked.unwrap();
    assert_eq!(masked.head.query.as_deref(), Some("a=(***)&b=1"));
    assert_eq!(&*masked.body, b"mask-query");
}

#[test]
fn a_call_that_asks_for_nothing_runs_once_and_is_not_redacted() {
    let ended = receive("mask-outcome nothing here @");
    assert!(ended.masked.is_none());
    assert!(outcome(ended.end).events[0].data.contains(SECRET), "the control");
}

#[test]
fn whatever_ends_the_call_holds_nothing_of_what_is_masked() {
    let rejected = receive("mask-reject <@>");
    assert!(matches!(&rejected.end, End::Rejection(why) if why.detail == kept(&rejected)));
    let late = receive("mask-spin <@>");
    assert_eq!(late.end, End::Deadline);
    let trapped = receive("mask-trap <@>");
    let broken = receive("mask-broken <@>");
    let breach = receive("mask-breach <@>");
    for (ended, said) in [
        (&trapped, "wasm `unreachable` instruction executed; what it said is not kept"),
        (&broken, "the type `mask-broken <***>` is not among"),
        (&breach, "broke the contract; what it said is not kept"),
    ] {
        let message = trap(ended.end.clone());
        assert!(message.contains(said), "{message}");
    }
    for ended in [rejected, late, trapped, broken, breach] {
        holds_nothing(&ended);
        assert!(kept(&ended).ends_with(" <***>"));
    }
}

#[test]
fn what_cannot_be_masked_as_asked_is_a_trap_that_keeps_nothing() {
    for word in ["beyond", "word", "part", "flood"] {
        let ended = receive(&format!("mask-{word} <@>"));
        assert_eq!(kept(&ended), "***");
        assert!(ended.reads.seen.is_empty());
        holds_nothing(&ended);
        trap(ended.end);
    }
}

#[test]
fn a_guest_that_goes_on_asking_is_ended() {
    let ended = receive("mask-more <@>");
    holds_nothing(&ended);
    let message = trap(ended.end);
    assert!(message.contains("asks to have more masked after 3 runs"), "{message}");
}

/// Of an adapter that describes it, a first run that broke has not said all that must not be kept,
/// whatever it said.
#[test]
fn of_a_run_that_broke_an_adapter_that_describes_it_leaves_nothing() {
    let shared = shared();
    let mut adapter = configure(&shared.sandbox, &shared.plugin, serde_json::json!({})).unwrap();
    let silent = adapter.receive(request().call(&route(), format!("trap <{SECRET}>")));
    assert!(silent.masked.is_none() && !silent.withheld, "the control: it does not describe it");
    Arc::make_mut(&mut adapter.description).redacts = true;
    for word in ["trap", "spin", "mask-trap", "mask-spin", "mask-breach"] {
        let mut request = request();
        request.query = Some(format!("a={SECRET}"));
        let ended = adapter.receive(request.call(&route(), format!("{word} <{SECRET}>")));
        assert!(ended.withheld && ended.reads.seen.is_empty(), "{word}");
        assert_eq!(kept(&ended), "***", "{word}");
        assert_eq!(ended.masked.as_ref().unwrap().head.query.as_deref(), Some("***"), "{word}");
        holds_nothing(&ended);
    }
    // What returned has said all.
    let ended = adapter.receive(request().call(&route(), format!("mask-reject <{SECRET}>")));
    assert_eq!((kept(&ended).as_str(), ended.withheld), ("mask-reject <***>", false));
    let ended = adapter.receive(request().call(&route(), "mask-reject nothing"));
    assert!(ended.masked.is_none() && !ended.withheld);
}
