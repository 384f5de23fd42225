//! Promise 6: a wrong secret is told to the operator and to nobody else, and no secret and no
//! payload is ever in a log line, at any level.

use std::time::Duration;

use sluice_tests::http::Request;
use sluice_tests::provider::{VKYC_PATH, VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::{ADMIN_TOKEN, HomeBuilder, VKYC_SECRET, store};

const URL_TOKEN: &str = "canary-token-0d9f1c3be77a41";
const PRESENTED: &str = "canary-presented-but-wrong-91";
const PAYLOAD: &str = "canary-payload-3f70";

const ZOTLO: &str = r#"
[routes.zotlo]
path = "/hooks/zotlo/{token}"
plugin = "zotlo"
secrets = { token = "zotlo-token" }
deliver_to = ["events"]
"#;

fn home() -> sluice_tests::Home {
    HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .plugin("zotlo")
        .unwrap()
        .secret("zotlo-token", URL_TOKEN)
        .toml(ZOTLO)
        .events_file()
        .build()
        .unwrap()
}

fn vkyc(secret: &str, id: &str) -> Request {
    Request::post_json(VKYC_PATH, vkyc_payload(id)).header(VKYC_SECRET_HEADER, secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_401_for_the_sender_and_a_diagnosis_for_the_operator() {
    let home = home();
    let gateway = home.start().await.unwrap();
    let answer = gateway.send(vkyc(PRESENTED, "trn:vkyc:1")).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (401, ""));
    let missing = Request::post_json(VKYC_PATH, vkyc_payload("trn:vkyc:1"));
    assert_eq!(gateway.send(missing).await.unwrap().status, 401);
    gateway.wait_for_log("secret_mismatch", Duration::from_secs(5)).await.unwrap();
    gateway.wait_for_log("header_missing", Duration::from_secs(5)).await.unwrap();
    let listed = gateway.admin_get("/api/v1/requests?disposition=rejected").await.unwrap();
    let listed = listed.json().unwrap();
    assert_eq!(listed["requests"][0]["diagnosis"], "header_missing");
    assert_eq!(listed["requests"][1]["diagnosis"], "secret_mismatch");
    // The same event with the right secret is new: the refused ones left nothing.
    assert_eq!(gateway.send(vkyc(VKYC_SECRET, "trn:vkyc:1")).await.unwrap().status, 200);
    gateway.terminate().await.unwrap();
    assert_eq!(store::requests(&home).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_payload_is_in_any_log_line_or_file() {
    let home = home();
    let gateway = home.start_with(&[("SLUICE_LOG", "trace")]).await.unwrap();
    let zotlo = |token: &str| {
        let body =
            format!(r#"{{"queue":{{"type":"{PAYLOAD}","requestID":"r"}},"parameters":{{}}}}"#);
        Request::post_json(&format!("/hooks/zotlo/{token}?seen={PAYLOAD}"), body)
    };
    assert_eq!(gateway.send(vkyc(VKYC_SECRET, PAYLOAD)).await.unwrap().status, 200);
    assert_eq!(gateway.send(vkyc(VKYC_SECRET, PAYLOAD)).await.unwrap().status, 200);
    assert_eq!(gateway.send(vkyc(PRESENTED, PAYLOAD)).await.unwrap().status, 401);
    assert_eq!(gateway.send(zotlo(URL_TOKEN)).await.unwrap().status, 200);
    assert_eq!(gateway.send(zotlo(PRESENTED)).await.unwrap().status, 404);
    let broken = Request::post_json(VKYC_PATH, format!("{{{PAYLOAD}"))
        .header(VKYC_SECRET_HEADER, VKYC_SECRET)
        .header("x-other", PAYLOAD);
    assert_eq!(gateway.send(broken).await.unwrap().status, 400);
    let list = gateway.admin_get("/api/v1/requests").await.unwrap();
    assert_eq!(list.status, 200);
    let mut shown = list.text();
    for row in list.json().unwrap()["requests"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        shown += &gateway.admin_get(&format!("/api/v1/requests/{id}")).await.unwrap().text();
    }
    shown += &gateway.admin_get("/metrics").await.unwrap().text();
    let log = gateway.log().unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    // The control: the log is really there, and the API really shows the payload.
    assert!(log.lines().count() > 5, "{log}");
    assert!(shown.contains(PAYLOAD));
    for secret in [VKYC_SECRET, ADMIN_TOKEN, URL_TOKEN, PRESENTED] {
        assert!(!log.contains(secret), "`{secret}` is in the log");
        assert!(!shown.contains(secret), "`{secret}` is shown by the admin side");
        assert!(!in_data(&home, secret), "`{secret}` is in the data folder");
    }
    assert!(!log.contains(PAYLOAD), "the payload is in the log");
    assert!(in_data(&home, PAYLOAD), "the control: what is stored is found");
}

const ELSEWHERE: &str = r#"
[routes.elsewhere]
path = "/hooks/elsewhere"
plugin = "vkyc"
secrets = { shared_secret = "vkyc-secret" }
settings = { secret_header = "x-secret" }
deliver_to = ["events"]
"#;

const PROXY_PASSWORD: &str = "Y2FuYXJ5OnByb3h5LXBhc3N3b3Jk";
const COOKIE: &str = "session=canary-cookie-5b1d";

/// The operator wrote down another header than the provider's; a proxy repeats the URL, and is
/// given a password of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_wrong_place_is_kept_and_shown_nowhere() {
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .plugin("zotlo")
        .unwrap()
        .secret("zotlo-token", URL_TOKEN)
        .toml(ZOTLO)
        .toml(ELSEWHERE)
        .events_file()
        .build()
        .unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "trace")]).await.unwrap();
    for sent in [VKYC_SECRET.to_owned(), format!("Bearer {VKYC_SECRET}")] {
        let request = Request::post_json("/hooks/elsewhere", vkyc_payload(PAYLOAD))
            .header(VKYC_SECRET_HEADER, &sent);
        assert_eq!(gateway.send(request).await.unwrap().status, 401);
    }
    let query = format!("/hooks/elsewhere?key={VKYC_SECRET}");
    let request = Request::post_json(&query, vkyc_payload(PAYLOAD));
    assert_eq!(gateway.send(request).await.unwrap().status, 401);
    let path = format!("/hooks/zotlo/{URL_TOKEN}");
    let body = r#"{"queue":{"type":"renewed","requestID":"r"},"parameters":{}}"#;
    let request = Request::post_json(&path, body)
        .header("x-original-url", &format!("{path}?a=1"))
        .header("referer", &format!("https://hooks.example.com{path}"))
        .header("authorization", &format!("Basic {PROXY_PASSWORD}"))
        .header("cookie", COOKIE)
        .header("x-other", PAYLOAD);
    assert_eq!(gateway.send(request).await.unwrap().status, 200);

    let list = gateway.admin_get("/api/v1/requests").await.unwrap().json().unwrap();
    let rows = list["requests"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[1]["diagnosis"], "header_missing");
    let mut shown = list.to_string();
    for row in rows {
        let id = row["id"].as_str().unwrap();
        shown += &gateway.admin_get(&format!("/api/v1/requests/{id}")).await.unwrap().text();
    }
    let log = gateway.log().unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    // The controls: the requests are shown and stored, with the headers that hold no secret.
    assert!(shown.contains(PAYLOAD) && in_data(&home, PAYLOAD), "{shown}");
    assert!(shown.contains("/hooks/zotlo/***?a=1"), "{shown}");
    for secret in [VKYC_SECRET, URL_TOKEN, PROXY_PASSWORD, COOKIE] {
        assert!(!log.contains(secret), "`{secret}` is in the log");
        assert!(!shown.contains(secret), "`{secret}` is shown by the admin side");
        assert!(!in_data(&home, secret), "`{secret}` is in the data folder");
    }
}

const HOSTILE: &str = r#"
[routes.hostile]
path = "/hooks/hostile"
plugin = "hostile"
secrets = { shared = "vkyc-secret" }
deliver_to = ["events"]
"#;

const CARD: &str = "4111111111111111";

/// The guest logs, asks and returns what it read, and asks to have masked what stands between the
/// brackets.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_adapter_has_masked_is_nowhere_but_in_a_hash_of_what_was_received() {
    let home = HomeBuilder::new()
        .guest("hostile")
        .unwrap()
        .secret("vkyc-secret", VKYC_SECRET)
        .toml(HOSTILE)
        .events_file()
        .build()
        .unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "trace")]).await.unwrap();
    let (mut all, mut received) = (String::new(), Vec::new());
    for (word, status, disposition) in [
        ("outcome", 200, "accepted"),
        ("reject", 422, "rejected"),
        ("trap", 503, "quarantined"),
        ("broken", 503, "quarantined"),
        ("breach", 503, "quarantined"),
        ("beyond", 503, "quarantined"),
        ("more", 503, "quarantined"),
    ] {
        let body = format!("mask-{word} {{\"a\":\"<{CARD}>\"}}");
        let request = Request::new("POST", &format!("/hooks/hostile?q=({CARD})&word={word}"))
            .header("authorization", &format!("Bearer {VKYC_SECRET}"))
            .body(body.clone());
        let answer = gateway.send(request).await.unwrap();
        assert_eq!(answer.status, status, "{word}");
        let list = gateway.admin_get("/api/v1/requests?limit=1").await.unwrap().json().unwrap();
        let id = list["requests"][0]["id"].as_str().unwrap().to_owned();
        let shown = gateway.admin_get(&format!("/api/v1/requests/{id}")).await.unwrap();
        let whole = shown.json().unwrap();
        assert_eq!(whole["disposition"], disposition, "{word}");
        assert_eq!(whole["redacted"], true, "{word}");
        if disposition != "rejected" {
            let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
            assert_eq!(whole["body_sha256"], hex::encode(digest), "{word}");
            assert_eq!(whole["intact"], true, "{word}");
        }
        let admin = format!("http://{}/", gateway.admin());
        let show = ["requests", "show", &id, "--admin", &admin, "--token-file"];
        let printed = home.sluice(&[&show[..], &["secrets/admin-token"]].concat()).unwrap();
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert!(printed.contains("redacted: true"), "{printed}");
        all += &format!("{}{}{printed}", answer.text(), shown.text());
        received.push(whole);
    }
    assert_eq!(received[0]["body"]["text"], "mask-outcome {\"a\":\"<***>\"}");
    assert_eq!(received[0]["head"]["query"], "q=(***)&word=outcome");
    let original = &received[0]["events"][0]["data"]["original"];
    assert_eq!(*original, "mask-outcome {\"a\":\"<***>\"}");
    // The control: what the guest does not ask for is kept, and would be found.
    let control = Request::new("POST", "/hooks/hostile")
        .header("authorization", &format!("Bearer {VKYC_SECRET}"))
        .body("mask-outcome 5555555555554444");
    assert_eq!(gateway.send(control).await.unwrap().status, 200);
    let listed = gateway.admin_get("/api/v1/requests?limit=1").await.unwrap().json().unwrap();
    let id = listed["requests"][0]["id"].as_str().unwrap();
    let control = gateway.admin_get(&format!("/api/v1/requests/{id}")).await.unwrap();
    assert_eq!(control.json().unwrap()["redacted"], false);
    let log = gateway.log().unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    assert!(log.contains("mask-outcome {") && log.contains("5555555555554444"), "{log}");
    for digits in [CARD, "411111"] {
        assert!(!log.contains(digits), "`{digits}` is in the log");
        assert!(!all.contains(digits), "`{digits}` is shown by the admin side");
        assert!(!in_data(&home, digits), "`{digits}` is in the data folder");
    }
    assert!(in_data(&home, "5555555555554444"));
}

