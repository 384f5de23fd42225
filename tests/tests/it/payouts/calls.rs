//! The payout matcher with what is around it: providers whose adapters' events it consumes, buyers
//! who meet a paused route or a limit.

use std::time::Duration;

use serde_json::{Value, json};
use sluice::model::{Clock as _, SystemClock};
use sluice_tests::http::Request;
use sluice_tests::{Gateway, Home, HomeBuilder};

const SECRET: &str = "b1a0f4e5c2d94f6f8a3e7d5c9b0a1f2e";
const TOKEN: &str = "buyer-6f1c1f0e8d8e4c559a43";

/// Exactly what the source document says.
const PAUSED: &str = r#"{"ok":false,"reason":"endpoint disabled"}"#;

/// How long what is owed may take.
const ALL_DONE: Duration = Duration::from_secs(60);

/// Paytia's calls, and those of an adapter of which the payout matcher knows nothing.
fn home(mapped: &str) -> Home {
    let tables = r#"
        [routes.paytia]
        path = "/hooks/paytia"
        plugin = "paytia-cdr"
        secrets = { shared_secret = "provider" }
        deliver_to = ["calls"]

        [routes.telephony]
        path = "/hooks/telephony"
        plugin = "keeper"
        secrets = { shared = "provider" }
        deliver_to = ["calls"]

        [destinations.calls]
        type = "adapter"
        adapter = "payouts"

        [routes.buyer]
        path = "/in/{token}"
        adapter = "payouts"
        secrets = { token = "buyer" }

        [adapters.payouts]
        plugin = "payout-matcher"
    "#;
    let builder =
        HomeBuilder::new().plugin("paytia-cdr").unwrap().plugin("payout-matcher").unwrap();
    let builder = builder.guest("keeper").unwrap().secret("provider", SECRET);
    builder.secret("buyer", TOKEN).toml(&format!("{tables}\n{mapped}")).build().unwrap()
}

async fn post(gateway: &Gateway, path: &str, body: String) {
    let request = Request::new("POST", path).header("x-webhook-secret", SECRET).body(body);
    assert_eq!(gateway.send(request).await.unwrap().status, 200);
}

/// A call of Paytia that ended just now after two minutes, and one of the other adapter, which
/// calls it `call-7` and says that it took one second. Both were consumed.
async fn call(gateway: &Gateway) {
    let now = SystemClock.now().0 / 1000;
    let record = json!({
        "originator": "customer", "incli": "+447700900123", "inddi": "+441133206847",
        "intimes": now - 120, "intimee": now, "hangFirstDir": "in", "hangFirstEnd": "remote",
    });
    post(gateway, "/hooks/paytia", record.to_string()).await;
    post(gateway, "/hooks/telephony", "tally call-7".to_owned()).await;
    gateway.until_delivered(ALL_DONE).await.unwrap();
}

async fn report(gateway: &Gateway, query: &str) -> Value {
    let answer = gateway.send(Request::get(&format!("/in/{TOKEN}?{query}"))).await.unwrap();
    answer.json().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_any_adapter_are_matched_as_the_settings_map_them() {
    let home = home(
        "[adapters.payouts.settings.call_events.\"test.keeper.tallied\"]\n\
         call_id = \"name\"\nduration = \"count\"\n",
    );
    let gateway = home.start_with(&[]).await.unwrap();
    call(&gateway).await;
    let matched = json!({ "ok": true, "matched": true });
    assert_eq!(report(&gateway, "call_id=call-7&payout=50").await, matched);
    assert_eq!(report(&gateway, "caller=%2B447700900123&duration=90&payout=7.50").await, matched);
    let adapters = gateway.admin_get("/api/v1/adapters").await.unwrap().json().unwrap();
    let list = adapters["adapters"].as_array().unwrap();
    let payouts = list.iter().find(|adapter| adapter["name"] == "payouts").unwrap();
    assert_eq!(payouts["consumes"], json!(["com.paytia.call.ended", "test.keeper.tallied"]));
    let calls = gateway.admin_get("/api/v1/adapters/payouts/views/calls?call_id=call-7").await;
    let row = &calls.unwrap().json().unwrap()["rows"][0];
    assert_eq!((&row["value_cents"], &row["duration_seconds"]), (&json!(5000), &json!(1)));
    assert!(gateway.terminate().await.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mapping_only_paytias_calls_are_calls() {
    let home = home("");
    let gateway = home.start_with(&[]).await.unwrap();
    call(&gateway).await;
    let told = report(&gateway, "call_id=call-7&payout=50").await;
    assert_eq!((&told["ok"], &told["matched"]), (&json!(true), &json!(false)), "{told}");
    let found = report(&gateway, "caller=%2B447700900123&duration=90&payout=7.50").await;
    assert_eq!(found["matched"], true);
    assert!(gateway.terminate().await.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_webhook_is_answered_200_so_that_no_buyer_retries() {
    let home = home(
        "[routes.paused]\npath = \"/paused/{token}\"\nadapter = \"payouts\"\npaused = true\n\
         secrets = { token = \"buyer\", shared_secret = \"provider\" }\n",
    );
    let gateway = home.start_with(&[]).await.unwrap();
    let request = || Request::get(&format!("/paused/{TOKEN}?call_id=7&payout=50"));
    for request in [request(), request().header("x-webhook-secret", SECRET)] {
        let answer = gateway.send(request).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, PAUSED));
    }
    let stranger = gateway.send(Request::get("/paused/another-token-of-24-bytes?payout=5")).await;
    assert_eq!(stranger.unwrap().status, 404);
    let unmatched = gateway.admin_get("/api/v1/adapters/payouts/views/unmatched").await.unwrap();
    assert_eq!(unmatched.json().unwrap(), json!({ "rows": [] }), "nothing was taken");
    assert!(gateway.terminate().await.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_beyond_fifty_a_minute_is_told_to_wait() {
    let home = home(
        "[routes.limited]\npath = \"/limited/{token}\"\nadapter = \"payouts\"\n\
         secrets = { token = \"buyer\" }\n\
         limits = { per_client = \"50/min\", per_route = \"200/min\" }\n",
    );
    let gateway = home.start_with(&[]).await.unwrap();
    let mut taken = 0;
    let refused = loop {
        let request = Request::get(&format!("/limited/{TOKEN}?call_id=7&payout=50"));
        let answer = gateway.send(request).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        // One more every 1.2 s, while the test takes its time.
        assert!(taken < 200, "no limit");
    };
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    assert!(taken >= 50, "{taken}");
    assert!(gateway.terminate().await.unwrap().status.success());
}
