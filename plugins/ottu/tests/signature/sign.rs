//! Signs as Ottu's documentation says, without the adapter's help.

use ottu::Ottu;
use plugin_sdk::testing::{Request, Run, Script};
use ring::hmac;
use serde_json::{Map, Value};

pub(crate) type Payload = Map<String, Value>;

/// Of the known answers.
pub(crate) const KEY: &str = "pu9MpX3yPR";

/// What the first scheme covers, sorted.
pub(crate) const STANDARD: [&str; 18] = [
    "amount",
    "currency_code",
    "customer_address_city",
    "customer_address_country",
    "customer_address_line1",
    "customer_address_line2",
    "customer_address_postal_code",
    "customer_address_state",
    "customer_email",
    "customer_first_name",
    "customer_last_name",
    "customer_phone",
    "gateway_account",
    "gateway_name",
    "order_no",
    "reference_number",
    "result",
    "state",
];

/// What the second covers beside them.
pub(crate) const FURTHER: [&str; 8] = [
    "agreement.id",
    "extra.autopay.subscription_id",
    "extra.merchant_id",
    "payment_type",
    "session_id",
    "token.customer_id",
    "token.pg_code",
    "token.token",
];

/// A JSON object as written in a test.
pub(crate) fn payload(text: &str) -> Payload {
    serde_json::from_str(text).expect("the test's payload is an object")
}

fn said(payload: &Payload, path: &str) -> Option<String> {
    let mut keys = path.split('.');
    let first = payload.get(keys.next()?)?;
    let value = keys.try_fold(first, |value, key| value.get(key))?;
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

pub(crate) fn standard_message(payload: &Payload) -> String {
    let parts = STANDARD.iter().filter_map(|name| Some(format!("{name}{}", said(payload, name)?)));
    parts.collect()
}

pub(crate) fn subscription_message(payload: &Payload) -> String {
    let mut paths: Vec<&str> = STANDARD.into_iter().chain(FURTHER).collect();
    paths.sort_unstable();
    let lines: Vec<String> =
        paths.iter().filter_map(|path| Some(format!("{path}={}", said(payload, path)?))).collect();
    lines.join("\n")
}

pub(crate) fn code(key: &str, message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hex::encode(hmac::sign(&key, message.as_bytes()))
}

/// The payload with a signature of the first scheme under [`KEY`].
pub(crate) fn signed(mut payload: Payload) -> Payload {
    let signature = code(KEY, &standard_message(&payload));
    payload.insert("signature".to_owned(), signature.into());
    payload
}

/// The payload with a signature of the second scheme under [`KEY`].
pub(crate) fn signed_second(mut payload: Payload) -> Payload {
    let signature = code(KEY, &subscription_message(&payload));
    payload.insert("signature".to_owned(), signature.into());
    payload
}

/// A request with this body on a route with this key.
pub(crate) fn script(key: &str, body: impl Into<Vec<u8>>) -> Script {
    Script {
        request: Request { body: body.into(), ..Request::default() },
        secrets: [("hmac_key".to_owned(), vec![key.to_owned()])].into(),
        ..Script::default()
    }
}

/// What becomes of a body on a route with [`KEY`].
pub(crate) fn receive(body: impl Into<Vec<u8>>) -> Run {
    plugin_sdk::testing::receive::<Ottu>(&script(KEY, body)).expect("the contract is kept")
}

/// The code of a refusal, or `Ok` with type and data of the one event.
pub(crate) fn end(run: &Run) -> Result<(String, Value), &'static str> {
    let outcome = run.end.as_ref().map_err(|refusal| refusal.code())?;
    let events: Vec<_> = outcome.event_types().zip(outcome.event_data()).collect();
    assert_eq!(events.len(), 1, "one event for each webhook");
    let (kind, data) = events.first().expect("counted");
    Ok(((*kind).to_owned(), serde_json::from_str(data).expect("the data is JSON")))
}
