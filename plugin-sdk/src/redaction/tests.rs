use std::cell::Cell;

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::coding::tests::spelled;
use super::*;
use crate::testing::{self, Request, Run, Script};
use crate::verification::{Encoding, KeyEncoding, Mac, MacAlgorithm, Part as Signed};
use crate::{Adapter, Answer, Description, Event, Inbound, Key, Outcome, Travels, json};

const CARD: &str = "4111111111111111";

type Receive = fn(&Inbound) -> Result<Outcome, Rejection>;

thread_local! {
    static RECEIVE: Cell<Receive> = const { Cell::new(whole_json) };
}

/// Does what the test says.
struct Probe;

#[derive(Deserialize, JsonSchema)]
struct NoSettings {}

impl Adapter for Probe {
    type Settings = NoSettings;

    fn describe() -> Description {
        Description::new("probe", "1.0.0", "A probe")
            .event::<()>("com.example.made", "Made")
            .optional_secret("key", Travels::Key, "A key")
            .redacts()
    }

    fn receive(_: &NoSettings, inbound: &Inbound) -> Result<Outcome, Rejection> {
        RECEIVE.get()(inbound)
    }
}

fn run(receive: Receive, request: Request) -> Result<Run, Vec<String>> {
    RECEIVE.set(receive);
    testing::receive::<Probe>(&Script { request, auth_none: true, ..Script::default() })
}

fn posted(body: &str) -> Request {
    Request { body: body.as_bytes().to_vec(), ..Request::default() }
}

