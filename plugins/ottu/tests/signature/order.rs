use proptest::prelude::*;
use serde_json::Value;

use crate::sign::{self, Payload, STANDARD};

/// What Ottu sends beside the fields of the first scheme; whoever saw a webhook can change it.
const UNSIGNED: [&str; 38] = [
    "agreement",
    "amount_details",
    "capture_delivery_address",
    "capture_delivery_location",
    "card_acceptance_criteria",
    "customer_birthdate",
    "customer_id",
    "customer_wallet_transactions",
    "detail",
    "extra",
    "fee",
    "gateway_response",
    "initiator",
    "is_sandbox",
    "message",
    "operation",
    "paid_amount",
    "payment_type",
    "pg_code",
    "pg_params",
    "pg_response",
    "refunded_amount",
    "remaining_amount",
    "session_id",
    "settled_amount",
    "source",
    "success",
    "timestamp_utc",
    "token",
    "total_authorized_amount",
    "total_paid_amount",
    "total_refunded_amount",
    "total_voided_amount",
    "transaction_log_id",
    "transactions",
    "txn",
    "voided_amount",
    "something_new",
];

/// Any JSON, and what would make an operation or another payment of it.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop::sample::select(vec!["refund", "void", "paid", "refunded", "2026-01-02 03:04:05"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop_oneof!["[a-z]{1,6}", Just("state".to_owned()), Just("value".to_owned())];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn payment() -> Payload {
    sign::payload(
        r#"{"amount":"86.000","currency_code":"KWD","customer_first_name":"أحمد",
            "customer_address_line1":"Paramount estate 4","gateway_account":"knet-test",
            "gateway_name":"knet","order_no":"0","reference_number":"stgREF01","result":"success",
            "state":"paid"}"#,
    )
}

fn refund() -> Payload {
    sign::payload(
        r#"{"amount":"9.000","order_no":"Y3ODg","reference_number":"staging4AQ64A",
            "result":"success"}"#,
    )
}

/// A JSON object with these members in this order.
fn written(members: &[(String, Value)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{} : {value}", Value::from(name.as_str())))
        .collect();
    format!("{{ {} }}", members.join(" , "))
}

/// The members of a signed payload and further ones, shuffled. `fixed` are neither signed nor
/// changed.
fn shuffled(base: Payload, fixed: &'static [&'static str]) -> impl Strategy<Value = String> {
    let free: Vec<&str> = UNSIGNED.into_iter().filter(|name| !fixed.contains(name)).collect();
    let additions = prop::collection::btree_map(prop::sample::select(free), value(), 0..12);
    additions
        .prop_flat_map(move |additions| {
            let mut members: Vec<(String, Value)> = base.clone().into_iter().collect();
            members.extend(additions.into_iter().map(|(name, value)| (name.to_owned(), value)));
            Just(members).prop_shuffle()
        })
        .prop_map(|members| written(&members))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A payment stays the payment it is, whatever is added that nobody signed.
    #[test]
    fn a_payment_in_any_order_with_any_additions_is_the_same(
        body in shuffled(sign::signed(payment()), &[]),
    ) {
        let (kind, data) = sign::end(&sign::receive(body)).unwrap();
        prop_assert_eq!(kind, "com.ottu.payment.paid");
        prop_assert_eq!(&data["kind"], "payment");
        prop_assert_eq!(&data["amount"]["minor_units"], 86_000);
        prop_assert_eq!(&data["verification"]["scheme"], "standard");
        let verified = data["verification"]["verified_fields"].as_array().unwrap();
        prop_assert_eq!(verified.len(), payment().len());
    }

    /// Which operation it is nobody signs: `operation` and `txn` stay as they are here.
    #[test]
    fn an_operation_in_any_order_with_any_additions_is_the_same(
        body in shuffled(
            {
                let mut refund = sign::signed(refund());
                refund.insert("operation".to_owned(), Value::Null);
                let txn = r#"{"amount":"9.000","currency_code":"KWD","state":"refunded","session_id":"s"}"#;
                refund.insert("txn".to_owned(), serde_json::from_str(txn).unwrap());
                refund
            },
            &["operation", "txn"],
        ),
    ) {
        let (kind, data) = sign::end(&sign::receive(body)).unwrap();
        prop_assert_eq!(kind, "com.ottu.operation.refund");
        let expected = serde_json::json!(["amount", "order_no", "reference_number", "result"]);
        prop_assert_eq!(&data["verification"]["verified_fields"], &expected);
    }

    /// Nothing that nobody signed makes a second event of a payment.
    #[test]
    fn whatever_is_added_to_a_payment_its_key_is_the_same(
        bodies in prop::collection::vec(shuffled(sign::signed(payment()), &[]), 2),
    ) {
        let keys: Vec<String> = bodies
            .iter()
            .map(|body| sign::receive(body.clone()).end.unwrap().idempotency_keys().collect())
            .collect();
        prop_assert_eq!(&keys[0], &keys[1]);
    }

    /// Emptied fields are as absent ones: Ottu signs neither.
    #[test]
    fn empty_and_null_fields_are_not_signed(
        names in prop::sample::subsequence(STANDARD.to_vec(), 0..=18), null: bool,
    ) {
        let mut payload = payment();
        let empty = if null { Value::Null } else { Value::from("") };
        for name in names {
            payload.entry(name).or_insert_with(|| empty.clone());
        }
        let told = sign::end(&sign::receive(Value::Object(sign::signed(payload)).to_string()));
        prop_assert_eq!(told.unwrap().0, "com.ottu.payment.paid");
    }
}
