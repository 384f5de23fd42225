//! Asking for parts of the request to be masked.
//!
//! The body reads `mask-<word> ...`; what is to be masked stands between `<` and `>`, the query's
//! between `(` and `)`.

use crate::bindings::sluice::adapter::{call, inbound, log, verification};
use crate::bindings::{Outcome, Rejection};
use crate::misdeeds::{body_part, commit, key};
use crate::outcomes;

/// Masks as the body says, then does what `word` says, with what it has read all over it.
pub(crate) fn mask(word: &str, body: &[u8]) -> Result<Outcome, Rejection> {
    let read = String::from_utf8_lossy(body).into_owned();
    let presented = inbound::header("x-signature").pop().unwrap_or_default();
    if !presented.is_empty() {
        // Of the body by name, and of bytes that only the first run has.
        let bytes =
            verification::Part { kind: "bytes".to_owned(), bytes: body.to_vec(), ..body_part() };
        for part in [body_part(), bytes] {
            verification::verify_mac("key", "hmac-sha256", "utf8", &[part], &presented, "hex");
        }
    }
    log::write("info", &read);
    call::seen(&key(&read));
    let mask = if word == "number" { "number" } else { "text" };
    inbound::redact("body", mask, &spans(body, b'<', b'>'));
    let query = inbound::query().unwrap_or_default();
    inbound::redact("query", "text", &spans(query.as_bytes(), b'(', b')'));
    match word {
        "beyond" => inbound::redact("body", "text", &[(0, u32::MAX)]),
        "word" => inbound::redact("body", "stars", &[(0, 1)]),
        "part" => inbound::redact("head", "text", &[(0, 1)]),
        "more" => {
            let end = u32::try_from(body.len()).unwrap_or_default();
            inbound::redact("body", "text", &[(end - 1, end)]);
        }
        "flood" => (0..200).for_each(|_| inbound::redact("body", "text", &[(0, 1); 100])),
        "reject" => return Err(outcomes::rejection(422, "not_wanted", &read)),
        "trap" => drop(commit("trap")),
        "spin" => drop(commit("spin")),
        "breach" => {
            verification::verify_equal("inner", &read);
            verification::verify_header(&read);
        }
        _ => {}
    }
    let mut outcome = outcomes::accepted(&serde_json::json!({ "original": read }).to_string());
    if let Some(event) = outcome.events.first_mut() {
        event.subject = Some(read.clone());
        event.partition_key = Some(read.clone());
        event.idempotency = Some(key(&hex(&inbound::body_sha256())));
        if word == "broken" {
            event.type_ = read.clone();
        }
    }
    if let Some(fact) = outcome.facts.first_mut() {
        fact.value = read.clone();
    }
    outcome.answer.body = read.into_bytes();
    Ok(outcome)
}

/// What stands between the marks.
fn spans(text: &[u8], open: u8, close: u8) -> Vec<(u32, u32)> {
    let mut spans = Vec::new();
    let mut start = None;
    for (at, byte) in (0_u32..).zip(text) {
        if *byte == open {
            start = Some(at + 1);
        } else if *byte == close
            && let Some(start) = start.take()
        {
            spans.push((start, at));
        }
    }
    spans
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