/// What is kept of this body.
#[track_caller]
fn kept(receive: Receive, body: &str) -> String {
    let run = run(receive, posted(body)).unwrap();
    run.end.as_ref().unwrap();
    let masked = run.masked.map_or_else(|| body.as_bytes().to_vec(), |request| request.body);
    String::from_utf8(masked).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for `Adapter::receive`")]
fn done(redactor: Redactor) -> Result<Outcome, Rejection> {
    redactor.ask();
    Ok(Outcome::accepted(Answer::empty(200)))
}

fn whole_json(inbound: &Inbound) -> Result<Outcome, Rejection> {
    let body = Traced::body(inbound)?;
    let mut redactor = Redactor::new();
    redactor.cards_in_json(&body, body.text());
    done(redactor)
}

fn all_members_but_id(inbound: &Inbound) -> Result<Outcome, Rejection> {
    let body = Traced::body(inbound)?;
    let mut redactor = Redactor::new();
    redactor.cards_in_members(&body, |name| name != "id")?;
    done(redactor)
}

fn all_pairs_but_id(inbound: &Inbound) -> Result<Outcome, Rejection> {
    let body = Traced::body(inbound)?;
    let mut redactor = Redactor::new();
    redactor.cards_in_pairs(&body, |name| name != "id")?;
    done(redactor)
}

#[test]
fn cards_are_masked_wherever_they_stand_in_json() {
    for (body, expected) in [
        (r#"{"a":"4111111111111111"}"#, r#"{"a":"***"}"#),
        (r#"{"a":"pan 4111-1111-1111-1111!"}"#, r#"{"a":"pan ***!"}"#),
        (r#"{"a":"\u00341111111111111\u00311\n"}"#, r#"{"a":"***\n"}"#),
        (r#"{"a":"4111\u00a01111\u00a01111\u00a01111"}"#, r#"{"a":"***"}"#),
        (r#"{"a": 4111111111111111 }"#, r#"{"a": null }"#),
        (r#"[{"a":[1,4111111111111111.0,-2]}]"#, r#"[{"a":[1,null,-2]}]"#),
        (r#"{"4111111111111111":{"b":true}}"#, r#"{"***":{"b":true}}"#),
        ("\u{feff}{\"é\":\"4111111111111111\"}", "\u{feff}{\"é\":\"***\"}"),
        (
            r#"{"a":"4111111111111112","b":1767323045678}"#,
            r#"{"a":"4111111111111112","b":1767323045678}"#,
        ),
    ] {
        assert_eq!(kept(whole_json, body), expected);
    }
}

#[test]
fn only_the_fields_that_the_adapter_names_are_searched() {
    let body =
        r#"{"id":"4111111111111111","\u0069d":[4111111111111111],"x":{"id":"4111111111111111"}}"#;
    let expected = r#"{"id":"4111111111111111","\u0069d":[4111111111111111],"x":{"id":"***"}}"#;
    assert_eq!(kept(all_members_but_id, body), expected);
    let body =
        "id=4111111111111111&x=%34111+1111+1111+1111%21&i%64=4111111111111111&&=&4111111111111111";
    let expected = "id=4111111111111111&x=***%21&i%64=4111111111111111&&=&***";
    assert_eq!(kept(all_pairs_but_id, body), expected);
}

#[test]
fn json_inside_a_form_field_and_inside_a_string_is_masked_as_it_was_written() {
    fn in_form(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let body = Traced::body(inbound)?;
        let mut redactor = Redactor::new();
        for (_, value) in body.pairs()? {
            redactor.cards_in_members(&value, |name| name != "id")?;
        }
        done(redactor)
    }
    let body = "cdr=%7B%22a%22%3A%22x+4111111111111111%22%2C%22b%22%3A4111111111111111%7D";
    let expected = "cdr=%7B%22a%22%3A%22x+***%22%2C%22b%22%3Anull%7D";
    assert_eq!(kept(in_form, body), expected);

    fn in_string(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let body = Traced::body(inbound)?;
        let inner = body.string(body.text().trim_ascii()).unwrap();
        let mut redactor = Redactor::new();
        redactor.cards_in_members(&inner, |_| true)?;
        done(redactor)
    }
    let body = r#" "{\"a\":\"\\u0034111111111111111\",\"b\":\u0034111111111111111}" "#;
    let expected = r#" "{\"a\":\"***\",\"b\":null}" "#;
    assert_eq!(kept(in_string, body), expected);
}

#[test]
fn values_that_the_adapter_names_are_masked_whatever_they_hold() {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow)]
        cvv: crate::Loose<'a>,
    }
    fn receive(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let body = Traced::body(inbound)?;
        let document = json::read_object::<Payload<'_>>(body.text())?;
        let mut redactor = Redactor::new();
        if let Some(literal) = document.value.cvv.literal() {
            redactor.value(&body, literal);
        }
        done(redactor)
    }
    for (value, expected) in [
        ("\"123\"", "\"***\""),
        ("123", "null"),
        ("true", "null"),
        ("[1, 2]", "null"),
        ("{\"a\":1}", "null"),
        ("\"\"", "\"\""),
        ("null", "null"),
    ] {
        let body = |value: &str| format!("{{\"cvv\": {value}, \"x\": 123}}");
        assert_eq!(kept(receive, &body(value)), body(expected));
    }
}

#[test]
fn a_query_is_masked_in_its_own_spelling() {
    fn receive(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let query = Traced::query(inbound);
        let mut redactor = Redactor::new();
        redactor.cards_in_pairs(&query, |_| true)?;
        done(redactor)
    }
    let query = Some("a=%34111111111111111&b=1".to_owned());
    let run = run(receive, Request { query, ..posted("b=4111111111111111") }).unwrap();
    let masked = run.masked.unwrap();
    assert_eq!(masked.query.as_deref(), Some("a=***&b=1"));
    assert_eq!(masked.body, b"b=4111111111111111");
}

#[test]
fn what_is_kept_is_made_of_the_masked_request_and_judged_by_the_received_one() {
    #[derive(Serialize)]
    struct Data<'a> {
        note: &'a str,
    }
    fn receive(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let presented = inbound.header("x-signature").pop().unwrap_or_default();
        let mac = Mac {
            role: "key",
            algorithm: MacAlgorithm::HmacSha256,
            key: KeyEncoding::Utf8,
            presented: &presented,
            encoding: Encoding::Hex,
        };
        mac.verify(&[Signed::Body]).or_refuse()?;
        // Of bytes that the second run no longer has.
        mac.verify(&[Signed::Bytes(inbound.body())]).or_refuse()?;
        let document = inbound.json::<std::collections::BTreeMap<&str, &RawValue>>()?;
        let body = Traced::body(inbound)?;
        let mut redactor = Redactor::new();
        redactor.cards_in_json(&body, body.text());
        redactor.ask();
        crate::log::info(body.text());
        let event = Event::new("com.example.made", &Data { note: body.text() })?
            .idempotency_key(Key::new(["body", &inbound.body_digest()]))
            .original(document.original);
        Ok(Outcome::accepted(Answer::text(200, body.text())).event(event))
    }
    let body = format!("{{\"a\":\"{CARD}\"}}");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s3cret");
    let signature = hex::encode(ring::hmac::sign(&key, body.as_bytes()));
    RECEIVE.set(receive);
    let script = Script {
        request: Request { headers: vec![("x-signature".to_owned(), signature)], ..posted(&body) },
        secrets: [("key".to_owned(), vec!["s3cret".to_owned()])].into(),
        ..Script::default()
    };
    let run = testing::receive::<Probe>(&script).unwrap();
    let outcome = run.end.unwrap();
    assert_eq!(run.verdicts.len(), 2);
    let shown = format!("{outcome:?} {:?} {:?}", run.log, run.masked);
    assert!(!shown.contains(CARD), "{shown}");
    assert_eq!(outcome.events[0].data, r#"{"note":"{\"a\":\"***\"}","original":{"a":"***"}}"#);
    let digest = crate::digest_hex(body.as_bytes());
    assert_eq!(outcome.events[0].key.as_ref().unwrap().value(), format!("body/{digest}"));
}

#[test]
fn a_piece_of_something_else_is_told_as_a_mistake() {
    fn receive(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let body = Traced::body(inbound)?;
        let copy = body.text().to_owned();
        let mut redactor = Redactor::new();
        redactor.text(&body, &copy);
        done(redactor)
    }
    let broken = run(receive, posted("secret")).unwrap_err();
    assert!(broken[0].contains("outside the body"), "{broken:?}");
}

#[test]
fn a_body_that_is_no_text_is_masked_whole() {
    fn receive(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let mut redactor = Redactor::new();
        assert!(redactor.is_empty());
        if inbound.text().is_err() {
            redactor.body(inbound);
        }
        done(redactor)
    }
    let request = Request { body: b"\xff4111111111111111".to_vec(), ..Request::default() };
    assert_eq!(run(receive, request).unwrap().masked.unwrap().body, b"***");
    assert!(run(receive, posted("")).unwrap().masked.is_none());
}

#[test]
fn an_adapter_that_asks_and_does_not_describe_it_is_told() {
    struct Silent;

    impl Adapter for Silent {
        type Settings = NoSettings;

        fn describe() -> Description {
            Description::new("silent", "1.0.0", "A probe")
        }

        fn receive(_: &NoSettings, inbound: &Inbound) -> Result<Outcome, Rejection> {
            whole_json(inbound)
        }
    }

    let of = |body: &str| {
        let script = Script { request: posted(body), auth_none: true, ..Script::default() };
        testing::receive::<Silent>(&script)
    };
    let broken = of(&format!("\"{CARD}\"")).unwrap_err();
    assert!(broken[0].contains("`describe` does not say"), "{broken:?}");
    assert!(of("\"1\"").is_ok(), "the control");
}

#[test]
fn an_adapter_that_goes_on_asking_is_told() {
    fn receive(inbound: &Inbound) -> Result<Outcome, Rejection> {
        let body = Traced::body(inbound)?;
        let mut redactor = Redactor::new();
        redactor.text(&body, body.text().get(..1).unwrap_or_default());
        done(redactor)
    }
    let broken = run(receive, posted("secret")).unwrap_err();
    assert!(broken[0].contains("after 3 runs"), "{broken:?}");
}

/// Undoes the outermost layer and looks further; masks at the end.
fn through(text: &Traced<'_>, layers: &[Coding], redactor: &mut Redactor) {
    match layers {
        [] => drop(redactor.cards(text, text.text())),
        [Coding::Json, inner @ ..] => {
            let string = text.string(text.text()).unwrap();
            through(&string, inner, redactor);
        }
        [Coding::Form, inner @ ..] => {
            let pairs = text.pairs().unwrap();
            through(&pairs[0].1, inner, redactor);
        }
    }
}

fn wrapped(text: &str, layers: &[Coding], escape: &[bool]) -> String {
    let Some((outermost, inner)) = layers.split_first() else { return text.to_owned() };
    let inside = wrapped(text, inner, escape);
    match outermost {
        Coding::Json => format!("\"{}\"", spelled(Coding::Json, &inside, escape)),
        Coding::Form => format!("é={}", spelled(Coding::Form, &inside, escape)),
    }
}

fn unwrapped(text: &str, layers: &[Coding]) -> String {
    let Some((outermost, inner)) = layers.split_first() else { return text.to_owned() };
    let inside = match outermost {
        Coding::Json => serde_json::from_str(text).unwrap(),
        Coding::Form => crate::Pairs::decode(text).unwrap().get("é").unwrap().to_owned(),
    };
    unwrapped(&inside, inner)
}

thread_local! {
    static LAYERS: Cell<&'static [Coding]> = const { Cell::new(&[]) };
}

proptest! {
    #[test]
    fn a_card_is_masked_through_any_layers_and_nothing_else_is(
        layers in prop::collection::vec(any::<bool>(), 0..4),
        before in "[a-zé\"\\\\&%+= ]{0,6}x", after in "x[a-zé\"\\\\&%+=😀]{0,6}",
        escape in prop::collection::vec(any::<bool>(), 60),
    ) {
        let layers: Vec<_> =
            layers.iter().map(|form| if *form { Coding::Form } else { Coding::Json }).collect();
        LAYERS.set(layers.clone().leak());
        fn receive(inbound: &Inbound) -> Result<Outcome, Rejection> {
            let body = Traced::body(inbound)?;
            let mut redactor = Redactor::new();
            through(&body, LAYERS.get(), &mut redactor);
            done(redactor)
        }
        let body = wrapped(&format!("{before}{CARD}{after}"), &layers, &escape);
        let run = run(receive, posted(&body)).unwrap();
        let masked = String::from_utf8(run.masked.unwrap().body).unwrap();
        prop_assert_eq!(unwrapped(&masked, &layers), format!("{}***{}", before, after));
        // What was received is unchanged to both sides of the mask.
        let (left, right) = masked.split_once("***").unwrap();
        prop_assert!(body.starts_with(left) && body.ends_with(right));
    }
}
