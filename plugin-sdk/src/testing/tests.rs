use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::settings::Problem;
use crate::verification::{self, Encoding, KeyEncoding, Mac, MacAlgorithm};
use crate::{Answer, Description, Event, Inbound, Travels, verify_equal, verify_header};

type Receive = fn() -> Result<Outcome, Rejection>;

thread_local! {
    static RECEIVE: Cell<Receive> = const { Cell::new(taken) };
}

/// Does what the test says.
struct Probe;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct NoSettings {}

impl Adapter for Probe {
    type Settings = NoSettings;

    fn describe() -> Description {
        Description::new("probe", "1.0.0", "A probe")
            .event::<()>("com.example.made", "Made")
            .optional_secret("header", Travels::header("x-secret"), "One")
            .optional_secret("value", Travels::Body, "Another")
            .optional_secret("key", Travels::Key, "A third")
            .fact("known", "Known")
    }

    fn check(_: &NoSettings) -> Vec<Problem> {
        Vec::new()
    }

    fn receive(_: &NoSettings, _: &Inbound) -> Result<Outcome, Rejection> {
        RECEIVE.get()()
    }
}

fn run(receive: Receive, secrets: &[&str], auth_none: bool) -> Result<Run, Vec<String>> {
    RECEIVE.set(receive);
    let secret = |role: &&str| ((*role).to_owned(), vec!["s3cret".to_owned()]);
    super::receive::<Probe>(&Script {
        request: Request {
            path: "/hook/s3cret".to_owned(),
            headers: vec![("x-secret".to_owned(), "s3cret".to_owned())],
            ..Request::default()
        },
        route_path: secrets.contains(&"token").then(|| "/hook/{token}".to_owned()),
        secrets: secrets.iter().map(secret).collect::<BTreeMap<_, _>>(),
        auth_none,
        ..Script::default()
    })
}

#[expect(clippy::unnecessary_wraps, reason = "it stands for `Adapter::receive`")]
fn taken() -> Result<Outcome, Rejection> {
    Ok(Outcome::accepted(Answer::empty(200)))
}

fn header_only() -> Result<Outcome, Rejection> {
    verify_header("header").or_refuse()?;
    taken()
}

fn both() -> Result<Outcome, Rejection> {
    verify_equal("value", "s3cret").or_refuse()?;
    header_only()
}

#[test]
fn every_secret_of_the_route_must_match() {
    const KEPT: Option<&str> = None;
    const REFUSED: Option<&str> = Some("unverified");
    let cases: [(Receive, &[&str], bool, Option<&str>); 11] = [
        (taken, &[], false, REFUSED),
        (taken, &[], true, KEPT),
        (taken, &["token"], false, KEPT),
        (taken, &["header"], false, REFUSED),
        (taken, &["header"], true, REFUSED),
        (taken, &["token", "header"], false, REFUSED),
        (header_only, &["header"], false, KEPT),
        (header_only, &["token", "header"], false, KEPT),
        (header_only, &["header", "value"], false, REFUSED),
        (header_only, &["token", "value"], false, REFUSED),
        (both, &["token", "header", "value"], false, KEPT),
    ];
    for (receive, secrets, auth_none, expected) in cases {
        let run = run(receive, secrets, auth_none).unwrap();
        let code = run.end.as_ref().err().map(Rejection::code);
        assert_eq!(code, expected, "{secrets:?}, auth none: {auth_none}");
    }
}

#[test]
fn a_role_that_is_not_described_is_a_mistake() {
    let questions: [Receive; 5] = [
        || verify_header("heeder").or_refuse().and_then(|_| taken()),
        || verification::verify_query("heeder").or_refuse().and_then(|_| taken()),
        || verify_equal("heeder", "x").or_refuse().and_then(|_| taken()),
        || {
            let mac = Mac {
                role: "heeder",
                algorithm: MacAlgorithm::HmacSha256,
                key: KeyEncoding::Utf8,
                presented: "",
                encoding: Encoding::Hex,
            };
            mac.verify(&[]).or_refuse().and_then(|_| taken())
        },
        || {
            let algorithm = verification::SignatureAlgorithm::Ed25519;
            let encoding = Encoding::Hex;
            let signature =
                verification::Signature { role: "heeder", algorithm, presented: "", encoding };
            signature.verify(&[]).or_refuse().and_then(|_| taken())
        },
    ];
    for question in questions {
        let broken = run(question, &["token"], false).unwrap_err();
        assert_eq!(broken, ["asks for the secret `heeder`, which is not described"]);
    }
}

fn mac(role: &str) -> Result<Outcome, Rejection> {
    let (algorithm, key) = (MacAlgorithm::HmacSha256, KeyEncoding::Utf8);
    let mac = Mac { role, algorithm, key, presented: "00", encoding: Encoding::Hex };
    mac.verify(&[]).or_refuse().and_then(|_| taken())
}

