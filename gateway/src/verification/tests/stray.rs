//! Credentials where none is declared.

use super::*;

const SECRET: &str = "hunter2-hunter2";
const TOKEN: &str = "t%6Fken-of-the-url";

fn by_header(name: &str, prefix: &str) -> Travels {
    Travels::Header { name: name.to_owned(), prefix: prefix.to_owned(), setting: None }
}

fn given(travels: Travels) -> RouteSecrets {
    route(travels, Some(secret(&[(SECRET.as_bytes(), None)])), RouteAuth::Required)
}

#[track_caller]
fn check_kept(route: &RouteSecrets, (name, value): (&str, &str), kept: &str) {
    let (masked, _) = route.mask(head(None, &[(name, value)]), None);
    assert_eq!(masked.headers, [(name.into(), kept.into())], "{name}: {value}");
}

#[test]
fn a_secret_in_a_header_of_another_name_is_masked() {
    let plain = given(by_header("x-secret", ""));
    for value in [SECRET, "Bearer hunter2-hunter2", "Token hunter2-hunter2"] {
        check_kept(&plain, ("x-webhook-secret", value), MASK);
    }
    let prefixed = given(by_header("x-secret", "key="));
    check_kept(&prefixed, ("x-key", "KEY=hunter2-hunter2"), MASK);
    // A key travels nowhere, and the value of a body in no header; here they did.
    for travels in [Travels::Key, Travels::Body] {
        check_kept(&given(travels), ("x-any", SECRET), MASK);
    }
    for other in ["hunter2-hunter", "hunter2-hunter22", "key=hunter2-hunter2", "Bearer ", ""] {
        check_kept(&plain, ("x-webhook-secret", other), other);
    }
}

#[test]
fn every_value_of_a_secret_strays_and_so_does_one_that_has_expired() {
    let values: &[(&[u8], Option<u64>)] = &[(b"the-new-one", None), (b"the-old-one", Some(1))];
    let both = route(by_header("x-secret", ""), Some(secret(values)), RouteAuth::Required);
    check_kept(&both, ("x-other", "the-new-one"), MASK);
    check_kept(&both, ("x-other", "the-old-one"), MASK);
}

#[test]
fn a_secret_in_the_query_is_masked_under_any_name() {
    let plain = given(by_header("x-secret", ""));
    for (query, kept) in [
        ("a=1&key=hunter2-hunter2&b=%20", "a=1&key=***&b=%20"),
        ("key=hunter2%2Dhunter2", "key=***"),
        ("hunter2-hunter2", "***"),
        ("a&hunter2-hunter2=1&&", "a&***=1&&"),
        ("key=hunter2-hunter22&a=%&b=+", "key=hunter2-hunter22&a=%&b=+"),
        ("", ""),
    ] {
        let (masked, _) = plain.mask(head(Some(query), &[]), None);
        assert_eq!(masked.query.as_deref(), Some(kept));
    }
    let plus = route(by_header("x", ""), Some(secret(&[(b"a+b/c=", None)])), RouteAuth::Required);
    for query in ["k=a+b/c=", "k=a%2Bb%2Fc%3D"] {
        let (masked, _) = plus.mask(head(Some(query), &[]), None);
        assert_eq!(masked.query.as_deref(), Some("k=***"), "{query}");
    }
}

#[test]
fn what_carries_credentials_by_its_nature_is_masked_whoever_it_is_for() {
    let plain = given(by_header("x-secret", ""));
    for name in ["authorization", "Authorization", "proxy-authorization", "cookie"] {
        check_kept(&plain, (name, "Basic cHJveHk6cGFzc3dvcmQ="), MASK);
        check_kept(&plain, (name, "any"), MASK);
    }
    // With a key there may be a code in it, which the adapter reads.
    let keyed = given(Travels::Key);
    check_kept(&keyed, ("authorization", "HMAC 00ff"), "HMAC 00ff");
    check_kept(&keyed, ("authorization", "00ff"), "00ff");
    for password in ["Basic cHJveHk6cGFzc3dvcmQ=", "bearer abc"] {
        check_kept(&keyed, ("authorization", password), MASK);
    }
    check_kept(&keyed, ("cookie", "any"), MASK);
    let keyless = route(Travels::Key, None, RouteAuth::Required);
    check_kept(&keyless, ("authorization", "HMAC 00ff"), MASK);
}

