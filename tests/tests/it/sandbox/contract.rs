//! What a well-behaved call sees and what the host makes of what it returns.

use serde_json::json;
use sluice::adapter::{End, Receive as _, ViewEnd};
use sluice::model::{
    AdapterName, Diagnosis, Event, EventId, Found, Proof, Rejection, RequestId, UnixMillis,
    Verified,
};
use sluice_tests::sandbox::NOW;

use super::{answer, configure, outcome, receive, request, request_to, route, run, shared, trap};

#[test]
fn a_result_that_breaks_the_contract_is_a_trap_that_says_how() {
    for (body, said) in [
        ("unknown-type", "event 0: the type `test.hostile.else` is not among those"),
        ("data-array", "event 0: its data is not a JSON object"),
        ("data-broken", "event 0: its data is not JSON"),
        ("data-two", "event 0: its data is not JSON"),
        ("bad-time", "event 0: its time `yesterday` is not RFC 3339"),
        ("empty-subject", "event 0: its subject has 0 bytes"),
        ("long-key", "an idempotency key has 1 to 256 bytes, not 257"),
        ("empty-key", "an idempotency key has 1 to 256 bytes, not 0"),
        ("no-window", "1 second to 400 days, not 0 s"),
        ("bad-scope", "a key's scope is `route` or `adapter`, not `world`"),
        ("many-events", "300 events; at most 256"),
        ("many-facts", "100 facts; at most 64"),
        ("bad-fact", "not `Not A Name`"),
        ("status-500", "answer: an outcome is answered 200 to 299, not 500"),
        ("status-99", "not 99"),
        ("hop-by-hop", "answer: the header `transfer-encoding` is the gateway's own"),
        ("header-injection", "answer: the value of the header `x` is not plain ASCII"),
        ("header-name", "answer: `a b` is no header name"),
        ("duplicate-500", "duplicate answer: an outcome is answered 200 to 299"),
        ("no-content", "204 has no body"),
        ("disposition", "a disposition is `accepted` or `ignored`, not `perhaps`"),
        ("ignored-events", "an `ignored` outcome has no events"),
        ("huge-answer", "a body of 1048576 bytes"),
        ("reject-200", "a rejection's status is 400 to 599, not 200"),
    ] {
        let message = trap(run(body));
        assert!(message.contains("call `receive`: ") && message.contains(said), "{message}");
    }
    let valid = outcome(run("valid"));
    assert!(valid.accepted);
    assert_eq!(valid.events[0].time.as_deref(), Some("2026-01-02T02:04:05Z"));
    assert_eq!(valid.answer.headers, [("x-thing".into(), "yes".into())]);
    assert_eq!(valid.facts[0].value, "things");
}

