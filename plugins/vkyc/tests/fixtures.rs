//! Every fixture, run natively, and every field of the provider's documentation.

use vkyc::Vkyc;

const FIELDS: [&str; 8] = [
    "appId",
    "transactionId",
    "eventDetails",
    "eventVersion",
    "eventType",
    "eventTime",
    "eventId",
    "extra",
];
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

#[test]
fn every_fixture_natively() {
    plugin_sdk::testing::fixture::assert_native::<Vkyc>(FIXTURES);
}

#[test]
fn every_documented_field_is_carried() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fields.toml");
    plugin_sdk::testing::fields::assert_carried::<Vkyc>(file);
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
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(inner, 0..4).prop_map(|items| {
                    let members = items.iter().enumerate();
                    let members: Vec<_> =
                        members.map(|(key, item)| format!("\"k{key}\":{item}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_in_any_field_leaves_an_outcome_with_the_original(
            values in prop::collection::vec(json(), FIELDS.len()),
        ) {
            let members: Vec<_> =
                FIELDS.iter().zip(&values).map(|(key, value)| format!("\"{key}\": {value}")).collect();
            let body = format!("{{{}}}", members.join(" , "));
            let script = Script {
                request: Request { body: body.clone().into_bytes(), ..Request::default() },
                auth_none: true,
                ..Script::default()
            };
            let run = receive::<Vkyc>(&script).map_err(|broken| TestCaseError::fail(broken.join(", ")))?;
            if let Ok(outcome) = run.end {
                for data in outcome.event_data() {
                    let kept = format!("\"original\":{body}}}");
                    prop_assert!(data.ends_with(&kept), "{}", data);
                }
            }
        }

        #[test]
        fn any_bytes_leave_an_answer_within_the_contract(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let request = Request { body, ..Request::default() };
            let script = Script { request, auth_none: true, ..Script::default() };
            prop_assert!(receive::<Vkyc>(&script).is_ok());
        }
    }
}