#[track_caller]
fn check_copies(token: &str, sent: &[(&str, &str)], kept: &[(&str, &str)]) {
    let route = RouteSecrets::new(
        Vec::new(),
        Some(secret(&[(b"token-of-the-url", None)])),
        RouteAuth::Required,
        hmac_key(b"k"),
    );
    let mut received = head(Some(&format!("next=/in/{token}&a=1")), sent);
    received.path = format!("/in/{token}/x");
    let (masked, presented) = route.mask(received, Some(4..4 + token.len()));
    let mut expected = head(Some("next=/in/***&a=1"), kept);
    expected.path = "/in/***/x".to_owned();
    assert_eq!(masked, expected);
    assert!(!format!("{presented:?}").contains(token));
}

#[test]
fn what_headers_repeat_of_the_path_token_is_masked() {
    check_copies(
        TOKEN,
        &[
            ("x-original-url", "/in/t%6Fken-of-the-url/x?a=1"),
            ("referer", "https://example.com/in/token-of-the-url/x"),
            ("x-both", "t%6Fken-of-the-url token-of-the-url"),
            ("x-next", "%2Fin%2Ftoken-of-the-url"),
            ("x-other", "token-of-the-ur"),
        ],
        &[
            ("x-original-url", "/in/***/x?a=1"),
            ("referer", "https://example.com/in/***/x"),
            ("x-both", "*** ***"),
            ("x-next", "%2Fin%2F***"),
            ("x-other", "token-of-the-ur"),
        ],
    );
    // A short one is one of its own, or part of a word.
    check_copies(
        "json",
        &[("x-original-url", "/in/json/x"), ("content-type", "application/json-seq; a=jsonl")],
        &[("x-original-url", "/in/***/x"), ("content-type", "application/json-seq; a=jsonl")],
    );
}

#[test]
fn what_headers_repeat_of_the_querys_credential_is_masked() {
    let by_query = given(Travels::Query { name: "key".to_owned(), setting: None });
    let query = "a=1&key=hunter2%2dhunter2";
    let sent = [
        ("x-original-url", "/hook?a=1&key=hunter2%2dhunter2"),
        ("referer", "/hook?key=hunter2-hunter2&a=1"),
    ];
    let (masked, presented) = by_query.mask(head(Some(query), &sent), None);
    let kept = [("x-original-url", "/hook?a=1&key=***"), ("referer", "/hook?key=***&a=1")];
    assert_eq!(masked, head(Some("a=1&key=***"), &kept));
    assert!(by_query.verify_query("role", &presented, NOW).unwrap().found.is_match());
}

#[test]
fn what_strays_verifies_nothing() {
    let plain = given(by_header("x-secret", ""));
    let sent = [("x-webhook-secret", SECRET)];
    let (_, presented) = plain.mask(head(Some("k=hunter2-hunter2"), &sent), None);
    assert_eq!(plain.verify_header("role", &presented, NOW).unwrap().found, Found::Missing);
}

/// Eight headers and a query of a provider behind a proxy.
#[test]
fn looking_for_strays_allocates_nothing_where_there_are_none() {
    let plain = given(by_header("x-secret", ""));
    let usual = head(
        Some("source=cdr&tenant=example"),
        &[
            ("host", "hooks.example.com"),
            ("user-agent", "Provider-Webhooks/2.1 (+https://example.com/webhooks)"),
            ("content-type", "application/json; charset=utf-8"),
            ("content-length", "330"),
            ("accept", "*/*"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "https"),
            ("x-request-id", "0198f6a0-8a1c-7000-8000-000000000000"),
        ],
    );
    let mut masked = None;
    let allocated = allocation_counter::measure(|| masked = Some(plain.mask(usual.clone(), None)));
    let copied = allocation_counter::measure(|| drop(usual.clone()));
    assert_eq!(allocated.count_total, copied.count_total);
    assert_eq!(masked.map(|(head, _)| head), Some(usual));
}

proptest! {
    /// Wherever in a head a secret stands as a value, it is not in what is kept.
    #[test]
    fn no_value_of_a_head_is_a_secret_after_masking(
        value in "[A-Z]{12}", name in "x-[a-z]{1,8}", scheme in "([a-z]{1,6} )?", key in "[a-z]{1,6}",
    ) {
        let of_route = secret(&[(value.as_bytes(), None)]);
        let route = route(by_header("x-declared", ""), Some(of_route), RouteAuth::Required);
        let header = format!("{scheme}{value}");
        let query = format!("{key}={value}&{value}");
        let (kept, _) = route.mask(head(Some(&query), &[(&name, &header)]), None);
        prop_assert_eq!(kept, head(Some(&format!("{key}=***&***")), &[(&name, MASK)]));
    }
}
