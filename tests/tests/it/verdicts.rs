//! Verdicts are the same natively as in the gateway: what a test of an adapter shows of secrets
//! holds.

use std::cell::RefCell;

use keeper::NoSettings;
use plugin_sdk::testing::{self, Script};
use plugin_sdk::verification::{
    Encoding, KeyEncoding, Mac, MacAlgorithm, Part, Signature, SignatureAlgorithm, Verdict,
};
use plugin_sdk::{
    Adapter, Answer, Description, Inbound, Outcome, Rejection, Travels, verify_equal,
    verify_header, verify_query,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sluice::config::RouteAuth;
use sluice::model::{Found, RequestHead, SecretName, Travels as Bound};
use sluice::verification::{MacScheme, Part as Piece, RouteSecrets, Signed};
use sluice_tests::sandbox::{NOW, secret};

const BODY: &[u8] = b"{\"id\":7}";

thread_local! {
    static ASK: RefCell<Ask> = const { RefCell::new(Ask::Header) };
}

/// What an adapter asks.
#[derive(Clone, Debug)]
enum Ask {
    Header,
    Query,
    Equal(&'static str),
    Mac(KeyEncoding, Encoding, String),
    Signature(Encoding, String),
}

impl Ask {
    const fn role(&self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Query => "query",
            Self::Equal(_) => "body",
            Self::Mac(..) | Self::Signature(..) => "key",
        }
    }

    fn natively(&self) -> Verdict {
        let role = self.role();
        match self {
            Self::Header => verify_header(role),
            Self::Query => verify_query(role),
            Self::Equal(presented) => verify_equal(role, presented),
            Self::Mac(key, encoding, presented) => {
                let (algorithm, key, encoding) = (MacAlgorithm::HmacSha256, *key, *encoding);
                Mac { role, algorithm, key, presented, encoding }.verify(&[Part::Body])
            }
            Self::Signature(encoding, presented) => {
                let (algorithm, encoding) = (SignatureAlgorithm::Ed25519, *encoding);
                Signature { role, algorithm, presented, encoding }.verify(&[Part::Body])
            }
        }
    }
}

struct Asker;

impl Adapter for Asker {
    type Settings = NoSettings;

    fn describe() -> Description {
        Description::new("asker", "1.0.0", "Asks for one verdict")
            .optional_secret("header", Travels::header("x-key").after("Bearer "), "")
            .optional_secret("query", Travels::query("k"), "")
            .optional_secret("body", Travels::Body, "")
            .optional_secret("key", Travels::Key, "")
    }

    fn receive(_: &NoSettings, _: &Inbound) -> Result<Outcome, Rejection> {
        ASK.with_borrow(Ask::natively).or_refuse()?;
        Ok(Outcome::accepted(Answer::empty(200)))
    }
}

fn natively(value: &str, headers: &[(&str, &str)], query: &str, ask: &Ask) -> String {
    ASK.replace(ask.clone());
    let mut script = Script::default();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    script.request.headers = headers.iter().map(own).collect();
    script.request.query = Some(query.to_owned());
    script.request.body = BODY.to_vec();
    script.secrets = [(ask.role().to_owned(), vec![value.to_owned()])].into();
    let run = testing::receive::<Asker>(&script).unwrap();
    run.verdicts.last().unwrap().found.as_str().to_owned()
}

fn in_the_gateway(value: &str, headers: &[(&str, &str)], query: &str, ask: &Ask) -> String {
    let (role, prefix) = (ask.role(), "Bearer ".to_owned());
    let travels = match ask {
        Ask::Header => Bound::Header { name: "x-key".to_owned(), prefix, setting: None },
        Ask::Query => Bound::Query { name: "k".to_owned(), setting: None },
        Ask::Equal(_) => Bound::Body,
        Ask::Mac(..) | Ask::Signature(..) => Bound::Key,
    };
    let secret = secret(SecretName::new("s").unwrap(), value);
    let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"of the installation");
    let roles = vec![(role.to_owned(), travels, Some(secret))];
    let secrets = RouteSecrets::new(roles, None, RouteAuth::Required, digest_key);
    let head = RequestHead {
        method: "POST".into(),
        path: "/hook".to_owned(),
        query: Some(query.to_owned()),
        headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
    };
    let (_, presented) = secrets.mask(head, None);
    let signed = |presented, encoding: Encoding| Signed {
        message: &[Piece::Body],
        body: BODY,
        presented,
        encoding: encoding.as_str().parse().unwrap(),
    };
    let record = match ask {
        Ask::Header => secrets.verify_header(role, &presented, NOW),
        Ask::Query => secrets.verify_query(role, &presented, NOW),
        Ask::Equal(presented) => secrets.verify_equal(role, presented.as_bytes(), NOW),
        Ask::Mac(key, encoding, presented) => {
            let algorithm = MacAlgorithm::HmacSha256.as_str().parse().unwrap();
            let scheme = MacScheme { algorithm, key: key.as_str().parse().unwrap() };
            secrets.verify_mac(role, scheme, &signed(presented, *encoding), NOW)
        }
        Ask::Signature(encoding, presented) => {
            let algorithm = SignatureAlgorithm::Ed25519.as_str().parse().unwrap();
            secrets.verify_signature(role, algorithm, &signed(presented, *encoding), NOW)
        }
    };
    match record.unwrap().found {
        Found::Matched { .. } => "matched",
        Found::Mismatched | Found::MatchedExpired => "mismatched",
        Found::Missing => "missing",
        Found::Repeated => "repeated",
        Found::NotConfigured => "not-configured",
    }
    .to_owned()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[track_caller]
fn check(value: &str, headers: &[(&str, &str)], query: &str, ask: &Ask, expected: &str) {
    let found = (natively(value, headers, query, ask), in_the_gateway(value, headers, query, ask));
    let both = (expected.to_owned(), expected.to_owned());
    assert_eq!(found, both, "natively and in the gateway: {headers:?} {query} {ask:?}");
}

#[test]
fn what_travels_is_read_the_same() {
    for (headers, expected) in [
        (&[("X-Key", "Bearer s3+cret")][..], "matched"),
        (&[("x-key", "bearer s3+cret")], "matched"),
        (&[("x-key", "s3+cret")], "mismatched"),
        (&[("x-key", "Bearer ")], "mismatched"),
        (&[("x-key", "Bearer  s3+cret")], "mismatched"),
        (&[("x-key", "")], "mismatched"),
        (&[], "missing"),
        (&[("x-key", "Bearer s3+cret"), ("x-key", "Bearer s3+cret")], "repeated"),
    ] {
        check("s3+cret", headers, "", &Ask::Header, expected);
    }
    for (query, expected) in [
        ("k=s3%2Bcret", "matched"),
        // Not all senders encode a `+`.
        ("k=s3+cret", "matched"),
        ("%6B=s3%2bcret&a=1", "matched"),
        ("k=s3%20cret", "mismatched"),
        ("k=%ff", "mismatched"),
        ("k=", "mismatched"),
        ("k", "mismatched"),
        ("K=s3+cret", "missing"),
        ("a=1&k=s3+cret&k=x", "repeated"),
    ] {
        check("s3+cret", &[], query, &Ask::Query, expected);
    }
    for (presented, expected) in [("s3+cret", "matched"), ("", "mismatched"), ("x", "mismatched")] {
        check("s3+cret", &[], "", &Ask::Equal(presented), expected);
    }
}

#[test]
fn codes_and_keys_are_read_the_same() {
    use KeyEncoding::{Base64, Hex, Utf8, Whsec};
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"Jefe");
    let code = ring::hmac::sign(&key, BODY);
    let hex = hex::encode(code.as_ref());
    let in_base64 = base64(code.as_ref());
    let unpadded = in_base64.trim_end_matches('=').to_owned();
    for (value, encoding, written, presented, expected) in [
        ("Jefe", Utf8, Encoding::Hex, hex.as_str(), "matched"),
        ("Jefe", Utf8, Encoding::Hex, &hex.to_uppercase(), "matched"),
        ("Jefe", Utf8, Encoding::Hex, &format!("{hex} "), "mismatched"),
        ("Jefe", Utf8, Encoding::Hex, hex.split_at(32).0, "mismatched"),
        ("Jefe", Utf8, Encoding::Hex, "", "mismatched"),
        ("Jefe", Utf8, Encoding::Base64, &in_base64, "matched"),
        ("Jefe", Utf8, Encoding::Base64, &unpadded, "matched"),
        ("Jefe", Utf8, Encoding::Base64, &hex, "mismatched"),
        ("4a656665", Hex, Encoding::Hex, &hex, "matched"),
        ("4a65666", Hex, Encoding::Hex, &hex, "mismatched"),
        ("SmVmZQ==", Base64, Encoding::Hex, &hex, "matched"),
        ("SmVmZQ", Base64, Encoding::Hex, &hex, "matched"),
        ("SmVmZR", Base64, Encoding::Hex, &hex, "mismatched"),
        ("whsec_SmVmZQ==", Whsec, Encoding::Hex, &hex, "matched"),
        ("SmVmZQ", Whsec, Encoding::Hex, &hex, "matched"),
        ("whsec_", Whsec, Encoding::Hex, &hex, "mismatched"),
    ] {
        check(value, &[], "", &Ask::Mac(encoding, written, presented.to_owned()), expected);
    }
}

#[test]
fn public_keys_and_signatures_are_read_the_same() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let signature = pair.sign(BODY);
    let key = pair.public_key().as_ref();
    let (in_hex, in_base64) = (hex::encode(key), base64(key));
    let presented = hex::encode(signature.as_ref());
    for (value, presented, expected) in [
        (in_hex.as_str(), presented.as_str(), "matched"),
        (&in_base64, &presented, "matched"),
        (in_base64.trim_end_matches('='), &presented, "matched"),
        (in_hex.split_at(2).1, &presented, "mismatched"),
        ("no key", &presented, "mismatched"),
        (&in_hex, presented.split_at(2).1, "mismatched"),
        (&in_hex, "", "mismatched"),
    ] {
        check(value, &[], "", &Ask::Signature(Encoding::Hex, presented.to_owned()), expected);
    }
}
