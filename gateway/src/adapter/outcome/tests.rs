use serde_json::json;

use super::*;
use crate::model::{IdempotencyKey, KeyScope};

fn description() -> Description {
    let text = json!({
        "name": "test", "version": "1.0.0", "methods": ["POST"],
        "events": [{ "type": "test.happened" }],
    });
    Description::parse(&text.to_string()).unwrap()
}

fn an_event() -> types::Event {
    types::Event {
        type_: "test.happened".to_owned(),
        subject: Some("thing".to_owned()),
        time: None,
        data: "{}".to_owned(),
        partition_key: None,
        idempotency: None,
        extra: Vec::new(),
    }
}

fn an_answer(status: u16) -> types::Answer {
    types::Answer { status, headers: Vec::new(), body: Vec::new(), extra: Vec::new() }
}

fn an_outcome() -> types::Outcome {
    types::Outcome {
        disposition: "accepted".to_owned(),
        events: vec![an_event()],
        facts: Vec::new(),
        answer: an_answer(200),
        duplicate_answer: None,
        extra: Vec::new(),
    }
}

/// Checks the outcome that `change` makes: `Err` with a part of the sentence, or `Ok`.
#[track_caller]
fn check(change: impl FnOnce(&mut types::Outcome), expected: Result<(), &str>) {
    let mut returned = an_outcome();
    change(&mut returned);
    match (outcome(returned, &description()), expected) {
        (Ok(_), Ok(())) => {}
        (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
        (got, expected) => panic!("expected {expected:?}, got {got:?}"),
    }
}

#[test]
fn data_is_one_json_object() {
    for data in ["{}", " \r\n\t{\"a\": [1, 2.5e-3, \"\\u00e9\", null]} ", &deep(10_000)] {
        check(|o| o.events[0].data = data.to_owned(), Ok(()));
    }
    for data in ["[]", "1", "\"{}\"", "", "null", "\u{feff}{}"] {
        check(
            |o| o.events[0].data = data.to_owned(),
            Err("event 0: its data is not a JSON object"),
        );
    }
    for data in ["{", "{} {}", "{\"a\":}", "{\"a\":01}", "{'a':1}", "{\"a\":\"\n\"}"] {
        check(|o| o.events[0].data = data.to_owned(), Err("event 0: its data is not JSON"));
    }
}

fn deep(levels: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn a_time_is_rfc_3339_and_kept_in_utc() {
    for (text, kept) in [
        ("2024-06-15T11:51:35Z", "2024-06-15T11:51:35Z"),
        ("2024-06-15T11:51:35.807000Z", "2024-06-15T11:51:35.807000Z"),
        ("2024-06-15T11:51:35.5+05:30", "2024-06-15T06:21:35.5Z"),
        ("2024-06-15T23:00:00-02:00", "2024-06-16T01:00:00Z"),
    ] {
        let mut returned = an_outcome();
        returned.events[0].time = Some(text.to_owned());
        let outcome = outcome(returned, &description()).unwrap();
        assert_eq!(outcome.events[0].time.as_deref(), Some(kept));
    }
    for text in [
        "",
        "yesterday",
        "2024-06-15",
        "2024-06-15T11:51Z",
        "2024-06-15 11:51:35Z",
        "2024-06-15T11:51:35",
        "2024-06-15t11:51:35z",
        "2024-13-15T11:51:35Z",
        "2024-02-30T11:51:35Z",
        "2024-06-15T25:51:35Z",
        "2024-06-15T11:51:35.Z",
        "2024-06-15T11:51:35+0530",
        "2024-06-15T11:51:35Z[UTC]",
        "2024-06-15T11:51:35.1234567890Z",
        "+02024-06-15T11:51:35Z",
        "２024-06-15T11:51:35Z",
    ] {
        check(|o| o.events[0].time = Some(text.to_owned()), Err("is not RFC 3339"));
    }
}

#[test]
fn attributes_and_keys_are_bounded() {
    let text = |length: usize| Some("x".repeat(length));
    check(|o| o.events[0].subject = text(512), Ok(()));
    check(|o| o.events[0].subject = text(513), Err("its subject has 513 bytes"));
    check(|o| o.events[0].subject = text(0), Err("its subject has 0 bytes"));
    check(|o| o.events[0].subject = Some("a\nb".to_owned()), Err("control characters"));
    check(|o| o.events[0].partition_key = text(513), Err("its partition key has 513 bytes"));
    check(|o| o.events[0].type_ = "test.other".to_owned(), Err("`test.other` is not among those"));

    let key = |value: &str, scope: &str, window_seconds| types::IdempotencyKey {
        value: value.to_owned(),
        scope: scope.to_owned(),
        window_seconds,
        extra: Vec::new(),
    };
    let days_400 = 400 * 86_400;
    let kept = event::key(key("k", "adapter", days_400)).unwrap();
    let expected = IdempotencyKey {
        value: "k".to_owned(),
        scope: KeyScope::Adapter,
        window_seconds: days_400,
    };
    assert_eq!(kept, expected);
    assert!(event::key(key(&"k".repeat(256), "route", 1)).is_ok());
    for (wrong, said) in [
        (key("", "route", 1), "1 to 256 bytes, not 0"),
        (key(&"é".repeat(129), "route", 1), "1 to 256 bytes, not 258"),
        (key("k", "route", 0), "1 second to 400 days"),
        (key("k", "route", days_400 + 1), "1 second to 400 days"),
        (key("k", "Route", 1), "`route` or `adapter`, not `Route`"),
    ] {
        assert!(event::key(wrong).unwrap_err().contains(said), "{said}");
    }
}

#[test]
fn an_outcome_is_answered_with_success_and_its_own_headers() {
    for status in [200, 201, 202, 299] {
        check(|o| o.answer.status = status, Ok(()));
    }
    for status in [0, 99, 100, 199, 300, 304, 404, 503, 600] {
        check(|o| o.answer.status = status, Err("answer: an outcome is answered 200 to 299"));
        check(
            |o| o.duplicate_answer = Some(an_answer(status)),
            Err("duplicate answer: an outcome is answered 200 to 299"),
        );
    }
    check(|o| o.answer = types::Answer { body: vec![0], ..an_answer(204) }, Err("204 has no body"));
    check(|o| o.answer.body = vec![0; 64 << 10], Ok(()));
    check(|o| o.answer.body = vec![0; (64 << 10) + 1], Err("a body of 65537 bytes"));

    let with = |name: &str, value: &str| {
        let header = (name.to_owned(), value.to_owned());
        move |o: &mut types::Outcome| o.answer.headers.push(header)
    };
    check(with("X-Thing", "a b\tc"), Ok(()));
    for own in GATEWAYS_OWN_HEADERS {
        check(with(&own.to_ascii_uppercase(), "x"), Err("is the gateway's own"));
    }
    for (name, value) in [("x", "a\r\nb: c"), ("x", "a\0"), ("x", "é"), ("x", "\u{7f}")] {
        check(with(name, value), Err("is not plain ASCII"));
    }
    for name in ["", "a b", "a:", "é", "a\n"] {
        check(with(name, "x"), Err("is no header name"));
    }
    check(|o| o.answer.headers = vec![("a".to_owned(), String::new()); 33], Err("33 headers"));
    check(with("a", &"x".repeat(4 << 10)), Err("4097 bytes of headers"));

    let mut returned = an_outcome();
    returned.answer.headers.push(("Content-Type".to_owned(), "text/plain".to_owned()));
    let kept = outcome(returned, &description()).unwrap().answer.headers;
    assert_eq!(kept, [("content-type".into(), "text/plain".into())]);
}

#[test]
fn dispositions_and_counts_are_checked() {
    check(|o| o.events.clear(), Ok(()));
    check(|o| o.disposition = "perhaps".to_owned(), Err("not `perhaps`"));
    check(|o| o.disposition = "ignored".to_owned(), Err("an `ignored` outcome has no events"));
    check(|o| o.events = vec![an_event(); EVENTS_MAX], Ok(()));
    check(|o| o.events = vec![an_event(); EVENTS_MAX + 1], Err("257 events"));
    let fact = |name: &str, value: &str| types::Fact {
        name: name.to_owned(),
        value: value.to_owned(),
        extra: Vec::new(),
    };
    check(|o| o.facts = vec![fact("a", ""); FACTS_MAX + 1], Err("65 facts"));
    check(|o| o.facts = vec![fact("No", "")], Err("a fact's name is"));

    let mut returned = an_outcome();
    returned.facts = vec![fact("a", &format!("x\u{1b}{}", "é".repeat(1_000)))];
    let kept = outcome(returned, &description()).unwrap().facts;
    assert!(kept[0].value.starts_with("x é") && kept[0].value.len() <= FACT_VALUE_BYTES_MAX);

    let mut returned = an_outcome();
    returned.events.clear();
    returned.disposition = "ignored".to_owned();
    assert!(!outcome(returned, &description()).unwrap().accepted);
}

#[test]
fn a_rejection_is_never_a_success_and_its_text_is_tamed() {
    let rejected = |status, code: &str, detail: &str| {
        rejection(&types::Rejection {
            status,
            code: code.to_owned(),
            detail: detail.to_owned(),
            extra: Vec::new(),
        })
    };
    for status in [0, 200, 204, 302, 399, 600] {
        assert!(rejected(status, "x", "").is_err(), "{status}");
    }
    let kept = rejected(401, "secret_mismatch", "a\r\nb").unwrap();
    assert_eq!((kept.status, kept.diagnosis), (401, Diagnosis::SECRET_MISMATCH));
    assert_eq!(kept.detail, "a  b");
    let kept = rejected(400, "Not a code!", &"x".repeat(5_000)).unwrap();
    assert_eq!(kept.diagnosis.as_str(), "unspecified");
    assert_eq!(kept.detail.len(), REJECTION_DETAIL_BYTES_MAX);
}
