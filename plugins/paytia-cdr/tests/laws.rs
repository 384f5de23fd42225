//! Laws of the adapter: whatever is sent, it answers within the contract, and how a record is
//! wrapped makes no difference.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the way to tell")]

use paytia_cdr::PaytiaCdr;
use plugin_sdk::testing::{Request, Run, Script, receive};
use proptest::prelude::*;
use serde_json::{Map, Value};

const FIELDS: [&str; 20] = [
    "originator",
    "inddi",
    "incli",
    "instate",
    "intimes",
    "intimee",
    "outddi",
    "outcli",
    "outstate",
    "outtimes",
    "outtimee",
    "outtimea",
    "state",
    "statevalue",
    "agent_id",
    "hangFirstDir",
    "hangFirstEnd",
    "hangOutCause",
    "pan_digit",
    "extra",
];

const BOUNDARY: &str = "----the-boundary";

fn run(request: Request) -> Result<Run, TestCaseError> {
    let script = Script { request, auth_none: true, ..Script::default() };
    receive::<PaytiaCdr>(&script).map_err(|broken| TestCaseError::fail(broken.join(", ")))
}

fn posted(body: impl Into<Vec<u8>>) -> Request {
    Request { body: body.into(), ..Request::default() }
}

/// Type and data of the only event.
fn event(run: &Run) -> Value {
    let outcome = run.end.as_ref().unwrap();
    let data: Vec<_> = outcome.event_data().collect();
    assert_eq!(data.len(), 1);
    serde_json::from_str(data.first().unwrap()).unwrap()
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        "-?[1-9][0-9]{0,40}\\.[0-9]{1,5}(e-?[0-9]{1,2})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
        text().prop_map(|text| serde_json::to_string(&text).expect("a text is JSON")),
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

/// What stands in a record, and what does not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "17[67][0-9]{8}(\\.[0-9]{1,3})?",
        "17[67][0-9]{11}",
        "\\+?[1-9][0-9]{6,14}",
        "0[1-9][0-9]{2,3} [0-9]{6}",
        "(customer|MERCHANT|in|Out|local|REMOTE|anonymous|SIP 4[0-9]{2})",
        "payment_stage=[a-z_]{1,9}&pan=[0-9]{4,19}",
        "\\PC{0,20}",
        ".{0,8}",
    ]
}

/// Some fields with their values, in any order, each once.
fn record() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let fields = prop::sample::subsequence(FIELDS.to_vec(), 1..=FIELDS.len()).prop_shuffle();
    fields
        .prop_flat_map(|fields| {
            let count = fields.len();
            (Just(fields), prop::collection::vec(text(), count))
        })
        .prop_map(|(fields, values)| fields.into_iter().zip(values).collect())
}

fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b' ' => escaped.push('+'),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}

/// The record in every form that the adapter reads.
fn requests(record: &[(&str, String)]) -> Vec<(&'static str, Request)> {
    let object: Map<String, Value> =
        record.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    let object = Value::Object(object).to_string();
    let text = Value::String(object.clone()).to_string();
    let form: Vec<_> =
        record.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    let form = form.join("&");
    let part = |(name, value): &(&str, String)| {
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let parts: String = record.iter().map(part).collect();
    let content_type = format!("multipart/form-data; boundary=\"{BOUNDARY}\"");
    vec![
        ("object", posted(object.clone())),
        ("form", posted(form.clone())),
        ("query", Request { query: Some(form), method: "GET".to_owned(), ..Request::default() }),
        ("text", posted(text.clone())),
        ("object in a field", posted(format!("data={}", escaped(&object)))),
        ("object in a name", posted(escaped(&object))),
        ("text in a field", posted(format!("data={}", escaped(&text)))),
        (
            "multipart",
            Request {
                headers: vec![("Content-Type".to_owned(), content_type)],
                ..posted(format!("{parts}--{BOUNDARY}--\r\n"))
            },
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_value_in_any_field_leaves_an_outcome_with_the_original(
        values in prop::collection::vec(json(), FIELDS.len()),
    ) {
        let members: Vec<_> =
            FIELDS.iter().zip(&values).map(|(key, value)| format!("\"{key}\": {value}")).collect();
        let body = format!("{{{}}}", members.join(" , "));
        let run = run(posted(body.clone()))?;
        // `any::<String>` holds no half of a pair, so every body is read.
        let outcome = run.end.as_ref().map_err(|refused| TestCaseError::fail(refused.to_string()))?;
        let kept = run.masked.as_ref().map_or(body.as_bytes(), |request| &request.body);
        let kept = format!("\"original\":{}}}", str::from_utf8(kept).unwrap());
        for data in outcome.event_data() {
            prop_assert!(data.ends_with(&kept), "{}", data);
        }
    }

    #[test]
    fn any_bytes_leave_an_answer_within_the_contract(
        body in prop::collection::vec(any::<u8>(), 0..200), query in ".{0,40}",
    ) {
        run(Request { query: Some(query), ..posted(body) })?;
    }

    #[test]
    fn any_text_that_looks_like_a_record_leaves_an_answer_within_the_contract(
        body in "[\\[{\"](state|intimes|\\\\u00|[\\[\\]{}\":,&=%+0-9a-f\\\\]){0,40}",
        multipart: bool,
    ) {
        let content_type = ("content-type".to_owned(), "multipart/form-data; boundary=\"".to_owned());
        let headers = if multipart { vec![content_type] } else { Vec::new() };
        run(Request { headers, ..posted(body) })?;
    }

    #[test]
    fn the_same_record_is_the_same_event_in_whatever_it_is_wrapped(record in record()) {
        let known = record.iter().any(|(name, _)| !matches!(*name, "pan_digit" | "extra"));
        let mut first: Option<Value> = None;
        for (wrapped, request) in requests(&record) {
            let run = run(request)?;
            if !known {
                prop_assert!(run.end.is_err(), "{wrapped}");
                continue;
            }
            let event = event(&run);
            let first = first.get_or_insert_with(|| event.clone());
            prop_assert_eq!(&event, first, "{}", wrapped);
        }
    }

    #[test]
    fn a_card_number_is_left_nowhere(
        mut record in record(), place in any::<prop::sample::Index>(), before in "[^0-9]{0,9}",
        after in "[^0-9]{0,9}", gap in prop::sample::select(vec!["", " ", "-", "\u{a0}", " - "]),
    ) {
        // Not twice a name, and something of the document.
        record.retain(|(name, _)| !matches!(*name, "pan_digit" | "extra" | "statevalue" | "state"));
        record.push(("state", "talking".to_owned()));
        let card = ["4012", "8888", "8888", "1881"].join(gap);
        let name = place.get(&["statevalue", "pan_digit", "extra"]);
        record.push((*name, format!("{before}{card}{after}")));
        for (wrapped, request) in requests(&record) {
            let run = run(request)?;
            let kept = run.masked.as_ref().map(|kept| format!("{kept:?}"));
            let left = format!("{:?} {kept:?} {:?}", run.end, run.log);
            prop_assert!(run.masked.is_some(), "{wrapped}");
            prop_assert!(!left.contains(&card) && !left.contains("88888888"), "{wrapped}: {left}");
            let event = event(&run).to_string();
            prop_assert!(event.contains("***") && !event.contains("88888888"), "{wrapped}: {event}");
        }
    }
}
