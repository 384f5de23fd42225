//! Signs a changed request again, as its provider would.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plugin_sdk::testing::fixture::Case;
use ring::hmac;
use serde_json::Value;

/// The role of keys of codes, in every bundled adapter.
const KEY: &str = "hmac_key";

/// Fields that Ottu's first scheme signs, in order.
const OTTU_FIELDS: [&str; 18] = [
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

/// What its second scheme signs beside them, before the name that it comes before.
const OTTU_MORE: [&str; 8] = [
    "agreement.id",
    "extra.autopay.subscription_id",
    "extra.merchant_id",
    "payment_type",
    "session_id",
    "token.customer_id",
    "token.pg_code",
    "token.token",
];

/// Puts the right code where the adapter looks for it, if the case has a key for one.
pub(super) fn sign(adapter: &str, case: &mut Case) {
    let Some(key) = case.secrets.get(KEY).and_then(|values| values.first()) else { return };
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    if adapter == "ottu" {
        sign_ottu(case, &key);
    } else if let Some(arranged) = case.settings.get("hmac").cloned() {
        sign_header(case, &key, &arranged);
    }
}

/// `settings::MacHeader` of the SDK.
fn sign_header(case: &mut Case, key: &hmac::Key, arranged: &Value) {
    let text = |name: &str| arranged.get(name).and_then(Value::as_str).unwrap_or_default();
    let sorted = || {
        let text = std::str::from_utf8(&case.request.body).ok()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        plugin_sdk::json::to_sorted(text).ok()
    };
    let message = match text("input") {
        "sorted-json" => sorted().map(|text| text.as_bytes().to_vec()).unwrap_or_default(),
        _ => case.request.body.clone(),
    };
    let code = hmac::sign(key, &message);
    let code = match text("encoding") {
        "base64" => STANDARD.encode(code),
        _ => hex::encode(code),
    };
    let (name, value) = (text("header"), format!("{}{code}", text("prefix")));
    for (each, old) in &mut case.request.headers {
        if each.eq_ignore_ascii_case(name) {
            old.clone_from(&value);
        }
    }
}

/// A field `signature` in the body, over others of its fields.
fn sign_ottu(case: &mut Case, key: &hmac::Key) {
    let body = case.request.body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&case.request.body);
    let Ok(Value::Object(mut body)) = serde_json::from_slice(body) else { return };
    if !body.contains_key("signature") {
        return;
    }
    let schemes = case.settings.get("schemes").map_or_else(String::new, Value::to_string);
    let only_second = schemes.contains("subscription") && !schemes.contains("standard");
    let whole = Value::Object(body.clone());
    let value_of = |path: &str| {
        let found = whole.pointer(&format!("/{}", path.replace('.', "/")))?;
        let text = match found {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    };
    let message = if only_second {
        let mut paths = [&OTTU_FIELDS[..], &OTTU_MORE[..]].concat();
        paths.sort_unstable();
        let lines = paths.iter().filter_map(|path| Some(format!("{path}={}", value_of(path)?)));
        lines.collect::<Vec<_>>().join("\n")
    } else {
        let pieces =
            OTTU_FIELDS.iter().filter_map(|name| Some(format!("{name}{}", value_of(name)?)));
        pieces.collect::<String>()
    };
    let code = hex::encode(hmac::sign(key, message.as_bytes()));
    body.insert("signature".to_owned(), Value::String(code));
    case.request.body = Value::Object(body).to_string().into_bytes();
}
