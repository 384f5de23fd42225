//! Outcomes, most of them wrong.

use crate::bindings::sluice::adapter::types::{Answer, Event, Fact};
use crate::bindings::sluice::adapter::{call, inbound};
use crate::bindings::{Outcome, Problem, Rejection};
use crate::misdeeds::key;

pub(crate) fn answering(text: &str) -> Outcome {
    Outcome {
        disposition: "accepted".to_owned(),
        events: Vec::new(),
        facts: vec![fact("doing", "things")],
        answer: answer(200, text),
        duplicate_answer: None,
        extra: vec![("unknown".to_owned(), "ignored".to_owned())],
    }
}

pub(crate) fn accepted(data: &str) -> Outcome {
    let mut outcome = answering("ok");
    outcome.events.push(event(data));
    outcome
}

/// One event with this id, for a test that counts them, and an answer that says by what it was made.
pub(crate) fn telling(id: &str, by: &str) -> Outcome {
    let mut outcome = answering(by);
    let data = serde_json::json!({ "id": id, "by": by }).to_string();
    let event = Event { idempotency: Some(key(id)), ..event(&data) };
    outcome.events.push(event);
    outcome
}

/// An outcome that breaks the contract in the way that `word` names. `None`: no such word.
pub(crate) fn invalid(word: &str) -> Option<Outcome> {
    let mut outcome = accepted("{\"a\":1}");
    let event = outcome.events.first_mut()?;
    match word {
        "valid" => outcome.answer.headers.push(("X-Thing".to_owned(), "yes".to_owned())),
        "unknown-type" => event.type_ = "test.hostile.else".to_owned(),
        "data-array" => event.data = "[1]".to_owned(),
        "data-broken" => event.data = "{\"a\":".to_owned(),
        "data-two" => event.data = "{} {}".to_owned(),
        "bad-time" => event.time = Some("yesterday".to_owned()),
        "empty-subject" => event.subject = Some(String::new()),
        "long-key" => event.idempotency = Some(key(&"k".repeat(257))),
        "empty-key" => event.idempotency = Some(key("")),
        "no-window" => {
            event.idempotency = Some(call::IdempotencyKey { window_seconds: 0, ..key("k") });
        }
        "bad-scope" => {
            event.idempotency =
                Some(call::IdempotencyKey { scope: "world".to_owned(), ..key("k") });
        }
        "many-events" => outcome.events = (0..300).map(|_| self::event("{}")).collect(),
        "many-facts" => outcome.facts = (0..100).map(|_| fact("doing", "x")).collect(),
        "bad-fact" => outcome.facts.push(fact("Not A Name", "x")),
        "status-500" => outcome.answer.status = 500,
        "status-99" => outcome.answer.status = 99,
        "hop-by-hop" => {
            outcome.answer.headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
        }
        "header-injection" => {
            outcome.answer.headers.push(("x".to_owned(), "a\r\nset-cookie: b".to_owned()));
        }
        "header-name" => outcome.answer.headers.push(("a b".to_owned(), "c".to_owned())),
        "duplicate-500" => outcome.duplicate_answer = Some(answer(500, "")),
        "no-content" => outcome.answer = answer(204, "content"),
        "disposition" => outcome.disposition = "perhaps".to_owned(),
        "ignored-events" => outcome.disposition = "ignored".to_owned(),
        "huge-output" => event.data = format!("{{\"a\":\"{}\"}}", "x".repeat(3 << 20)),
        "huge-answer" => outcome.answer.body = vec![b'x'; 1 << 20],
        _ => return None,
    }
    Some(outcome)
}

/// Everything that a call can read, as one text: what must be the same in every run.
pub(crate) fn everything() -> String {
    let mut text = format!(
        "{} {} {} {:?} {} {}",
        call(),
        inbound::method(),
        inbound::path(),
        inbound::query(),
        inbound::client_address(),
        call::seen(&key("known")),
    );
    for name in inbound::header_names() {
        text.push_str(&format!("\n{name}: {:?}", inbound::header(&name)));
    }
    // Arithmetic that machines may answer differently, and an address.
    let nan = std::hint::black_box(0.0_f64) / std::hint::black_box(0.0_f64);
    text.push_str(&format!("\n{:x} {:p}", nan.to_bits(), Box::new(1_u8)));
    text
}

pub(crate) fn call() -> String {
    format!("{} {} {} {} {}", call::kind(), call::cause(), call::route(), call::id(), call::now())
}

pub(crate) fn rejection(status: u16, code: &str, detail: &str) -> Rejection {
    Rejection { status, code: code.to_owned(), detail: detail.to_owned(), extra: Vec::new() }
}

pub(crate) fn problems() -> Vec<Problem> {
    let problem = |route: Option<&str>, path: &str, message: &str| Problem {
        route: route.map(str::to_owned),
        path: path.to_owned(),
        message: message.to_owned(),
        extra: Vec::new(),
    };
    vec![
        problem(None, "configure", "do not"),
        problem(Some("first"), "fields.caller", "not\u{1b}[31m like this"),
    ]
}

fn event(data: &str) -> Event {
    Event {
        type_: "test.hostile.happened".to_owned(),
        subject: Some("thing".to_owned()),
        time: Some("2026-01-02T03:04:05+01:00".to_owned()),
        data: data.to_owned(),
        partition_key: None,
        idempotency: Some(key("k")),
        extra: Vec::new(),
    }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec(), extra: Vec::new() }
}

fn fact(name: &str, value: &str) -> Fact {
    Fact { name: name.to_owned(), value: value.to_owned(), extra: Vec::new() }
}
