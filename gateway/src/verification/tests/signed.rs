//! MACs and signatures: published vectors and laws.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::super::*;
use super::{NOW, flip, hmac_key, route, secret};

const SHA256: MacScheme = MacScheme { algorithm: MacAlgorithm::Sha256, key: KeyEncoding::Utf8 };

fn mac(scheme: MacScheme, key: &[u8], message: &[u8], presented: &str) -> Found {
    let encoding = PresentedEncoding::Hex;
    let message = [Part::Bytes(message)];
    let signed = Signed { message: &message, body: b"", presented, encoding };
    route(Travels::Key, Some(secret(&[(key, None)])), RouteAuth::Required)
        .verify_mac("role", scheme, &signed, NOW)
        .unwrap()
        .found
}

/// RFC 4231 sections 4.2 to 4.4 and 4.7 (SHA-256, SHA-384, SHA-512), RFC 2202 section 3 (SHA-1).
#[test]
fn macs_are_those_of_the_published_vectors() {
    let (sha1, sha256) = (MacAlgorithm::Sha1, MacAlgorithm::Sha256);
    let (sha384, sha512) = (MacAlgorithm::Sha384, MacAlgorithm::Sha512);
    let long_key = [0xaa; 131];
    let larger = b"Test Using Larger Than Block-Size Key - Hash Key First".as_slice();
    let want = b"what do ya want for nothing?".as_slice();
    let cases: [(MacAlgorithm, &[u8], &[u8], &str); 9] = [
        (sha1, &[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
        (sha1, b"Jefe", want, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (
            sha256,
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (sha256, b"Jefe", want, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            sha256,
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            sha256,
            &long_key,
            larger,
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            sha384,
            b"Jefe",
            want,
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            sha512,
            b"Jefe",
            want,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
        (
            sha512,
            &long_key,
            larger,
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ),
    ];
    for (algorithm, key, message, expected) in cases {
        // Keys that are no text are configured in hex.
        let scheme = MacScheme { algorithm, key: KeyEncoding::Hex };
        let key = hex::encode(key);
        let matched = Found::Matched { version: 0 };
        assert_eq!(mac(scheme, key.as_bytes(), message, expected), matched, "{algorithm:?}");
        assert_eq!(
            mac(scheme, key.as_bytes(), message, &expected.to_ascii_uppercase()),
            matched,
            "hexadecimal has no case"
        );
        let cut = expected.get(..expected.len() - 2).unwrap();
        assert_eq!(mac(scheme, key.as_bytes(), message, cut), Found::Mismatched, "truncated");
        let longer = format!("{expected}00");
        assert_eq!(mac(scheme, key.as_bytes(), message, &longer), Found::Mismatched, "longer");
    }
}

/// Ottu's published digests (V1: its documentation; V2: its client's golden test) and others made
/// by its rules (V3, V8).
#[test]
fn macs_are_those_of_a_provider() {
    for (key, message, digest) in [
        (
            "pu9MpX3yPR",
            "amount86.000currency_codeKWDcustomer_first_nameexample-customer",
            "6143b8ad4bd283540721ab000f6de746e722231aaaa90bc38f639081d3ff9f67",
        ),
        (
            "test-key",
            "amount=100.000\nresult=success\nsession_id=sess-1\ntoken.token=tok-1",
            "46ba93a62680c8750567583bb8074e37ccaadc6f374268b78a0c574c8424baff",
        ),
        (
            "test-key",
            "amount50.000currency_codeKWDgateway_accountdefaultgateway_nameknetorder_noord-1\
             reference_numberref-1resultsuccessstatepaid",
            "5768ccbefbfc7a3872827d727567b75e6b3ce2cc24c64509dab2d09596def8c9",
        ),
        (
            "pu9MpX3yPR",
            "amount86.000currency_codeKWDcustomer_address_citySalmiyacustomer_address_countryKW\
             customer_address_line1Block 4customer_address_stateHawallicustomer_email\
             a@example.comcustomer_first_nameأحمدcustomer_last_nameO'Neilcustomer_phone\
             +96550000000gateway_accountknet-testgateway_nameknetorder_no0reference_number\
             stgREF01resultsuccessstatepaid",
            "8f0b634ee371d42195a7292130a4ff0e18747defeb52a5b276cebd61f8def652",
        ),
    ] {
        let found = mac(SHA256, key.as_bytes(), message.as_bytes(), digest);
        assert_eq!(found, Found::Matched { version: 0 }, "{message}");
        assert_eq!(mac(SHA256, b"other", message.as_bytes(), digest), Found::Mismatched);
    }
}

#[test]
fn a_key_is_read_in_its_encoding_and_a_wrong_one_is_a_problem() {
    let key = b"\x00\x01key of some length";
    let base64 = STANDARD.encode(key);
    let whsec = format!("whsec_{base64}");
    for (encoding, text) in [
        (KeyEncoding::Hex, hex::encode(key)),
        (KeyEncoding::Base64, base64.clone()),
        (KeyEncoding::Base64, base64.trim_end_matches('=').to_owned()),
        (KeyEncoding::Whsec, whsec.clone()),
        (KeyEncoding::Whsec, base64),
    ] {
        let value = SecretValue::new(text.into_bytes());
        assert_eq!(encoding.decode(&value).unwrap().as_slice(), key, "{encoding:?}");
    }
    for (encoding, text) in [
        (KeyEncoding::Hex, "abc"),
        (KeyEncoding::Hex, "zz"),
        (KeyEncoding::Base64, "a*b"),
        (KeyEncoding::Base64, whsec.as_str()),
        (KeyEncoding::Whsec, "whsec_"),
    ] {
        let value = SecretValue::new(text.as_bytes().to_vec());
        let error = encoding.decode(&value).unwrap_err().to_string();
        assert!(error.contains(encoding.as_str()) && !error.contains(text), "{error}");
        let scheme = MacScheme { algorithm: MacAlgorithm::Sha256, key: encoding };
        assert_eq!(mac(scheme, text.as_bytes(), b"", &"00".repeat(32)), Found::Mismatched);
    }
}

#[test]
fn an_empty_or_undecodable_mac_is_mismatched_and_not_missing() {
    for presented in ["", "0", "zz", "é", "00"] {
        assert_eq!(mac(SHA256, b"key", b"", presented), Found::Mismatched, "{presented:?}");
    }
}

#[test]
fn the_body_stands_where_its_name_does() {
    let route = route(Travels::Key, Some(secret(&[(b"key", None)])), RouteAuth::Required);
    let tag = ring::hmac::sign(&hmac_key(b"key"), b"id.body.body");
    let presented = STANDARD.encode(tag.as_ref());
    let message = [Part::Bytes(b"id."), Part::Body, Part::Bytes(b"."), Part::Body];
    let encoding = PresentedEncoding::Base64;
    let signed = Signed { message: &message, body: b"body", presented: &presented, encoding };
    assert_eq!(signed.message_len(), 12);
    assert!(route.verify_mac("role", SHA256, &signed, NOW).unwrap().found.is_match());
    let other = Signed { body: b"bodY", ..signed };
    assert_eq!(route.verify_mac("role", SHA256, &other, NOW).unwrap().found, Found::Mismatched);
}

fn signature(algorithm: SignatureAlgorithm, key: &str, body: &[u8], presented: &str) -> Found {
    let route = route(Travels::Key, Some(secret(&[(key.as_bytes(), None)])), RouteAuth::Required);
    let encoding = PresentedEncoding::Hex;
    let signed = Signed { message: &[Part::Body], body, presented, encoding };
    route.verify_signature("role", algorithm, &signed, NOW).unwrap().found
}

/// RFC 8032 section 7.1, test 3.
#[test]
fn an_ed25519_signature_is_that_of_the_published_vector() {
    let key = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    let tag = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
               18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
    let ed25519 = SignatureAlgorithm::Ed25519;
    let matched = Found::Matched { version: 0 };
    assert_eq!(signature(ed25519, key, b"\xaf\x82", tag), matched);
    let base64 = STANDARD.encode(hex::decode(key).unwrap());
    assert_eq!(signature(ed25519, &base64, b"\xaf\x82", tag), matched);
    assert_eq!(signature(ed25519, key, b"\xaf\x83", tag), Found::Mismatched);
    assert_eq!(signature(ed25519, "no key", b"\xaf\x82", tag), Found::Mismatched);
    let ecdsa = SignatureAlgorithm::EcdsaP256Sha256;
    assert_eq!(signature(ecdsa, key, b"\xaf\x82", tag), Found::Mismatched);
}

#[test]
fn an_ecdsa_signature_verifies_and_its_neighbours_do_not() {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let tag = hex::encode(pair.sign(&random, b"body").unwrap());
    let key = hex::encode(pair.public_key());
    let ecdsa = SignatureAlgorithm::EcdsaP256Sha256;
    assert_eq!(signature(ecdsa, &key, b"body", &tag), Found::Matched { version: 0 });
    assert_eq!(signature(ecdsa, &key, b"bodz", &tag), Found::Mismatched);
    assert_eq!(signature(ecdsa, &key, b"body", ""), Found::Mismatched);
}

/// What is told of a secret that is no key, in all the checks of one snapshot.
#[test]
fn a_value_that_is_no_key_is_told_once_and_counted_each_time() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let route = route(Travels::Key, Some(secret(&[(b"not hex", None)])), RouteAuth::Required);
    let encoding = PresentedEncoding::Hex;
    let signed = Signed { message: &[], body: b"", presented: "00", encoding };
    let hex = MacScheme { algorithm: MacAlgorithm::Sha256, key: KeyEncoding::Hex };
    let ask = |scheme| route.verify_mac("role", scheme, &signed, NOW).unwrap().found;
    let counted = || {
        let metrics = recorder.handle().render();
        let series = "sluice_secret_no_key_total{secret=\"s\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(series)).map(str::to_owned)
    };
    metrics::with_local_recorder(&recorder, || {
        assert_eq!(ask(SHA256), Found::Mismatched);
        assert_eq!(counted(), None, "the text's own bytes are a key");
        assert_eq!(ask(hex), Found::Mismatched);
        assert_eq!(ask(hex), Found::Mismatched);
        let ed25519 = SignatureAlgorithm::Ed25519;
        let found = route.verify_signature("role", ed25519, &signed, NOW).unwrap().found;
        assert_eq!(found, Found::Mismatched);
    });
    assert_eq!(counted().as_deref(), Some("3"));
}

#[test]
fn a_message_is_put_together_only_where_there_is_something_to_check_it_with() {
    let body = vec![0; 1 << 20];
    // 64 GiB: whoever joins these does not come back.
    let message = vec![Part::Body; 1 << 16];
    let ed25519 = SignatureAlgorithm::Ed25519;
    let (given, none) = (Some(secret(&[(b"no key", None)])), None);
    for (secret, presented, expected) in
        [(none, "00", Found::NotConfigured), (given, "", Found::Mismatched)]
    {
        let encoding = PresentedEncoding::Hex;
        let signed = Signed { message: &message, body: &body, presented, encoding };
        let route = route(Travels::Key, secret, RouteAuth::Required);
        let verdict = route.verify_signature("role", ed25519, &signed, NOW).unwrap();
        assert_eq!(verdict.found, expected);
    }
}

proptest! {
    #[test]
    fn a_mac_matches_its_message_and_no_neighbour_of_it(
        key in prop::collection::vec(any::<u8>(), 1..80),
        message in prop::collection::vec(any::<u8>(), 1..200),
        bit in any::<prop::sample::Index>(),
    ) {
        let scheme = MacScheme { algorithm: MacAlgorithm::Sha256, key: KeyEncoding::Hex };
        let text = hex::encode(&key);
        let tag = ring::hmac::sign(&hmac_key(&key), &message).as_ref().to_vec();
        let matched = mac(scheme, text.as_bytes(), &message, &hex::encode(&tag));
        prop_assert_eq!(matched, Found::Matched { version: 0 });

        let (mut other_message, mut other_tag) = (message.clone(), tag.clone());
        flip(&mut other_message, bit);
        flip(&mut other_tag, bit);
        let found = mac(scheme, text.as_bytes(), &other_message, &hex::encode(&tag));
        prop_assert_eq!(found, Found::Mismatched);
        let found = mac(scheme, text.as_bytes(), &message, &hex::encode(&other_tag));
        prop_assert_eq!(found, Found::Mismatched);
    }

    #[test]
    fn a_signature_matches_its_message_and_no_neighbour_of_it(
        seed in any::<[u8; 32]>(),
        body in prop::collection::vec(any::<u8>(), 1..100),
        bit in any::<prop::sample::Index>(),
    ) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let key = hex::encode(pair.public_key().as_ref());
        let tag = pair.sign(&body).as_ref().to_vec();
        let ed25519 = SignatureAlgorithm::Ed25519;
        let matched = signature(ed25519, &key, &body, &hex::encode(&tag));
        prop_assert_eq!(matched, Found::Matched { version: 0 });
        let (mut other_body, mut other_tag) = (body.clone(), tag.clone());
        flip(&mut other_body, bit);
        flip(&mut other_tag, bit);
        let found = signature(ed25519, &key, &other_body, &hex::encode(&tag));
        prop_assert_eq!(found, Found::Mismatched);
        let found = signature(ed25519, &key, &body, &hex::encode(&other_tag));
        prop_assert_eq!(found, Found::Mismatched);
    }
}
