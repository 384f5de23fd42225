mod signed;
mod stray;

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::SecretVersion;
use crate::model::{RequestHead, SecretName};

const NOW: UnixMillis = UnixMillis(1_000_000);

fn secret(values: &[(&[u8], Option<u64>)]) -> Secret {
    let versions: Vec<SecretVersion> = values
        .iter()
        .map(|(value, expires_at)| SecretVersion {
            value: SecretValue::new(value.to_vec()),
            expires_at: expires_at.map(UnixMillis),
        })
        .collect();
    Secret { name: SecretName::new("s").unwrap(), versions: Arc::from(versions) }
}

fn route(travels: Travels, secret: Option<Secret>, auth: RouteAuth) -> RouteSecrets {
    let digest_key = hmac_key(b"installation");
    RouteSecrets::new(vec![("role".to_owned(), travels, secret)], None, auth, digest_key)
}

fn hmac_key(bytes: &[u8]) -> ring::hmac::Key {
    ring::hmac::Key::new(ring::hmac::HMAC_SHA256, bytes)
}

fn bearer() -> Travels {
    Travels::Header {
        name: "authorization".to_owned(),
        prefix: "Bearer ".to_owned(),
        setting: None,
    }
}

fn head(query: Option<&str>, headers: &[(&str, &str)]) -> RequestHead {
    RequestHead {
        method: "POST".into(),
        path: "/in/t%6Fken/x".to_owned(),
        query: query.map(str::to_owned),
        headers: headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
    }
}

#[track_caller]
fn check_header(headers: &[(&str, &str)], expected: Found) {
    let route = route(bearer(), Some(secret(&[(b"hunter2", None)])), RouteAuth::Required);
    let (masked, presented) = route.mask(head(None, headers), None);
    let verdict = route.verify_header("role", &presented, NOW).unwrap();
    assert_eq!(verdict.found, expected, "{headers:?}");
    let shown = format!("{verdict:?} {presented:?} {route:?}");
    assert!(!shown.contains("hunter2"));
    assert!(masked.headers.iter().all(|(_, kept)| kept == MASK), "{masked:?}");
}

#[test]
fn a_header_matches_as_a_whole_and_once() {
    check_header(&[("authorization", "Bearer hunter2")], Found::Matched { version: 0 });
    check_header(&[("Authorization", "bearer hunter2")], Found::Matched { version: 0 });
    for wrong in ["Bearer hunter", "Bearer hunter22", "hunter2", "Bearer  hunter2", "Bearer ", ""] {
        check_header(&[("authorization", wrong)], Found::Mismatched);
    }
    check_header(&[], Found::Missing);
    check_header(&[("x-authorization", "Bearer hunter2")], Found::Missing);
    check_header(
        &[("authorization", "Bearer hunter2"), ("authorization", "Bearer hunter2")],
        Found::Repeated,
    );
}

#[test]
fn a_secret_that_the_route_lacks_is_not_configured() {
    let by_header = route(bearer(), None, RouteAuth::Required);
    let (_, presented) = by_header.mask(head(None, &[("authorization", "Bearer x")]), None);
    let verdict = by_header.verify_header("role", &presented, NOW).unwrap();
    assert_eq!(verdict.found, Found::NotConfigured);
    assert_eq!(by_header.verify_path_token(&presented, NOW).found, Found::NotConfigured);
    let of_body = route(Travels::Body, None, RouteAuth::Required);
    assert_eq!(of_body.verify_equal("role", b"x", NOW).unwrap().found, Found::NotConfigured);
}

