//! A paused route accepts nothing, says so as its provider expects, and stays paused until an
//! operator says otherwise.

use serde_json::{Value, json};
use sluice_tests::http::{Answer, Request};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{Gateway, Home, HomeBuilder};

const TOKEN: &str = "canary-buyer-token-5f0c4d1a9b2e";

fn home() -> Home {
    HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .plugin("payout-matcher")
        .unwrap()
        .secret("buyer", TOKEN)
        .toml(
            "[routes.buyer]\npath = \"/in/{token}\"\nplugin = \"payout-matcher\"\n\
             secrets = { token = \"buyer\" }\ndeliver_to = [\"events\"]\n",
        )
        .events_file()
        .build()
        .unwrap()
}

/// Runs a command against the gateway; returns whether it succeeded, and what it said.
fn sluice(home: &Home, gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let admin = format!("http://{}/", gateway.admin());
    let to = ["--admin", &admin, "--token-file", "secrets/admin-token"];
    let output = home.sluice(&[arguments, &to].concat()).unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

async fn report(gateway: &Gateway) -> Answer {
    let report = r#"{"caller_id":"+13055550123","payout":"12.50","duration":60}"#;
    gateway.send(Request::post_json(&format!("/in/{TOKEN}"), report)).await.unwrap()
}

fn is_disabled(answer: &Answer) -> bool {
    answer.status == 200 && answer.text() == r#"{"ok":false,"reason":"endpoint disabled"}"#
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_route_answers_as_its_provider_expects_across_reloads_and_restarts() {
    let home = home();
    let gateway = home.start().await.unwrap();
    let taken = report(&gateway).await;
    assert!(taken.status == 200 && !is_disabled(&taken), "{}", taken.text());

    assert!(sluice(&home, &gateway, &["pause", "buyer"]).1.starts_with("buyer: paused by switch"));
    assert!(is_disabled(&report(&gateway).await));
    // Nobody without the token learns that it is there, let alone that it is paused.
    let stranger = Request::post_json("/in/wrong-token-wrong-token", "{}");
    assert_eq!(gateway.send(stranger).await.unwrap().status, 404);
    gateway.post_vkyc(vkyc_payload("other-route")).await.unwrap();

    let page = gateway.admin_get("/api/v1/requests").await.unwrap().json().unwrap();
    let rows = page["requests"].as_array().unwrap();
    let paused: Vec<&Value> = rows.iter().filter(|row| row["diagnosis"] == "paused").collect();
    assert_eq!(paused.len(), 1, "{page}");
    assert_eq!(paused[0]["disposition"], "rejected");
    let metrics = gateway.admin_get("/metrics").await.unwrap().text();
    let is_counted = |disposition: &str| {
        let series =
            format!("sluice_requests_total{{route=\"buyer\",disposition=\"{disposition}\"}} 1");
        metrics.lines().any(|line| line == series)
    };
    assert!(is_counted("paused"), "{metrics}");
    // The report before the pause, and no other.
    assert!(is_counted("accepted") || is_counted("ignored"), "{metrics}");

    // A reload leaves it, although the file says otherwise; so does a restart.
    home.edit("secrets = { token = \"buyer\" }", "paused = false\nsecrets = { token = \"buyer\" }")
        .unwrap();
    gateway.reload().await.unwrap();
    assert!(is_disabled(&report(&gateway).await));
    assert!(gateway.terminate().await.unwrap().status.success());
    let gateway = home.start().await.unwrap();
    assert!(is_disabled(&report(&gateway).await));
    let (_, list) = sluice(&home, &gateway, &["routes"]);
    assert!(list.contains("paused by switch since"), "{list}");
    assert!(!list.contains(TOKEN), "{list}");

    assert!(sluice(&home, &gateway, &["resume", "buyer"]).0);
    assert!(!is_disabled(&report(&gateway).await));
    // The file's word counts again, and is another by then.
    home.edit("paused = false", "paused = true").unwrap();
    gateway.reload().await.unwrap();
    assert!(!is_disabled(&report(&gateway).await));
    let (_, told) = sluice(&home, &gateway, &["resume", "buyer", "--follow-config"]);
    assert_eq!(told.trim(), "buyer: paused by the configuration");
    assert!(is_disabled(&report(&gateway).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_route_answers_later_by_default_and_unknown_routes_are_told() {
    let home = home();
    let gateway = home.start().await.unwrap();
    assert!(sluice(&home, &gateway, &["pause", "vkyc"]).0);
    let answer = gateway.post_vkyc(vkyc_payload("p1")).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")));
    let (succeeded, told) = sluice(&home, &gateway, &["pause", "nobody"]);
    assert!(!succeeded && told.contains("there is no route `nobody`"), "{told}");
    let (_, json) = sluice(&home, &gateway, &["routes", "--format", "json"]);
    let list: Value = serde_json::from_str(&json).unwrap();
    let states = list["routes"].as_array().unwrap().iter().map(|route| route["paused"].clone());
    assert_eq!(states.collect::<Vec<_>>(), [json!(false), json!(true)]);
}
