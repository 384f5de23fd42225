use plugin_sdk::verification::Found;
use serde::Deserialize;
use serde_json::Value;

use crate::sign::{self, Payload};

#[derive(Deserialize)]
struct Vector {
    id: String,
    scheme: String,
    key: String,
    payload: Payload,
    digest: String,
    expect: String,
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../ottu_vectors.json")).unwrap()
}

/// Those that lack fields without which there is no event are refused for that, not for their
/// signature.
#[test]
fn every_known_answer_verifies() {
    let mut accepted = 0;
    for Vector { id, scheme, key, mut payload, digest, expect } in vectors() {
        payload.insert("signature".to_owned(), digest.into());
        let script = sign::script(&key, Value::Object(payload).to_string());
        let run = plugin_sdk::testing::receive::<ottu::Ottu>(&script).unwrap();
        let last = run.verdicts.last().map(|verdict| (verdict.role.as_str(), verdict.found));
        assert_eq!(last, Some(("hmac_key", Found::Matched)), "{id}");
        match (expect.as_str(), sign::end(&run)) {
            ("accept", Ok((_, data))) => {
                assert_eq!(data["verification"]["scheme"], *scheme, "{id}");
                accepted += 1;
            }
            ("mac-valid", Err("missing_field")) => {}
            (_, told) => panic!("{id}: {told:?}"),
        }
    }
    assert_eq!(accepted, 4);
}

#[test]
fn another_key_or_digest_is_refused() {
    for Vector { id, mut payload, digest, .. } in vectors() {
        for (key, digest) in
            [("another-key", digest.as_str()), (sign::KEY, digest.split_at(62).0), (sign::KEY, "")]
        {
            payload.insert("signature".to_owned(), digest.into());
            let script = sign::script(key, Value::Object(payload.clone()).to_string());
            let run = plugin_sdk::testing::receive::<ottu::Ottu>(&script).unwrap();
            let expected =
                if digest.is_empty() { "signature_missing" } else { "signature_mismatch" };
            assert_eq!(sign::end(&run).unwrap_err(), expected, "{id}");
        }
    }
}

/// In capitals it would be another text for the same code, and so a webhook never seen before.
#[test]
fn a_signature_in_capitals_is_none() {
    let vector = vectors().into_iter().find(|vector| vector.id == "V4").unwrap();
    let mut payload = vector.payload;
    payload.insert("signature".to_owned(), vector.digest.to_ascii_uppercase().into());
    let run = sign::receive(Value::Object(payload).to_string());
    assert_eq!(sign::end(&run).unwrap_err(), "signature_mismatch");
}

#[test]
fn the_second_scheme_is_accepted_and_says_so_unless_it_is_switched_off() {
    let payload = sign::payload(
        r#"{"amount":"9.000","currency_code":"KWD","reference_number":"ref-1","result":"success",
            "state":"paid","session_id":"sess-1","payment_type":"auto_debit",
            "agreement":{"id":"agr-1"},"token":{"token":"tok-1","pg_code":"knet"},
            "extra":{"autopay":{"subscription_id":"sub-1"},"merchant_id":"m-1"}}"#,
    );
    let body = Value::Object(sign::signed_second(payload)).to_string();
    let (kind, data) = sign::end(&sign::receive(body.clone())).unwrap();
    assert_eq!(kind, "com.ottu.payment.paid");
    assert_eq!(data["verification"]["scheme"], "subscription");
    let fields = [
        "agreement.id",
        "amount",
        "currency",
        "extra.autopay.subscription_id",
        "extra.merchant_id",
        "payment_type",
        "reference_number",
        "result",
        "session_id",
        "state",
        "token.pg_code",
        "token.token",
    ];
    assert_eq!(data["verification"]["verified_fields"], serde_json::json!(fields));
    // Each of them is there.
    for field in fields {
        assert!(data.pointer(&format!("/{}", field.replace('.', "/"))).is_some(), "{field}");
    }
    let mut script = sign::script(sign::KEY, body);
    script.settings = serde_json::json!({ "schemes": ["standard"] });
    let run = plugin_sdk::testing::receive::<ottu::Ottu>(&script).unwrap();
    assert_eq!(sign::end(&run).unwrap_err(), "signature_mismatch");
}