#[test]
fn a_role_is_judged_only_in_the_way_in_which_it_is_described() {
    let query = Travels::Query { name: "key".to_owned(), setting: None };
    for travels in [bearer(), query, Travels::Body, Travels::Key] {
        let route = route(travels.clone(), Some(secret(&[(b"x", None)])), RouteAuth::Required);
        let (_, presented) = route.mask(head(None, &[]), None);
        let encoding = PresentedEncoding::Hex;
        let signed = Signed { message: &[], body: b"", presented: "00", encoding };
        let scheme = MacScheme { algorithm: MacAlgorithm::Sha256, key: KeyEncoding::Utf8 };
        let ed25519 = SignatureAlgorithm::Ed25519;
        let ask = |role: &str| {
            [
                route.verify_header(role, &presented, NOW),
                route.verify_query(role, &presented, NOW),
                route.verify_equal(role, b"x", NOW),
                route.verify_mac(role, scheme, &signed, NOW),
                route.verify_signature(role, ed25519, &signed, NOW),
            ]
        };
        let allowed = match travels {
            Travels::Header { .. } => [true, false, false, false, false],
            Travels::Query { .. } => [false, true, false, false, false],
            Travels::Body => [false, false, true, false, false],
            Travels::Key => [false, false, false, true, true],
        };
        assert_eq!(ask("role").map(|verdict| verdict.is_ok()), allowed, "{travels:?}");
        for verdict in ask("nobody") {
            assert_eq!(verdict, Err(Misasked::Unknown("nobody".to_owned())));
        }
    }
}

#[test]
fn the_newest_active_value_that_matches_is_named_and_an_expired_one_is_not_a_match() {
    let values: &[(&[u8], Option<u64>)] =
        &[(b"new", None), (b"old", Some(NOW.0 + 1)), (b"gone", Some(NOW.0)), (b"old", None)];
    let route = route(Travels::Body, Some(secret(values)), RouteAuth::Required);
    for (presented, expected) in [
        ("new", Found::Matched { version: 0 }),
        ("old", Found::Matched { version: 1 }),
        ("gone", Found::MatchedExpired),
        ("never", Found::Mismatched),
        ("", Found::Mismatched),
    ] {
        let verdict = route.verify_equal("role", presented.as_bytes(), NOW).unwrap();
        assert_eq!(verdict.found, expected, "{presented}");
    }
    let later = UnixMillis(NOW.0 + 1);
    assert_eq!(
        route.verify_equal("role", b"old", later).unwrap().found,
        Found::Matched { version: 3 },
        "the second value has expired by then; the fourth has not"
    );
}

#[track_caller]
fn check_query(query: &str, masked: &str, expected: Found) {
    let travels = Travels::Query { name: "the key".to_owned(), setting: None };
    let route = route(travels, Some(secret(&[(b"a+b/c=", None)])), RouteAuth::Required);
    let (head, presented) = route.mask(head(Some(query), &[]), None);
    assert_eq!(head.query.as_deref(), Some(masked));
    let verdict = route.verify_query("role", &presented, NOW).unwrap();
    assert_eq!(verdict.found, expected, "{query}");
}

#[test]
fn a_query_parameter_is_found_under_its_decoded_name_and_the_rest_is_kept() {
    let matched = Found::Matched { version: 0 };
    check_query("the+key=a%2Bb%2Fc%3D", "the+key=***", matched);
    check_query("x=%41&the%20key=a%2bb/c=&y", "x=%41&the%20key=***&y", matched);
    // A sender that does not encode its `+`.
    check_query("%74he+key=a+b/c=&&", "%74he+key=***&&", matched);
    check_query("the+key=a%20b/c=", "the+key=***", Found::Mismatched);
    check_query("the+key=", "the+key=***", Found::Mismatched);
    check_query("the+key", "the+key", Found::Mismatched);
    check_query("The+key=a%2Bb/c=", "The+key=***", Found::Missing);
    check_query("", "", Found::Missing);
    check_query("the+key=1&the+key=a%2Bb/c=", "the+key=***&the+key=***", Found::Repeated);
}

#[test]
fn the_path_token_is_decoded_compared_and_masked() {
    let token = secret(&[(b"token", None), (b"former", Some(1))]);
    let route = RouteSecrets::new(Vec::new(), Some(token), RouteAuth::Required, hmac_key(b"k"));
    for (path, segment, masked, expected) in [
        ("/in/t%6Fken/x", 4..11, "/in/***/x", Found::Matched { version: 0 }),
        ("/in/former", 4..10, "/in/***", Found::MatchedExpired),
        ("/in/tokens", 4..10, "/in/***", Found::Mismatched),
        ("/in/", 4..4, "/in/***", Found::Mismatched),
        ("/in/token", 4..99, "***", Found::Mismatched),
    ] {
        let mut received = head(None, &[]);
        received.path = path.to_owned();
        let (received, presented) = route.mask(received, Some(segment));
        assert_eq!(received.path, masked);
        let verdict = route.verify_path_token(&presented, NOW);
        assert_eq!((verdict.role.as_str(), verdict.found), (TOKEN_ROLE, expected), "{path}");
    }
    let (_, presented) = route.mask(head(None, &[]), None);
    assert_eq!(route.verify_path_token(&presented, NOW).found, Found::Missing);
}

