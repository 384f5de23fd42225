//! Which webhooks are the same event, and which only have one signature.

use ottu::Ottu;
use plugin_sdk::testing::{Run, Script, receive};
use serde_json::{Value, json};

use crate::sign::{self, KEY, Payload};

fn refund(session: &str, state: &str) -> Payload {
    let mut payload = sign::signed(sign::payload(
        r#"{"amount":"9.000","reference_number":"staging4AQ64A","result":"success"}"#,
    ));
    payload.insert("txn".to_owned(), json!({ "session_id": session, "state": state }));
    payload
}

/// Calls one after the other, on one state.
struct Calls(Script);

impl Calls {
    fn new() -> Self {
        let mut script = sign::script(KEY, "");
        script.state = Some(Default::default());
        Self(script)
    }

    fn receive(&mut self, payload: Payload) -> Run {
        self.0.request.body = Value::Object(payload).to_string().into_bytes();
        let run = receive::<Ottu>(&self.0).unwrap();
        self.0.state.clone_from(&run.state);
        run
    }
}

fn key(run: &Run) -> String {
    run.end.as_ref().unwrap().idempotency_keys().collect()
}

fn warnings(run: &Run) -> Vec<String> {
    let (_, data) = sign::end(run).unwrap();
    let warnings = data["warnings"].as_array().cloned().unwrap_or_default();
    warnings.iter().map(|each| each["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn two_partial_refunds_of_one_amount_are_two_events_and_the_second_is_warned_of() {
    let mut calls = Calls::new();
    let first = calls.receive(refund("s-1", "refunded"));
    let again = calls.receive(refund("s-1", "refunded"));
    let second = calls.receive(refund("s-2", "refunded"));
    let rejected = calls.receive(refund("s-1", "refund_rejected"));
    assert_eq!(key(&first), key(&again));
    let keys = [key(&first), key(&second), key(&rejected)];
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    assert!(warnings(&first).is_empty() && warnings(&again).is_empty());
    assert_eq!(warnings(&second), ["same_signature"]);
    assert_eq!(warnings(&rejected), ["same_signature"]);
}

#[test]
fn a_payment_with_other_unsigned_parts_is_the_same_event_and_keeps_no_state() {
    let mut calls = Calls::new();
    let mut payment = sign::signed(sign::payload(
        r#"{"amount":"9.000","reference_number":"r-1","result":"success","state":"paid"}"#,
    ));
    let first = calls.receive(payment.clone());
    payment.insert("txn".to_owned(), json!({ "session_id": "s-2", "state": "refunded" }));
    payment.insert("operation".to_owned(), json!("refund"));
    let second = calls.receive(payment);
    assert_eq!(key(&first), key(&second));
    assert!(warnings(&second).is_empty());
    assert_eq!(calls.0.state, Some(Default::default()));
}

#[test]
fn unsigned_operations_are_told_apart_by_what_they_say() {
    let base = json!({
        "amount": "14.00", "reference_number": "r-1", "result": "success",
        "txn": { "reference_number": "t-1", "state": "refunded" },
    });
    let key_of = |pointer: &str, value: &str| {
        let mut body = base.clone();
        if let Some(place) = body.pointer_mut(pointer) {
            *place = value.into();
        }
        let mut script = sign::script(KEY, body.to_string());
        script.secrets.clear();
        script.auth_none = true;
        script.settings = json!({ "operation_signature": "optional" });
        key(&receive::<Ottu>(&script).unwrap())
    };
    let first = key_of("/none", "");
    assert_eq!(first, key_of("/result", "success"));
    for (pointer, value) in [
        ("/amount", "15.00"),
        ("/reference_number", "r-2"),
        ("/result", "failed"),
        ("/txn/reference_number", "t-2"),
        ("/txn/state", "voided"),
    ] {
        assert_ne!(first, key_of(pointer, value), "{pointer}");
    }
}

/// Where no state is granted, as on a gateway without it, only the warning is missing.
#[test]
fn without_state_operations_are_taken_all_the_same() {
    let body = Value::Object(refund("s-1", "refunded")).to_string();
    let mut script = sign::script(KEY, body);
    script.state = None;
    assert!(receive::<Ottu>(&script).unwrap().end.is_ok());
}
