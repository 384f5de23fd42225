//! What the gateway refuses of an adapter's answer, with the gateway's bounds.

use crate::outcome::{FACTS_MAX, is_attribute};
use crate::settings::is_header_name;
use crate::{Answer, Description, Event, Outcome, Rejection};

/// Anything else would say "not taken" of what was taken.
const TAKEN: std::ops::RangeInclusive<u16> = 200..=299;
const REFUSAL: std::ops::RangeInclusive<u16> = 400..=599;
const EVENTS_MAX: usize = 256;
const KEY_BYTES: std::ops::RangeInclusive<usize> = 1..=256;
const WINDOW_SECONDS: std::ops::RangeInclusive<u64> = 1..=400 * 24 * 60 * 60;
const NAME_BYTES: std::ops::RangeInclusive<usize> = 1..=64;
const ANSWER_HEADERS_MAX: usize = 32;
const ANSWER_HEADER_BYTES_MAX: usize = 4 << 10;
const ANSWER_BODY_BYTES_MAX: usize = 64 << 10;

/// Headers that belong to the connection or the framing.
const GATEWAYS_OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What `end` breaks, one sentence each.
pub(super) fn broken(description: &Description, end: &Result<Outcome, Rejection>) -> Vec<String> {
    let mut found = Vec::new();
    match end {
        Ok(outcome) => {
            for answer in [Some(&outcome.answer), outcome.duplicate_answer.as_ref()] {
                answer.into_iter().for_each(|answer| check_answer(answer, &mut found));
            }
            check_facts(description, outcome, &mut found);
            check_events(description, outcome, &mut found);
        }
        Err(rejection) => {
            if !REFUSAL.contains(&rejection.status) {
                found.push(format!("rejection with status {}", rejection.status));
            }
            if !is_code(rejection.code) {
                found.push(format!("`{}` is not a diagnosis code", rejection.code));
            }
        }
    }
    found
}

fn is_code(text: &str) -> bool {
    is_name(text) && !text.contains('-')
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    NAME_BYTES.contains(&text.len()) && text.bytes().all(plain)
}

fn check_answer(answer: &Answer, found: &mut Vec<String>) {
    let Answer { status, headers, body } = answer;
    if !TAKEN.contains(status) {
        found.push(format!("an outcome is answered 200 to 299, not {status}"));
    }
    if matches!(status, 204 | 205) && !body.is_empty() {
        found.push(format!("{status} has no body"));
    }
    if body.len() > ANSWER_BODY_BYTES_MAX {
        found.push(format!("answer with a body of {} bytes", body.len()));
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > ANSWER_HEADERS_MAX || bytes > ANSWER_HEADER_BYTES_MAX {
        found.push(format!("answer with {} headers of {bytes} bytes", headers.len()));
    }
    for (name, value) in headers {
        if !is_header_name(name) {
            found.push(format!("`{name}` is no header name"));
        }
        if GATEWAYS_OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            found.push(format!("the header `{name}` is the gateway's own"));
        }
        if !value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
            found.push(format!("the value of the header `{name}` is not plain ASCII"));
        }
    }
}

fn check_facts(description: &Description, outcome: &Outcome, found: &mut Vec<String>) {
    for fact in &outcome.facts {
        if !description.shows_fact(&fact.name) {
            found.push(format!("fact `{}` is not described", fact.name));
        }
    }
    if outcome.facts.len() > FACTS_MAX {
        found.push(format!("{} facts; all after {FACTS_MAX} are lost", outcome.facts.len()));
    }
    for fact in outcome.all_facts().iter().filter(|fact| !is_name(&fact.name)) {
        found.push(format!("`{}` is no name of a fact", fact.name));
    }
}

fn check_events(description: &Description, outcome: &Outcome, found: &mut Vec<String>) {
    if !outcome.accepted && !outcome.events.is_empty() {
        found.push("an ignored outcome with events".to_owned());
    }
    if outcome.events.len() > EVENTS_MAX {
        found.push(format!("{} events", outcome.events.len()));
    }
    for event in &outcome.events {
        check_event(description, event, found);
    }
}

fn check_event(description: &Description, event: &Event, found: &mut Vec<String>) {
    let kind = &event.kind;
    if !description.makes_event(kind) {
        found.push(format!("event type `{kind}` is not described"));
    }
    for (what, text) in [("subject", &event.subject), ("partition key", &event.partition_key)] {
        if !text.as_deref().is_none_or(is_attribute) {
            found.push(format!("the {what} of `{kind}` is out of bounds"));
        }
    }
    if !serde_json::from_str::<serde_json::Value>(&event.data).is_ok_and(|data| data.is_object()) {
        found.push(format!("the data of `{kind}` is not a JSON object"));
    }
    if let Some(key) = &event.key
        && !(KEY_BYTES.contains(&key.value.len()) && WINDOW_SECONDS.contains(&key.window_seconds))
    {
        found.push(format!("the idempotency key of `{kind}` is out of bounds"));
    }
}