#[test]
fn a_credential_in_a_header_costs_one_allocation() {
    let route = route(bearer(), Some(secret(&[(b"hunter2", None)])), RouteAuth::Required);
    let head = head(None, &[("host", "example.com"), ("authorization", "Bearer hunter2")]);
    let allocated = allocation_counter::measure(|| drop(route.mask(head, None)));
    assert_eq!(allocated.count_total, 1);
}

fn verdict(role: &str, proof: Proof, found: Found) -> VerdictRecord {
    VerdictRecord { role: role.into(), proof, found, digest: None }
}

const MATCHED: Found = Found::Matched { version: 0 };

#[test]
fn the_strongest_match_counts_and_nothing_else_lets_a_request_in() {
    let strict = route(Travels::Key, None, RouteAuth::Required);
    let open = route(Travels::Key, None, RouteAuth::None);
    let not_enough = [
        verdict("r", Proof::Mac, Found::Mismatched),
        verdict("r", Proof::Header, Found::MatchedExpired),
        verdict("r", Proof::Query, Found::Missing),
        verdict("r", Proof::Equal, Found::Repeated),
        verdict("r", Proof::PublicKey, Found::NotConfigured),
    ];
    assert_eq!(strict.verified(&[]), None);
    assert_eq!(strict.verified(&not_enough), None);
    assert_eq!(open.verified(&not_enough), Some(Verified::None));
    let token = verdict(TOKEN_ROLE, Proof::PathToken, MATCHED);
    let equal = verdict("r", Proof::Equal, MATCHED);
    let mac = verdict("r", Proof::Mac, MATCHED);
    assert_eq!(strict.verified(std::slice::from_ref(&token)), Some(Verified::SharedUrl));
    assert_eq!(strict.verified(&[equal.clone(), token]), Some(Verified::SharedSecret));
    assert_eq!(open.verified(&[equal, mac]), Some(Verified::Signature));
}

#[test]
fn every_secret_that_the_route_has_must_match() {
    let given = || Some(secret(&[(b"x", None)]));
    let bound = |auth| {
        let roles = vec![
            ("header".to_owned(), bearer(), given()),
            ("key".to_owned(), Travels::Key, given()),
            ("other".to_owned(), Travels::Body, None),
        ];
        RouteSecrets::new(roles, given(), auth, hmac_key(b"k"))
    };
    let route = bound(RouteAuth::Required);
    let token = verdict(TOKEN_ROLE, Proof::PathToken, MATCHED);
    let header = verdict("header", Proof::Header, MATCHED);
    let mac = verdict("key", Proof::Mac, MATCHED);
    let wrong_mac = verdict("key", Proof::Mac, Found::Mismatched);
    let expired = verdict("key", Proof::Mac, Found::MatchedExpired);
    // A guest cannot have the token judged, whatever it calls a role.
    let token_by_guest = verdict(TOKEN_ROLE, Proof::Equal, MATCHED);
    for (verdicts, lacking) in [
        (vec![&token, &header, &mac], None),
        (vec![&token, &header, &wrong_mac, &mac], None),
        (vec![&header, &mac], Some(TOKEN_ROLE)),
        (vec![&token_by_guest, &header, &mac], Some(TOKEN_ROLE)),
        (vec![&token, &mac], Some("header")),
        (vec![&token, &header], Some("key")),
        (vec![&token, &header, &wrong_mac], Some("key")),
        (vec![&token, &header, &expired], Some("key")),
    ] {
        let verdicts: Vec<VerdictRecord> = verdicts.into_iter().cloned().collect();
        assert_eq!(route.unmatched(&verdicts), lacking);
        let expected = lacking.is_none().then_some(Verified::Signature);
        assert_eq!(route.verified(&verdicts), expected, "{lacking:?}");
        assert!(bound(RouteAuth::None).verified(&verdicts).is_some(), "it believes everybody");
    }
}