/// The gateway traps, whether the route has the secret or not.
#[test]
fn a_secret_that_is_asked_about_in_another_way_than_it_travels_is_a_mistake() {
    let questions: [(Receive, &str); 5] = [
        (
            || verify_equal("header", "s3cret").or_refuse().and_then(|_| taken()),
            "the secret `header` travels in a header",
        ),
        (|| mac("header"), "the secret `header` travels in a header"),
        (|| mac("value"), "the secret `value` travels in the body"),
        (
            || verify_header("key").or_refuse().and_then(|_| taken()),
            "the secret `key` is a key and never travels",
        ),
        (
            || verify_equal("key", "s3cret").or_refuse().and_then(|_| taken()),
            "the secret `key` is a key and never travels",
        ),
    ];
    for (question, said) in questions {
        for secrets in [&["token"][..], &["token", "header", "value", "key"]] {
            let broken = run(question, secrets, false).unwrap_err();
            assert_eq!(broken, [format!("{said}, as `describe` says, and is not checked so")]);
        }
    }
}

#[test]
fn a_secret_of_a_role_that_is_not_described_is_a_mistake_and_no_panic() {
    assert_eq!(
        run(taken, &["token", "heeder"], false).unwrap_err(),
        ["a secret is given for `heeder`, and `describe` has none but `header`, `key`, `value`"]
    );
}

#[test]
fn verdicts_are_bounded() {
    let broken = run(
        || {
            (0..17)
                .try_for_each(|_| verify_header("header").or_refuse().map(drop))
                .and_then(|()| taken())
        },
        &["header"],
        false,
    );
    assert_eq!(broken.unwrap_err(), ["asks for more than 16 verdicts"]);
}

#[test]
fn what_the_gateway_would_not_take_is_a_mistake() {
    let cases: [(Receive, &str); 9] = [
        (
            || Ok(Outcome::accepted(Answer::empty(302))),
            "an outcome is answered 200 to 299, not 302",
        ),
        (
            || taken().map(|outcome| outcome.duplicate_answer(Answer::empty(409))),
            "an outcome is answered 200 to 299, not 409",
        ),
        (|| Ok(Outcome::accepted(Answer::text(204, "x"))), "204 has no body"),
        (
            || Ok(Outcome::accepted(Answer::text(200, "x".repeat((64 << 10) + 1)))),
            "answer with a body of 65537 bytes",
        ),
        (
            || Ok(Outcome::accepted(Answer::empty(200).header("x", "y".repeat(4 << 10)))),
            "answer with 1 headers of 4097 bytes",
        ),
        (
            || Ok(Outcome::accepted(Answer::empty(200).header("Content-Length", "1"))),
            "the header `Content-Length` is the gateway's own",
        ),
        (
            || Ok(Outcome::accepted(Answer::empty(200).header("x", "a\nb"))),
            "the value of the header `x` is not plain ASCII",
        ),
        (
            || (0..65).try_fold(taken()?, |outcome, _| Ok(outcome.fact("known", Some("x")))),
            "65 facts; all after 64 are lost",
        ),
        (
            || Ok(Outcome::ignored(Answer::empty(200)).event(made()?)),
            "an ignored outcome with events",
        ),
    ];
    for (receive, expected) in cases {
        assert_eq!(run(receive, &["token"], false).unwrap_err(), [expected]);
    }
}

fn made() -> Result<Event, Rejection> {
    Event::new("com.example.made", &serde_json::json!({}))
}

/// An adapter that answers a view and takes events, of which it describes the view alone.
struct Forgetful;

impl Adapter for Forgetful {
    type Settings = NoSettings;

    fn describe() -> Description {
        Description::new("forgetful", "1.0.0", "").view::<crate::view::Page>("told", "Told")
    }

    fn receive(_: &NoSettings, _: &Inbound) -> Result<Outcome, Rejection> {
        taken()
    }

    fn consume(_: &NoSettings, _: &DeliveredEvent) -> Result<Outcome, Rejection> {
        taken()
    }

    fn view(_: &NoSettings, name: &str, _: &str) -> Result<String, Rejection> {
        Ok(format!("{name:?}"))
    }
}

#[test]
fn what_is_not_described_is_not_asked() {
    let (script, none) = (Script::default(), Value::Null);
    assert_eq!(view::<Forgetful>(&script, "told", &none).unwrap().unwrap(), "\"told\"");
    assert_eq!(
        view::<Forgetful>(&script, "untold", &none).unwrap_err(),
        ["it has no view `untold`; `describe` lists `told` (`view`)"]
    );
    assert_eq!(
        view::<Probe>(&script, "any", &none).unwrap_err(),
        ["it has no view `any`; `describe` lists none (`view`)"]
    );
    let event = DeliveredEvent {
        id: "e".to_owned(),
        source: "/routes/other".to_owned(),
        kind: "com.example.made".to_owned(),
        subject: None,
        time: None,
        received_at: "2026-01-02T03:04:05Z".to_owned(),
        adapter: "other/1.0.0".to_owned(),
        verified: "none".to_owned(),
        data: "{}".to_owned(),
        partition_key: None,
    };
    assert_eq!(
        consume::<Forgetful>(&script, &event).unwrap_err(),
        ["it consumes no events: `describe` lists none (`consumes`)"]
    );
}
