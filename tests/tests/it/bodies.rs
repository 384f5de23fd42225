//! Sizes of bodies, from outside.

use sluice_tests::HomeBuilder;
use sluice_tests::http::Request;
use sluice_tests::provider::{VKYC_PATH, VKYC_SECRET_HEADER};

/// The default of `ingest.body_max`.
const BODY_MAX: usize = 1 << 20;

const TOKEN: &str = "a-token-of-sixteen-bytes-or-more";

/// `head`, padding, and `tail`, `length` bytes in all.
fn padded(head: &str, tail: &str, length: usize) -> String {
    let padding = "x".repeat(length - head.len() - tail.len());
    format!("{head}{padding}{tail}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_exactly_the_limit_is_accepted_by_each_adapter_and_one_byte_more_is_not() {
    let route = "[routes.zotlo]\npath = \"/hooks/zotlo/{token}\"\nplugin = \"zotlo\"\n\
                 secrets = { token = \"zotlo-token\" }\ndeliver_to = [\"events\"]\n";
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .plugin("zotlo")
        .unwrap()
        .secret("zotlo-token", TOKEN)
        .toml(route)
        .events_file()
        .build()
        .unwrap();
    let gateway = home.start().await.unwrap();
    let vkyc = |length| {
        let head = r#"{"appId":"a","transactionId":"t","eventType":"VCIP_CALL_STARTED","eventId":"e","eventDetails":{"agentId":""#;
        Request::post_json(VKYC_PATH, padded(head, r#""}}"#, length))
            .header(VKYC_SECRET_HEADER, sluice_tests::VKYC_SECRET)
    };
    let zotlo = |length| {
        let head = r#"{"queue":{"type":"TransactionInsert","eventType":"transaction","requestID":"r"},"parameters":{"transaction_id":"t","status":"trial","comment":""#;
        Request::post_json(&format!("/hooks/zotlo/{TOKEN}"), padded(head, r#""}}"#, length))
    };
    for (name, request) in [("vkyc", &vkyc as &dyn Fn(usize) -> Request), ("zotlo", &zotlo)] {
        assert_eq!(gateway.send(request(BODY_MAX)).await.unwrap().status, 200, "{name}");
        assert_eq!(gateway.send(request(BODY_MAX + 1)).await.unwrap().status, 413, "{name}");
    }
    assert!(gateway.terminate().await.unwrap().status.success());
}
