//! The first scheme joins names and values by nothing: `amount1.0order_no7`. Who saw one webhook
//! could send another whose fields begin elsewhere and whose signature is the same.

use proptest::prelude::*;
use serde_json::Value;

use crate::sign::{self, KEY, Payload, STANDARD};

/// Most readings of one text that are tried.
const READINGS_MAX: usize = 4_000;

/// Every way in which a message could have been put together, as far as there is room for them.
fn readings(message: &str) -> Vec<Payload> {
    let mut found = Vec::new();
    read(message, 0, &mut Vec::new(), &mut found);
    found
}

/// Goes on from where a name must begin; names before `first` have had their turn.
fn read<'m>(
    rest: &'m str,
    first: usize,
    so_far: &mut Vec<(&'static str, &'m str)>,
    found: &mut Vec<Payload>,
) {
    for (index, name) in STANDARD.iter().enumerate().skip(first) {
        let Some(after) = rest.strip_prefix(name) else { continue };
        for (end, _) in after.char_indices().skip(1).chain([(after.len(), ' ')]) {
            let (value, rest) = after.split_at(end);
            if value.is_empty() || found.len() >= READINGS_MAX {
                continue;
            }
            so_far.push((name, value));
            if rest.is_empty() {
                let fields = so_far.iter();
                found.push(fields.map(|(n, v)| ((*n).to_owned(), Value::from(*v))).collect());
            } else {
                read(rest, index + 1, so_far, found);
            }
            so_far.pop();
        }
    }
}

fn is_accepted(payload: &Payload, signature: &str) -> bool {
    let mut payload = payload.clone();
    payload.insert("signature".to_owned(), signature.into());
    sign::receive(Value::Object(payload).to_string()).end.is_ok()
}

/// The readings of the payload's message that are accepted with its signature.
fn accepted(payload: &Payload) -> Vec<Payload> {
    let message = sign::standard_message(payload);
    let signature = sign::code(KEY, &message);
    let all = readings(&message);
    assert!(all.len() == READINGS_MAX || all.contains(payload), "{payload:?}");
    all.into_iter().filter(|reading| is_accepted(reading, &signature)).collect()
}

fn sample(text: &str) -> Payload {
    sign::payload(text)
}

#[test]
fn every_other_reading_of_the_samples_is_refused() {
    for text in [
        r#"{"amount":"15.00","currency_code":"SAR","gateway_account":"credit-card-test",
            "gateway_name":"mpgs","reference_number":"stage45F3C","result":"error",
            "state":"attempted"}"#,
        r#"{"amount":"86.000","currency_code":"KWD","customer_address_city":"Salmiya",
            "customer_address_line1":"12 Paramount estate","customer_address_state":"Hawalli",
            "customer_first_name":"أحمد","order_no":"0","reference_number":"stgREF01",
            "result":"success","state":"paid"}"#,
        r#"{"amount":"9.000","order_no":"Y3ODg","reference_number":"staging4AQ64A",
            "result":"success"}"#,
    ] {
        let payload = sample(text);
        let readings = readings(&sign::standard_message(&payload));
        assert!(readings.len() >= 8, "{} readings", readings.len());
        println!("{} readings", readings.len());
        assert_eq!(accepted(&payload), [payload]);
    }
}

/// Merged fields are told as what they are.
#[test]
fn a_field_that_took_in_the_next_is_ambiguous() {
    let payload = sample(
        r#"{"amount":"15.00","currency_code":"SAR","customer_first_name":"A","order_no":"7",
            "reference_number":"stage45F3C","result":"error","state":"attempted"}"#,
    );
    let signature = sign::code(KEY, &sign::standard_message(&payload));
    let names: Vec<&String> = payload.keys().collect();
    for [before, after] in names.array_windows() {
        let mut merged = payload.clone();
        let taken = merged.remove(after.as_str()).unwrap();
        let joined = format!(
            "{}{after}{}",
            merged[before.as_str()].as_str().unwrap(),
            taken.as_str().unwrap()
        );
        merged.insert((*before).clone(), joined.into());
        merged.insert("signature".to_owned(), signature.clone().into());
        let run = sign::receive(Value::Object(merged).to_string());
        assert_eq!(sign::end(&run).unwrap_err(), "ambiguous_signature", "{before} and {after}");
    }
}

/// Text made of names, pieces of names and little else.
fn tricky() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(STANDARD.to_vec());
    let piece = prop_oneof![
        4 => "[a-z0-9 ]{1,3}",
        2 => name().prop_map(str::to_owned),
        2 => (name(), any::<prop::sample::Index>())
            .prop_map(|(name, at)| name.split_at(at.index(name.len())).1.to_owned()),
        2 => (name(), any::<prop::sample::Index>())
            .prop_map(|(name, at)| name.split_at(at.index(name.len()) + 1).0.to_owned()),
        1 => Just("success".to_owned()),
        1 => Just("paid".to_owned()),
    ];
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn tricky_payload() -> impl Strategy<Value = Payload> {
    let free = [
        "customer_address_state",
        "customer_first_name",
        "customer_last_name",
        "gateway_name",
        "order_no",
    ];
    (
        "[0-9]{1,3}(\\.[0-9]{1,3})?",
        prop::option::of("[A-Z]{3}"),
        prop::collection::btree_map(prop::sample::select(free.to_vec()), tricky(), 0..4),
        prop_oneof!["[a-zA-Z0-9]{1,8}", tricky()],
        prop::sample::select(vec!["success", "failed", "error", "queued"]),
        prop::option::of(prop_oneof![Just("paid".to_owned()), Just("failed".to_owned()), tricky()]),
    )
        .prop_map(|(amount, currency, free, reference, result, state)| {
            let mut payload = Payload::new();
            let mut put = |name: &str, value: String| payload.insert(name.to_owned(), value.into());
            put("amount", amount);
            put("reference_number", reference);
            put("result", result.to_owned());
            currency.map(|currency| put("currency_code", currency));
            state.map(|state| put("state", state));
            for (name, value) in free {
                put(name, value);
            }
            payload
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Of everything that has one signature, at most one payload is accepted.
    #[test]
    fn a_signature_has_at_most_one_reading(payload in tricky_payload()) {
        let accepted = accepted(&payload);
        prop_assert!(accepted.len() <= 1, "{:?}", accepted);
        if let [one] = accepted.as_slice() {
            prop_assert!(is_accepted(one, &sign::code(KEY, &sign::standard_message(&payload))));
        }
    }

    /// Characters that change sides change the message.
    #[test]
    fn characters_moved_between_fields_are_refused(
        amount in "[1-9][0-9]{1,4}\\.[0-9]{3}", order in "[A-Za-z0-9]{2,8}", at: prop::sample::Index,
    ) {
        let payload = sample(&format!(
            r#"{{"amount":"{amount}","order_no":"{order}","reference_number":"r-1","result":"success","state":"paid"}}"#
        ));
        let signature = sign::code(KEY, &sign::standard_message(&payload));
        prop_assert!(is_accepted(&payload, &signature));
        let both = format!("{amount}{order}");
        let cut = at.index(both.len() + 1);
        prop_assume!(cut != amount.len());
        let mut moved = payload;
        let (amount, order) = both.split_at(cut);
        moved.insert("amount".to_owned(), amount.into());
        moved.insert("order_no".to_owned(), order.into());
        prop_assert!(!is_accepted(&moved, &signature));
    }
}