#[test]
fn a_presented_value_has_the_same_digest_wherever_it_is_presented() {
    let body = route(Travels::Body, Some(secret(&[(b"a+b c", None)])), RouteAuth::Required);
    let digest = |value: &[u8]| body.verify_equal("role", value, NOW).unwrap().digest.unwrap();
    assert_eq!(digest(b"value"), digest(b"value"));
    assert_ne!(digest(b"value"), digest(b"valuf"));

    let by_header = route(bearer(), Some(secret(&[(b"a+b c", None)])), RouteAuth::Required);
    for (sent, compared) in
        [("Bearer a+b c", "a+b c"), ("bearer wrong", "wrong"), ("Basic a+b c", "Basic a+b c")]
    {
        let (_, presented) = by_header.mask(head(None, &[("authorization", sent)]), None);
        let verdict = by_header.verify_header("role", &presented, NOW).unwrap();
        assert_eq!(verdict.digest, Some(digest(compared.as_bytes())), "{sent}");
    }

    let travels = Travels::Query { name: "key".to_owned(), setting: None };
    let by_query = route(travels, Some(secret(&[(b"a+b c", None)])), RouteAuth::Required);
    for (sent, compared) in [
        ("key=a%2Bb%20c", "a+b c"),
        ("key=a%2bb+c", "a+b c"),
        ("key=a+b%20c", "a+b c"),
        ("key=wrong%21", "wrong!"),
        ("key=wr+ng", "wr+ng"),
    ] {
        let (_, presented) = by_query.mask(head(Some(sent), &[]), None);
        let verdict = by_query.verify_query("role", &presented, NOW).unwrap();
        assert_eq!(verdict.digest, Some(digest(compared.as_bytes())), "{sent}");
    }
}

proptest! {
    #[test]
    fn a_shared_value_matches_itself_and_no_neighbour_of_it(
        value in prop::collection::vec(any::<u8>(), 1..100),
        bit in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let route =
            route(Travels::Body, Some(secret(&[(&value, None)])), RouteAuth::Required);
        prop_assert!(route.verify_equal("role", &value, NOW).unwrap().found.is_match());
        let mut other = value.clone();
        flip(&mut other, bit);
        let found = route.verify_equal("role", &other, NOW).unwrap().found;
        prop_assert_eq!(found, Found::Mismatched);
        let prefix = &value[..cut.index(value.len())];
        let found = route.verify_equal("role", prefix, NOW).unwrap().found;
        prop_assert_eq!(found, Found::Mismatched);
        let longer = [value.as_slice(), b"x"].concat();
        let found = route.verify_equal("role", &longer, NOW).unwrap().found;
        prop_assert_eq!(found, Found::Mismatched);
    }

    /// Whatever arrives: the secret is nowhere in what is kept, and all the rest is.
    #[test]
    fn masking_takes_out_the_credential_and_nothing_else(
        before in "[a-z0-9%=+.-]{0,20}", after in "[a-z0-9&%=+.-]{0,20}",
        value in "[A-Z]{12}", other in "[ -~]{0,30}",
    ) {
        let travels = Travels::Query { name: "Key".to_owned(), setting: None };
        let by_query = route(travels, Some(secret(&[(b"of the route", None)])), RouteAuth::Required);
        let query = format!("{before}&Key={value}&{after}");
        let (kept, _) = by_query.mask(head(Some(&query), &[]), None);
        prop_assert_eq!(kept.query, Some(format!("{before}&Key=***&{after}")));

        let by_header = route(bearer(), Some(secret(&[(b"of the route", None)])), RouteAuth::Required);
        let credential = format!("Bearer {value}");
        let headers = [("x-other", other.as_str()), ("authorization", credential.as_str())];
        let (kept, _) = by_header.mask(head(None, &headers), None);
        let expected = [("x-other", other.as_str()), ("authorization", MASK)];
        prop_assert_eq!(kept, head(None, &expected));
    }
}

fn flip(bytes: &mut [u8], bit: prop::sample::Index) {
    let bit = bit.index(bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}
