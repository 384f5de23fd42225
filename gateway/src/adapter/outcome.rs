//! What a guest returned, checked against the contract and turned into the gateway's own types.
//!
//! A result that breaks the contract ends the call as a trap: half of it is never used. Text that
//! only people read (facts, details) is cut to its bound instead, since a long one harms nobody.

mod event;

pub(super) use event::key;

use http::HeaderName;
use smol_str::SmolStr;

use super::text::{tame, tamed};
use super::v1::sluice::adapter::types;
use super::{Description, Outcome};
use crate::model::{Answer, Diagnosis, Fact, Rejection};

/// Events of one outcome: a large batch, and 64 times what any of our adapters makes at once.
const EVENTS_MAX: usize = 256;

/// Facts of one outcome; each may be a column on a page.
const FACTS_MAX: usize = 64;
const FACT_NAME_BYTES_MAX: usize = 64;
const FACT_VALUE_BYTES_MAX: usize = 1 << 10;

const REJECTION_DETAIL_BYTES_MAX: usize = 1 << 10;

/// What providers read of an answer is a line or two. With hyper's own headers this stays far
/// below the 8 KiB that proxies commonly allow for a head.
const ANSWER_HEADERS_MAX: usize = 32;
const ANSWER_HEADER_BYTES_MAX: usize = 4 << 10;
const ANSWER_BODY_BYTES_MAX: usize = 64 << 10;

/// Headers that describe the connection or the message's framing (RFC 9110 section 7.6.1); an
/// adapter that could set them could break the framing.
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

/// Checks an outcome. The error is a sentence for the operator.
pub(super) fn outcome(
    returned: types::Outcome,
    description: &Description,
) -> Result<Outcome, String> {
    let accepted = match returned.disposition.as_str() {
        "accepted" => true,
        "ignored" if returned.events.is_empty() => false,
        "ignored" => return Err("an `ignored` outcome has no events".to_owned()),
        other => {
            let other = tame(other, FACT_NAME_BYTES_MAX);
            return Err(format!("a disposition is `accepted` or `ignored`, not `{other}`"));
        }
    };
    if returned.events.len() > EVENTS_MAX {
        return Err(format!("{} events; at most {EVENTS_MAX}", returned.events.len()));
    }
    if returned.facts.len() > FACTS_MAX {
        return Err(format!("{} facts; at most {FACTS_MAX}", returned.facts.len()));
    }
    let events = returned
        .events
        .into_iter()
        .enumerate()
        .map(|(index, each)| {
            event::event(each, description).map_err(|error| format!("event {index}: {error}"))
        })
        .collect::<Result<_, _>>()?;
    let facts = returned.facts.into_iter().map(fact).collect::<Result<_, _>>()?;
    let answer = answer(returned.answer).map_err(|error| format!("answer: {error}"))?;
    let duplicate_answer = returned
        .duplicate_answer
        .map(self::answer)
        .transpose()
        .map_err(|error| format!("duplicate answer: {error}"))?;
    Ok(Outcome { accepted, events, facts, answer, duplicate_answer })
}

/// Checks a rejection.
pub(super) fn rejection(returned: &types::Rejection) -> Result<Rejection, String> {
    if !(400..=599).contains(&returned.status) {
        return Err(format!("a rejection's status is 400 to 599, not {}", returned.status));
    }
    Ok(Rejection {
        status: returned.status,
        diagnosis: Diagnosis::from_guest(&returned.code),
        detail: tame(&returned.detail, REJECTION_DETAIL_BYTES_MAX),
    })
}

fn fact(returned: types::Fact) -> Result<Fact, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !(1..=FACT_NAME_BYTES_MAX).contains(&returned.name.len())
        || !returned.name.bytes().all(plain)
    {
        let name = tame(&returned.name, FACT_NAME_BYTES_MAX);
        return Err(format!("a fact's name is 1 to 64 of `a-z0-9_-`, not `{name}`"));
    }
    Ok(Fact { name: returned.name, value: tamed(returned.value, FACT_VALUE_BYTES_MAX) })
}

fn answer(returned: types::Answer) -> Result<Answer, String> {
    // Anything else from an outcome would say "not taken" of what was taken.
    if !(200..=299).contains(&returned.status) {
        return Err(format!("an outcome is answered 200 to 299, not {}", returned.status));
    }
    if matches!(returned.status, 204 | 205) && !returned.body.is_empty() {
        return Err(format!("{} has no body", returned.status));
    }
    if returned.body.len() > ANSWER_BODY_BYTES_MAX {
        return Err(format!(
            "a body of {} bytes; at most {ANSWER_BODY_BYTES_MAX}",
            returned.body.len()
        ));
    }
    Ok(Answer {
        status: returned.status,
        headers: headers(returned.headers)?,
        body: returned.body.into(),
    })
}

fn headers(returned: Vec<(String, String)>) -> Result<Vec<(SmolStr, SmolStr)>, String> {
    if returned.len() > ANSWER_HEADERS_MAX {
        return Err(format!("{} headers; at most {ANSWER_HEADERS_MAX}", returned.len()));
    }
    let bytes: usize = returned.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > ANSWER_HEADER_BYTES_MAX {
        return Err(format!("{bytes} bytes of headers; at most {ANSWER_HEADER_BYTES_MAX}"));
    }
    returned.into_iter().map(|(name, value)| header(&name, &value)).collect()
}

fn header(name: &str, value: &str) -> Result<(SmolStr, SmolStr), String> {
    let shown = || tame(name, FACT_NAME_BYTES_MAX);
    let lower = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{}` is no header name", shown()))?;
    if GATEWAYS_OWN_HEADERS.contains(&lower.as_str()) {
        return Err(format!("the header `{lower}` is the gateway's own"));
    }
    // Visible ASCII only: what a header means beyond it is anybody's guess.
    if !value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
        return Err(format!("the value of the header `{lower}` is not plain ASCII"));
    }
    Ok((lower.as_str().into(), value.into()))
}

#[cfg(test)]
mod tests;