const PAYTIA: &str = r#"
[routes.paytia]
path = "/hooks/paytia"
plugin = "paytia-cdr"
secrets = { shared_secret = "paytia-secret" }
deliver_to = ["events"]
"#;

/// A home with a route of Paytia's.
fn paytia() -> sluice_tests::Home {
    HomeBuilder::new()
        .plugin("paytia-cdr")
        .unwrap()
        .secret("paytia-secret", "cdr-secret")
        .toml(PAYTIA)
        .events_file()
        .build()
        .unwrap()
}

/// What is refused is shown to operators like what is stored, and masked like it: cards of a
/// provider whose secret was rotated on one side only, of a cut body, and of a query beside one.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_number_is_masked_whatever_becomes_of_the_request() {
    let home = paytia();
    let gateway = home.start_with(&[("SLUICE_LOG", "trace")]).await.unwrap();
    let record = format!(r#"{{"state":"talking","statevalue":"pan {CARD}"}}"#);
    let cut = record.trim_end_matches('}').to_owned();
    let escaped = r#"{"state":"talking","statevalue":"\u0034111111111111111""#.to_owned();
    let plain = r#"{"state":"talking"}"#.to_owned();
    let queried = format!("/hooks/paytia?pan={CARD}");
    let mut shown = String::new();
    for (path, secret, body, status) in [
        ("/hooks/paytia", "rotated", record.clone(), 401),
        ("/hooks/paytia", "cdr-secret", cut.clone(), 400),
        ("/hooks/paytia", "rotated", cut, 401),
        ("/hooks/paytia", "cdr-secret", escaped, 400),
        (queried.as_str(), "cdr-secret", plain.clone(), 200),
        (queried.as_str(), "rotated", plain, 401),
        ("/hooks/paytia", "cdr-secret", record, 200),
    ] {
        let request = Request::post_json(path, body.clone()).header(VKYC_SECRET_HEADER, secret);
        assert_eq!(gateway.send(request).await.unwrap().status, status, "{body}");
        let list = gateway.admin_get("/api/v1/requests?limit=1").await.unwrap().json().unwrap();
        let id = list["requests"][0]["id"].as_str().unwrap();
        let whole = gateway.admin_get(&format!("/api/v1/requests/{id}")).await.unwrap();
        assert_eq!(whole.json().unwrap()["redacted"], true, "{body}");
        shown += &whole.text();
    }
    let log = gateway.log().unwrap();
    assert!(gateway.terminate().await.unwrap().status.success());
    assert!(shown.contains("pan ***") && shown.contains("pan=***"), "{shown}");
    for digits in [CARD, "111111111111111"] {
        assert!(!log.contains(digits), "`{digits}` is in the log");
        assert!(!shown.contains(digits), "`{digits}` is shown by the admin side");
        assert!(!in_data(&home, digits), "`{digits}` is in the data folder");
    }
}

/// Thousands of card numbers take no longer to find than they take to read.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_full_of_card_numbers_is_masked_within_a_calls_deadline() {
    let home = paytia();
    let gateway = home.start().await.unwrap();
    let body = format!("state=talking&statevalue={}", format!("{CARD}%3B").repeat(10_000));
    let request = Request::new("POST", "/hooks/paytia")
        .header("content-type", "application/x-www-form-urlencoded")
        .header(VKYC_SECRET_HEADER, "cdr-secret")
        .body(body);
    assert_eq!(gateway.send(request).await.unwrap().status, 200);
    assert!(gateway.terminate().await.unwrap().status.success());
    assert!(!in_data(&home, CARD));
}

/// Whether any file of the data folder contains `text`.
fn in_data(home: &sluice_tests::Home, text: &str) -> bool {
    let mut folders = vec![home.data().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    return true;
                }
            }
        }
    }
    false
}
