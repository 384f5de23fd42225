//! One event of an outcome, and idempotency keys.

use std::str::FromStr as _;

use serde::de::IgnoredAny;

use super::super::v1::sluice::adapter::types;
use super::super::{Description, OutcomeEvent};
use super::tame;
use crate::model::{IdempotencyKey, KeyScope};

/// Longest subject and partition key, in bytes: both become headers in some bindings.
const ATTRIBUTE_BYTES_MAX: usize = 512;

const KEY_BYTES_MAX: usize = 256;
const KEY_WINDOW_SECONDS_MAX: u64 = 400 * 24 * 60 * 60;

/// Longest text that is shown in an error, in bytes.
const SHOWN_BYTES_MAX: usize = 64;

pub(super) fn event(
    returned: types::Event,
    description: &Description,
) -> Result<OutcomeEvent, String> {
    if !description.events.iter().any(|known| known.kind == returned.type_) {
        let kind = tame(&returned.type_, SHOWN_BYTES_MAX);
        return Err(format!("the type `{kind}` is not among those that `describe` lists"));
    }
    check_object(&returned.data)?;
    Ok(OutcomeEvent {
        kind: returned.type_,
        subject: returned.subject.map(|text| attribute("subject", text)).transpose()?,
        time: returned.time.map(time).transpose()?,
        data: returned.data,
        partition_key: returned
            .partition_key
            .map(|text| attribute("partition key", text))
            .transpose()?,
        key: returned.idempotency.map(key).transpose()?,
    })
}

/// Checks an idempotency key.
pub(in super::super) fn key(returned: types::IdempotencyKey) -> Result<IdempotencyKey, String> {
    if !(1..=KEY_BYTES_MAX).contains(&returned.value.len()) {
        let length = returned.value.len();
        return Err(format!("an idempotency key has 1 to {KEY_BYTES_MAX} bytes, not {length}"));
    }
    if !(1..=KEY_WINDOW_SECONDS_MAX).contains(&returned.window_seconds) {
        let window = returned.window_seconds;
        return Err(format!("a key's window is 1 second to 400 days, not {window} s"));
    }
    let scope = match returned.scope.as_str() {
        "route" => KeyScope::Route,
        "adapter" => KeyScope::Adapter,
        other => {
            let other = tame(other, SHOWN_BYTES_MAX);
            return Err(format!("a key's scope is `route` or `adapter`, not `{other}`"));
        }
    };
    Ok(IdempotencyKey { value: returned.value, scope, window_seconds: returned.window_seconds })
}

/// Checks that a text is one JSON object, without building it.
fn check_object(data: &str) -> Result<(), String> {
    let blank = |c| matches!(c, ' ' | '\t' | '\r' | '\n');
    if !data.trim_start_matches(blank).starts_with('{') {
        return Err("its data is not a JSON object".to_owned());
    }
    serde_json::from_str::<IgnoredAny>(data).map(drop).map_err(|error| {
        format!("its data is not JSON: line {}, column {}", error.line(), error.column())
    })
}

fn attribute(what: &str, text: String) -> Result<String, String> {
    if !(1..=ATTRIBUTE_BYTES_MAX).contains(&text.len()) {
        return Err(format!("its {what} has {} bytes; 1 to {ATTRIBUTE_BYTES_MAX}", text.len()));
    }
    // CloudEvents 1.0 section 3.1: no control characters in a string attribute.
    if text.contains(char::is_control) {
        return Err(format!("its {what} has control characters"));
    }
    Ok(text)
}

/// Reads an RFC 3339 time and writes it in UTC.
fn time(text: String) -> Result<String, String> {
    let wrong = || format!("its time `{}` is not RFC 3339", tame(&text, SHOWN_BYTES_MAX));
    if !is_rfc3339_shaped(text.as_bytes()) {
        return Err(wrong());
    }
    let instant = jiff::Timestamp::from_str(&text).map_err(|_| wrong())?;
    Ok(if text.ends_with('Z') { text } else { instant.to_string() })
}

/// RFC 3339 section 5.6, without its leniences (lower case, a space for the `T`): the time is
/// passed on to readers who may not know them. Whether the numbers are a time is checked apart.
fn is_rfc3339_shaped(text: &[u8]) -> bool {
    let pattern = |text: &[u8], pattern: &[u8]| {
        text.len() == pattern.len()
            && text.iter().zip(pattern).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                _ => byte == form,
            })
    };
    let Some((seconds, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let digits = rest.iter().skip(1).take_while(|b| b.is_ascii_digit()).count();
    let zone = match rest.first() {
        Some(b'.') if (1..=9).contains(&digits) => rest.get(1 + digits..).unwrap_or_default(),
        Some(b'.') | None => return false,
        Some(_) => rest,
    };
    pattern(seconds, b"0000-00-00T00:00:00") && (zone == b"Z" || pattern(zone, b"+00:00"))
}