#[test]
fn a_guest_reads_the_request_with_its_credentials_masked() {
    let text = answer(run("echo"));
    let id = RequestId::from_bytes([7; 16]);
    let first = format!(
        "receive test first {id} {} POST /hooks/hostile Some(\"a=1&b=%20\") 127.0.0.1 true",
        NOW.0
    );
    assert_eq!(text.lines().next(), Some(first.as_str()));
    assert!(text.contains("\nauthorization: [\"***\"]\n"), "{text}");
    assert!(text.contains("\nx-thing: [\"one\", \"2\"]\n"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_call_is_the_same_in_a_thousand_runs_and_in_another_engine() {
    let first = receive(&shared().adapter, "echo").end;
    for _ in 0..1_000 {
        assert_eq!(receive(&shared().adapter, "echo").end, first);
    }
    let other = sluice::adapter::Sandbox::new(sluice::adapter::SandboxLimits::default()).unwrap();
    let plugin = super::load(&other, &super::hostile()).unwrap();
    let adapter = configure(&other, &plugin, json!({})).unwrap();
    assert_eq!(receive(&adapter, "echo").end, first);
}

#[test]
fn verdicts_are_the_hosts_and_forgetting_to_ask_leaves_none() {
    let ended = receive(&shared().adapter, "unverified");
    assert!(matches!(ended.end, End::Outcome(_)));
    assert!(ended.verdicts.is_empty());
    assert_eq!(request().secrets.verified(&ended.verdicts), None, "nothing may be committed");

    let ended = receive(&shared().adapter, "valid");
    assert_eq!(ended.verdicts.len(), 1);
    assert_eq!(ended.verdicts[0].found, Found::Matched { version: 0 });
    assert_eq!(ended.verdicts[0].proof, Proof::Header);
    assert_eq!(request().secrets.verified(&ended.verdicts), Some(Verified::SharedSecret));

    let mut wrong = request();
    wrong.headers[0].1 = "Bearer hunter3".to_owned();
    let ended = shared().adapter.receive(wrong.call(&route(), "valid"));
    assert_eq!(ended.verdicts[0].found, Found::Mismatched);
    assert_eq!(wrong.secrets.verified(&ended.verdicts), None);

    let ended = receive(&shared().adapter, "inner x");
    assert_eq!(answer(ended.end), "not-configured");
    assert_eq!(ended.verdicts[1].role, "inner");
}

#[test]
fn a_verdict_that_describe_does_not_allow_is_a_trap_that_names_the_role() {
    for (body, said) in [
        ("misask-header", "verify-header: `describe` has no secret `nobody`"),
        ("misask-query", "verify-query: `describe` has no secret `nobody`"),
        ("misask-equal", "verify-equal: `describe` has no secret `nobody`"),
        ("misask-mac", "verify-mac: `describe` has no secret `nobody`"),
        ("misask-signature", "verify-signature: `describe` has no secret `nobody`"),
        ("misask-header-of-key", "verify-header: the secret `key` is a key and never travels"),
        ("misask-query-of-header", "verify-query: the secret `shared` travels in a header"),
        ("misask-equal-of-header", "verify-equal: the secret `shared` travels in a header"),
        ("misask-equal-of-key", "verify-equal: the secret `key` is a key and never travels"),
        ("misask-mac-of-header", "verify-mac: the secret `shared` travels in a header"),
        ("misask-mac-of-query", "verify-mac: the secret `asked` travels in the query"),
        ("misask-signature-of-body", "verify-signature: the secret `inner` travels in the body"),
    ] {
        let ended = receive(&shared().adapter, body);
        let message = trap(ended.end);
        assert!(message.contains("call `receive`: "), "{message}");
        assert!(message.contains(&format!("verification.{said}")), "{message}");
        assert_eq!(ended.verdicts.len(), 1, "only the one that it was allowed");
    }
}

#[test]
fn one_secret_of_two_is_not_enough() {
    let request = request_to(true);
    let ended = shared().adapter.receive(request.call(&route(), "valid"));
    assert!(matches!(ended.end, End::Outcome(_)));
    assert_eq!(ended.verdicts[0].found, Found::Matched { version: 0 });
    assert_eq!(request.secrets.verified(&ended.verdicts), None);
    assert_eq!(request.secrets.unmatched(&ended.verdicts), Some("key"));
}

#[test]
fn a_mac_over_the_body_is_judged_by_the_host() {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"hunter2");
    let tag = hex::encode(ring::hmac::sign(&key, b"mac of this"));
    for (body, presented, expected) in [
        ("mac of this", tag.as_str(), "matched Some(0)"),
        ("mac of that", tag.as_str(), "mismatched None"),
        ("mac of this", "", "mismatched None"),
    ] {
        let mut request = request_to(true);
        request.headers.push(("x-signature".to_owned(), presented.to_owned()));
        let ended = shared().adapter.receive(request.call(&route(), body));
        assert_eq!(answer(ended.end), expected, "{body}");
        assert_eq!(ended.verdicts[1].proof, Proof::Mac);
        let verified = request.secrets.verified(&ended.verdicts);
        let signed = expected.starts_with("matched");
        assert_eq!(verified == Some(Verified::Signature), signed);
    }
}

#[test]
fn what_seen_answered_is_recorded_once_and_stays_the_same() {
    let ended = receive(&shared().adapter, "seen-twice");
    assert_eq!(answer(ended.end), "false false");
    assert_eq!(ended.reads.seen.len(), 1);
    assert_eq!(ended.reads.seen[0].0.value, "the same");
    assert!(!ended.reads.seen[0].1);
}

#[test]
fn a_rejection_carries_a_code_and_a_tamed_sentence() {
    let end = run("reject a\u{1b}[31mb\r\nc");
    let expected = Rejection {
        status: 401,
        diagnosis: Diagnosis::SECRET_MISMATCH,
        detail: "a [31mb  c".to_owned(),
    };
    assert_eq!(end, End::Rejection(expected));
}

#[test]
fn settings_are_taken_up_before_the_first_call_by_route() {
    let shared = shared();
    let own = json!({ "b": 1, "a": "é" });
    let adapter = configure(&shared.sandbox, &shared.plugin, own).unwrap();
    assert!(adapter.is_snapshotted());
    for _ in 0..3 {
        let text = answer(receive(&adapter, "settings").end);
        assert_eq!(text, "={\"a\":\"é\",\"b\":1}\nfirst={\"a\":\"é\",\"b\":1}");
    }
    assert_eq!(answer(run("settings")), "={}\nfirst={}", "another adapter of the same plugin");
}

#[test]
fn state_is_granted_to_nobody() {
    let all = "not_granted not_granted not_granted not_granted";
    assert_eq!(answer(run("ask-state")), all);
}

fn an_event(data: &str) -> Event {
    let now = UnixMillis(1);
    Event {
        id: EventId::new(now),
        request: RequestId::new(now),
        route: route(),
        kind: "other.thing".to_owned(),
        subject: None,
        time: None,
        adapter: "other/1.0.0".into(),
        adapter_name: AdapterName::new("other").unwrap(),
        received_at: now,
        verified: Verified::Signature,
        idempotency_key: None,
        partition_key: None,
        data_schema: None,
        replay_of: None,
        hops: 0,
        data: data.to_owned(),
    }
}

#[test]
fn consume_has_an_event_and_neither_request_nor_secrets() {
    let adapter = &shared().adapter;
    let call = || request().other(AdapterName::new("mine").unwrap());
    let consume = |data: &str| adapter.consume(call(), &an_event(data));

    let id = RequestId::from_bytes([7; 16]);
    let expected = format!("consume test mine {id} {}", NOW.0);
    assert_eq!(answer(consume("{}").end), expected);
    assert!(matches!(consume("{\"?\":1}").end, End::Rejection(r) if r.status == 422));
    assert_eq!(consume("{\"spin\"}").end, End::Deadline);
    for (data, said) in [
        ("{\"ask-inbound\"}", "call `consume`: `inbound.method` is not there in `consume`"),
        ("{\"ask-verification\"}", "`verification.verify-header` is not there in `consume`"),
        ("{\"trap\"}", "unreachable"),
    ] {
        let message = trap(consume(data).end);
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn a_view_answers_json_and_has_neither_request_nor_secrets() {
    let adapter = &shared().adapter;
    let call = || request().other(AdapterName::new("mine").unwrap());
    let view = |name: &str| adapter.view(call(), name, "{\"a\":1}");
    assert_eq!(view("parameters"), ViewEnd::Answer("{\"a\":1}".to_owned()));
    assert!(matches!(view("nothing"), ViewEnd::Rejection(r) if r.status == 404));
    assert_eq!(view("spin"), ViewEnd::Deadline);
    for (name, said) in [
        ("not-json", "call `view`: its answer is not JSON"),
        ("ask-inbound", "`inbound.method` is not there in `view`"),
        ("ask-verification", "`verification.verify-header` is not there in `view`"),
    ] {
        let ViewEnd::Trap(message) = view(name) else { panic!("{name}") };
        assert!(message.contains(said), "{message}");
    }
}
