//! Sizes of bodies, from outside.

use std::collections::BTreeSet;

use ring::hmac;
use sluice_tests::http::Request;
use sluice_tests::provider::{VKYC_PATH, VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::{HomeBuilder, VKYC_SECRET, long, store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The default of `ingest.body_max`.
const BODY_MAX: usize = 1 << 20;

const TOKEN: &str = "a-token-of-sixteen-bytes-or-more";

const OTTU_KEY: &str = "a-key-of-ottu";

/// An Ottu payment with a name of whatever length it takes, signed in the second scheme: the one
/// that costs an adapter and the gateway most, since the first is tried before.
fn ottu_body(length: usize) -> String {
    let head = r#"{"amount":"1.000","reference_number":"r-1","result":"success","session_id":"s","state":"paid","signature":""#;
    let middle = r#"","customer_first_name":""#;
    let name = "x".repeat(length - head.len() - 64 - middle.len() - 2);
    let signed = format!(
        "amount=1.000\ncustomer_first_name={name}\nreference_number=r-1\nresult=success\nsession_id=s\nstate=paid"
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, OTTU_KEY.as_bytes());
    let signature = hex::encode(hmac::sign(&key, signed.as_bytes()));
    format!("{head}{signature}{middle}{name}\"}}")
}

/// `head`, padding, and `tail`, `length` bytes in all.
fn padded(head: &str, tail: &str, length: usize) -> String {
    let padding = "x".repeat(length - head.len() - tail.len());
    format!("{head}{padding}{tail}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_exactly_the_limit_is_accepted_by_each_adapter_and_one_byte_more_is_not() {
    let route = "[routes.zotlo]\npath = \"/hooks/zotlo/{token}\"\nplugin = \"zotlo\"\n\
                 secrets = { token = \"zotlo-token\" }\ndeliver_to = [\"events\"]\n\
                 [routes.ottu]\npath = \"/hooks/ottu\"\nplugin = \"ottu\"\n\
                 secrets = { hmac_key = \"ottu-hmac\" }\ndeliver_to = [\"events\"]\n\
                 [routes.paytia]\npath = \"/hooks/paytia/{token}\"\nplugin = \"paytia-cdr\"\n\
                 secrets = { token = \"zotlo-token\" }\ndeliver_to = [\"events\"]\n";
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .plugin("zotlo")
        .unwrap()
        .plugin("paytia-cdr")
        .unwrap()
        .secret("zotlo-token", TOKEN)
        .plugin("ottu")
        .unwrap()
        .secret("ottu-hmac", OTTU_KEY)
        .toml(route)
        .events_file()
        .build()
        .unwrap();
    let gateway = home.start().await.unwrap();
    let vkyc = |length| {
        let head = r#"{"appId":"a","transactionId":"t","eventType":"VCIP_CALL_STARTED","eventId":"e","eventDetails":{"agentId":""#;
        Request::post_json(VKYC_PATH, padded(head, r#""}}"#, length))
            .header(VKYC_SECRET_HEADER, VKYC_SECRET)
    };
    let zotlo = |length| {
        let head = r#"{"queue":{"type":"TransactionInsert","eventType":"transaction","requestID":"r"},"parameters":{"transaction_id":"t","status":"trial","comment":""#;
        Request::post_json(&format!("/hooks/zotlo/{TOKEN}"), padded(head, r#""}}"#, length))
    };
    let ottu = |length| Request::post_json("/hooks/ottu", ottu_body(length));
    let paytia = |length| {
        let head = "intimes=1767323045&inddi=%2B441133206847&statevalue=";
        Request::post_json(&format!("/hooks/paytia/{TOKEN}"), padded(head, "", length))
    };
    let requests: [(&str, &dyn Fn(usize) -> Request); 4] =
        [("vkyc", &vkyc), ("zotlo", &zotlo), ("ottu", &ottu), ("paytia-cdr", &paytia)];
    for (name, request) in requests {
        assert_eq!(gateway.send(request(BODY_MAX)).await.unwrap().status, 200, "{name}");
        assert_eq!(gateway.send(request(BODY_MAX + 1)).await.unwrap().status, 413, "{name}");
    }
    assert!(gateway.terminate().await.unwrap().status.success());
}

/// Bodies of nearly the largest size that cost a careless reader most, with a name each.
fn costly() -> Vec<(&'static str, String)> {
    let fill = |piece: &str| piece.repeat((BODY_MAX - 100) / piece.len());
    let numbered = |piece: &dyn Fn(usize) -> String| {
        let mut text = String::new();
        (0..)
            .map(piece)
            .take_while(|next| {
                let room = text.len() + next.len() < BODY_MAX - 100;
                if room {
                    text.push_str(next);
                }
                room
            })
            .count();
        text
    };
    let object = |members: String| format!("{{{}}}", members.trim_end_matches(','));
    vec![
        ("lists in lists", fill("[")),
        ("objects in objects", fill("{\"a\":")),
        ("many keys", object(numbered(&|n| format!("\"k{n}\":1,")))),
        ("one key again and again", object(fill("\"k\":1,"))),
        ("a long number", format!("{{\"amount\":{}}}", fill("9"))),
        ("a large exponent", "{\"amount\":1e999999999}".to_owned()),
        ("many elements", format!("{{\"a\":[{}1]}}", fill("1,"))),
        ("escapes", format!("{{\"a\":\"{}\"}}", fill("\\u0041"))),
        ("JSON in JSON", format!("{{\"a\":\"{}\"}}", fill("\\\\"))),
        ("white space", format!("{{{}}}", fill(" "))),
        ("many parameters", numbered(&|n| format!("k{n}=1&"))),
        ("one parameter again and again", fill("a=1&")),
        ("nothing between signs", fill("&")),
        ("percent escapes", format!("a={}", fill("%41"))),
    ]
}

/// None of them is a trap or a deadline, whoever sends it; with `--long` as whatever it is declared.
#[tokio::test(flavor = "multi_thread")]
async fn a_costly_body_is_answered_by_each_adapter_within_its_limits() {
    let mut builder = HomeBuilder::new().secret("token", TOKEN).secret("ottu-hmac", OTTU_KEY);
    let mut paths = vec![VKYC_PATH.to_owned()];
    for plugin in ["zotlo", "paytia-cdr", "payout-matcher", "ottu"] {
        let secret =
            if plugin == "ottu" { "hmac_key = \"ottu-hmac\"" } else { "token = \"token\"" };
        let token = if plugin == "ottu" { "" } else { "/{token}" };
        builder = builder.plugin(plugin).unwrap().toml(&format!(
            "[routes.{plugin}]\npath = \"/{plugin}{token}\"\nplugin = \"{plugin}\"\n\
             secrets = {{ {secret} }}\ndeliver_to = [\"events\"]\n"
        ));
        paths.push(format!("/{plugin}{token}").replace("{token}", TOKEN));
    }
    let home = builder.vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let gateway = home.start_with(&[]).await.unwrap();
    let mut answered = 0;
    for (name, body) in costly() {
        for path in &paths {
            let json = body.starts_with(['{', '[']);
            for (declared, is_it) in [("json", json), ("x-www-form-urlencoded", !json)] {
                if !is_it && !long() {
                    continue;
                }
                let request = Request::new("POST", path)
                    .header("content-type", &format!("application/{declared}"))
                    .header(VKYC_SECRET_HEADER, VKYC_SECRET)
                    .body(body.clone());
                let status = gateway.send(request).await.unwrap().status;
                assert!(status < 500, "{name} at {path} as {declared}: {status}");
                answered += 1;
            }
        }
    }
    println!("{answered} costly bodies answered");
    assert!(gateway.terminate().await.unwrap().status.success());
}

/// Anybody who saw a signed body can add a list to it that is not signed: it must not break the
/// adapter, whatever the items are.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_body_full_of_unsigned_items_costs_an_adapter_no_more_than_another() {
    let home = HomeBuilder::new()
        .plugin("ottu")
        .unwrap()
        .secret("ottu-hmac", OTTU_KEY)
        .toml(
            "[routes.ottu]\npath = \"/hooks/ottu\"\nplugin = \"ottu\"\n\
             secrets = { hmac_key = \"ottu-hmac\" }\ndeliver_to = [\"events\"]\n",
        )
        .events_file()
        .build()
        .unwrap();
    let gateway = home.start().await.unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, OTTU_KEY.as_bytes());
    for (number, item) in ["5", "{}", r#"{"amount":1}"#, r#"{"amount":"x"}"#].iter().enumerate() {
        let signed = format!("amount1.000reference_numberr-{number}resultsuccessstatepaid");
        let signature = hex::encode(hmac::sign(&key, signed.as_bytes()));
        let head = format!(
            r#"{{"amount":"1.000","reference_number":"r-{number}","result":"success","state":"paid","signature":"{signature}","transactions":["#
        );
        let items = vec![*item; (BODY_MAX - head.len() - 2) / (item.len() + 1)].join(",");
        let request = Request::post_json("/hooks/ottu", format!("{head}{items}]}}"));
        assert_eq!(gateway.send(request).await.unwrap().status, 200, "{item}");
    }
    assert!(gateway.terminate().await.unwrap().status.success());
}

/// A whole request as it goes over the wire, closed by its sender.
fn wire(id: &str, chunked: bool) -> Vec<u8> {
    let body = vkyc_payload(id);
    let (length, body) = if chunked {
        let (one, two) = body.split_at(body.len() / 2);
        let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
        ("transfer-encoding: chunked".to_owned(), chunks)
    } else {
        (format!("content-length: {}", body.len()), body)
    };
    format!(
        "POST {VKYC_PATH} HTTP/1.1\r\nhost: sluice\r\ncontent-type: application/json\r\n\
         {VKYC_SECRET_HEADER}: {VKYC_SECRET}\r\nconnection: close\r\n{length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A sender that goes away before its last byte leaves nothing; one that goes away after it, or
/// waits, has its request stored whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cut_off_anywhere_is_not_stored() {
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file().build().unwrap();
    let gateway = home.start_with(&[]).await.unwrap();
    let mut whole = BTreeSet::new();
    let mut cut_off = 0;
    for chunked in [false, true] {
        let length =
            wire("trn:vkyc:false-0000", false).len().max(wire("trn:vkyc:true-0000", true).len());
        for cut in 0..=length {
            let id = format!("trn:vkyc:{chunked}-{cut:04}");
            let bytes = wire(&id, chunked);
            let cut = cut.min(bytes.len());
            let mut stream = TcpStream::connect(gateway.ingest()).await.unwrap();
            stream.write_all(&bytes[..cut]).await.unwrap();
            if cut == bytes.len() {
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                whole.insert(id);
            } else {
                cut_off += 1;
            }
        }
    }
    assert!(gateway.terminate().await.unwrap().status.success());
    let stored = store::accepted(&home).await.unwrap();
    let stored: BTreeSet<String> = stored.into_iter().map(|stored| stored.id).collect();
    assert_eq!(stored, whole, "{cut_off} were cut off");
    assert!(whole.len() >= 2);
    println!("{cut_off} requests cut off, none stored; {} whole ones stored", whole.len());
}
