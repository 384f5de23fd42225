//! Every fixture, run natively, and every field of the provider's documentation.

use ottu::Ottu;
use plugin_sdk::testing::Script;
use serde_json::Value;

#[expect(dead_code, reason = "the tests of the signature use the rest")]
#[path = "signature/sign.rs"]
mod sign;

/// What the property test fills in; the last ones are unknown to the adapter.
const FIELDS: [&str; 20] = [
    "agreement",
    "amount_details",
    "customer_id",
    "extra",
    "fee",
    "gateway_response",
    "initiator",
    "is_sandbox",
    "message",
    "operation",
    "paid_amount",
    "payment_type",
    "pg_params",
    "session_id",
    "timestamp_utc",
    "token",
    "transactions",
    "txn",
    "Amount",
    "new",
];
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

/// Where a body of `fields.toml` wants a signature. One that has another text there is sent as it
/// is, on a route that lets operations pass unsigned.
const TO_SIGN: &str = "to be signed";

#[test]
fn every_fixture_natively() {
    plugin_sdk::testing::fixture::assert_native::<Ottu>(FIXTURES);
}

#[test]
fn every_documented_field_is_carried() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fields.toml");
    plugin_sdk::testing::fields::assert_carried_as::<Ottu>(file, prepare);
}

fn prepare(script: &mut Script) {
    let payload: sign::Payload =
        serde_json::from_slice(&script.request.body).expect("a body of the file is an object");
    if payload.get("signature").and_then(Value::as_str) != Some(TO_SIGN) {
        script.settings = serde_json::json!({ "operation_signature": "optional" });
        return;
    }
    let body = Value::Object(sign::signed(payload)).to_string();
    *script = sign::script(sign::KEY, body);
}

/// Whatever is sent, the adapter answers within the contract, and what it accepts it carries
/// unchanged.
mod laws {
    use plugin_sdk::testing::{Request, Script, receive};
    use proptest::prelude::*;

    use super::*;

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i64>().prop_map(|value| value.to_string()),
            "-?[1-9][0-9]{0,40}\\.[0-9]{1,5}(e-?[0-9]{1,2})?",
            any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let key =
                prop_oneof![Just("amount"), Just("state"), Just("value"), Just("currency_code")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::btree_map(key, inner, 0..4).prop_map(|members| {
                    let members: Vec<_> =
                        members.iter().map(|(key, item)| format!("\"{key}\":{item}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_in_any_unsigned_field_leaves_an_event_with_the_original(
            values in prop::collection::vec(json(), FIELDS.len()), state in prop::option::of("[a-z]{1,9}"),
        ) {
            let signed = sign::payload(
                r#"{"amount":"1.000","reference_number":"r-1","result":"success","currency_code":"KWD"}"#,
            );
            let mut signed = signed;
            signed.extend(state.map(|state| ("state".to_owned(), Value::from(state))));
            let signed = Value::Object(sign::signed(signed)).to_string();
            let members: Vec<_> =
                FIELDS.iter().zip(&values).map(|(key, value)| format!("\"{key}\": {value}")).collect();
            let body = format!("{} , {}}}", signed.trim_end_matches('}'), members.join(" , "));
            let script = sign::script(sign::KEY, body.clone());
            let run = receive::<Ottu>(&script).map_err(|broken| TestCaseError::fail(broken.join(", ")))?;
            let outcome = run.end.map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
            for data in outcome.event_data() {
                let kept = format!("\"original\":{body}}}");
                prop_assert!(data.ends_with(&kept), "{}", data);
            }
        }

        #[test]
        fn any_value_in_any_field_leaves_an_answer_within_the_contract(
            values in prop::collection::vec(json(), sign::STANDARD.len()), optional: bool,
        ) {
            let names = sign::STANDARD.iter().chain(&["signature", "txn", "operation"]);
            let members: Vec<_> =
                names.zip(&values).map(|(key, value)| format!("\"{key}\": {value}")).collect();
            let body = format!("{{{}}}", members.join(" , "));
            let mut script = sign::script(sign::KEY, body);
            if optional {
                script.secrets.clear();
                script.settings = serde_json::json!({ "operation_signature": "optional" });
            }
            prop_assert!(receive::<Ottu>(&script).is_ok());
        }

        #[test]
        fn any_bytes_leave_an_answer_within_the_contract(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let request = Request { body, ..Request::default() };
            let script = Script { request, auth_none: true, ..Script::default() };
            prop_assert!(receive::<Ottu>(&script).is_ok());
        }
    }
}
