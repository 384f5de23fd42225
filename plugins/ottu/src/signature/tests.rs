//! The messages of the known answers, and what of a text is ambiguous.

use plugin_sdk::json::read_object;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::*;

#[derive(Deserialize)]
struct Vector {
    id: String,
    scheme: Scheme,
    payload: Value,
    message: String,
}

fn values(payload: &str, scheme: Scheme) -> Vec<(usize, String)> {
    let document = read_object::<Payload<'_>>(payload).unwrap();
    let values = signed_values(scheme, &document.value).unwrap();
    values.into_iter().map(|(index, value)| (index, value.into_owned())).collect()
}

fn borrowed(values: &[(usize, String)]) -> Vec<SignedValue<'_>> {
    values.iter().map(|(index, value)| (*index, Cow::Borrowed(value.as_str()))).collect()
}

fn message_of(payload: &str, scheme: Scheme) -> String {
    message(scheme, &borrowed(&values(payload, scheme)))
}

#[test]
fn every_known_answer_has_its_message() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../tests/ottu_vectors.json")).unwrap();
    assert_eq!(vectors.len(), 6);
    for vector in vectors {
        let payload = vector.payload.to_string();
        assert_eq!(message_of(&payload, vector.scheme), vector.message, "{}", vector.id);
    }
}

#[test]
fn names_are_in_order_and_18_of_them_standard() {
    assert!(FIELDS.is_sorted_by_key(|field| field.name));
    assert_eq!(FIELDS.iter().filter(|field| field.is_standard).count(), 18);
    for field in &FIELDS {
        assert_eq!(field.underscore, field.name.find('_'), "{}", field.name);
        // What `names_within` looks for.
        let word = field.name.split_once('_').filter(|_| field.is_standard);
        assert!(word.is_none_or(|(word, _)| word.ends_with(['r', 'y', 'e'])), "{}", field.name);
    }
}

/// Each field of the second scheme at its path, with a value of its own.
#[test]
fn nested_fields_are_found_and_what_is_no_object_has_none() {
    let payload = r#"{"agreement":{"id":"1"},"extra":{"autopay":{"subscription_id":"2"},"merchant_id":"3"},
        "payment_type":"4","session_id":"5","token":{"customer_id":"6","pg_code":"7","token":"8"}}"#;
    let expected = "agreement.id=1\nextra.autopay.subscription_id=2\nextra.merchant_id=3\n\
                    payment_type=4\nsession_id=5\ntoken.customer_id=6\ntoken.pg_code=7\ntoken.token=8";
    assert_eq!(message_of(payload, Scheme::Subscription), expected);
    assert_eq!(message_of(payload, Scheme::Standard), "");
    let odd = r#"{"agreement":"id","extra":[{"merchant_id":"3"}],"token":null,"session_id":"5"}"#;
    assert_eq!(message_of(odd, Scheme::Subscription), "session_id=5");
}

#[test]
fn only_texts_and_whole_numbers_are_signable() {
    let text = |amount: &str| {
        let payload = format!(r#"{{"amount":{amount}}}"#);
        let document = read_object::<Payload<'_>>(&payload).unwrap();
        let values = signed_values(Scheme::Standard, &document.value);
        values.map(|values| message(Scheme::Standard, &values)).map_err(|refusal| refusal.code())
    };
    for (amount, expected) in [
        (r#""86.000""#, Ok("amount86.000")),
        (r#"" 86 ""#, Ok("amount 86 ")),
        (r#""\u0038\u00e9""#, Ok("amount8é")),
        (r#""0""#, Ok("amount0")),
        ("0", Ok("amount0")),
        ("15", Ok("amount15")),
        ("-15", Ok("amount-15")),
        (r#""""#, Ok("")),
        ("null", Ok("")),
        ("15.0", Err("signed_value_type")),
        ("1e3", Err("signed_value_type")),
        ("true", Err("signed_value_type")),
        ("{}", Err("signed_value_type")),
        ("[]", Err("signed_value_type")),
    ] {
        let told = text(amount);
        assert_eq!(told.as_deref().map_err(|code| *code), expected, "{amount}");
    }
}

fn ambiguous(scheme: Scheme, fields: &[(&str, &str)]) -> bool {
    let mut payload: Map<String, Value> = [
        ("amount", "1.000"),
        ("gateway_name", "knet"),
        ("reference_number", "stage45F3C"),
        ("result", "success"),
    ]
    .map(|(name, value)| (name.to_owned(), Value::from(value)))
    .into_iter()
    .collect();
    for (name, value) in fields {
        payload.insert((*name).to_owned(), Value::from(*value));
    }
    let values = values(&Value::Object(payload).to_string(), scheme);
    is_ambiguous(scheme, &borrowed(&values))
}

#[test]
fn ambiguous_are_texts_with_another_reading() {
    let standard = |fields: &[(&str, &str)]| ambiguous(Scheme::Standard, fields);
    for (fields, expected) in [
        // Nothing odd; and words that addresses have.
        (&[("state", "paid")][..], false),
        (&[("state", "paid"), ("customer_address_line1", "12 Paramount estate")], false),
        (&[("state", "paid"), ("customer_address_state", "results")], false),
        // The name of a field that is absent and comes later.
        (&[("state", "paid"), ("customer_first_name", "Acustomer_last_nameB")], true),
        (&[("order_no", "5stateless")], true),
        (&[("reference_number", "1resultsuccess"), ("result", "")], true),
        // Of one that comes later, earlier, or is its own, present or not.
        (&[("state", "paid"), ("customer_first_name", "Aorder_no"), ("order_no", "7")], true),
        (&[("state", "paid"), ("order_no", "7gateway_account8")], true),
        (&[("state", "paid"), ("order_no", "order_no")], true),
        // Across the boundary of a name and its value.
        (&[("state", "paid"), ("order_no", "rder_no5")], true),
        (&[("state", "paid"), ("gateway_name", "kgateway_nam"), ("order_no", "7")], false),
        // `result` where it could be the field.
        (&[("state", "paidresultsuccess")], true),
        (&[("state", "paid"), ("reference_number", "1result")], true),
    ] {
        assert_eq!(standard(fields), expected, "{fields:?}");
    }
}

#[test]
fn in_the_second_scheme_only_a_line_can_be_a_field() {
    for (value, expected) in [
        ("gateway_account7", false),
        ("a\nb", false),
        ("a\norder_no", false),
        ("order_no=7", false),
        ("a\norder_no=7", true),
        ("a\n\ntoken.token=", true),
    ] {
        let told = ambiguous(Scheme::Subscription, &[("customer_first_name", value)]);
        assert_eq!(told, expected, "{value:?}");
    }
}
