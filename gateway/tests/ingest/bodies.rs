//! Bodies: to the byte as they were sent, and no larger than allowed.

use proptest::prelude::*;
use ring::digest::{SHA256, digest};
use sluice::model::Diagnosis;

use super::client::post;
use super::gateway::{BODY_MAX, Gateway, Plan};

/// `body` in chunks of that size.
fn chunked(path: &str, body: &[u8], size: usize) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    for chunk in body.chunks(size) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn the_largest_body_is_taken_and_one_byte_more_is_not() {
    let gateway = Gateway::start(&Plan::default());
    for size in [0, 1, BODY_MAX - 1, BODY_MAX] {
        let body = "x".repeat(size);
        assert_eq!(gateway.post("/hook", &body).await.status, 200, "{size} bytes");
        let mut client = gateway.client().await;
        client.send(chunked("/hook", body.as_bytes(), 4_000)).await;
        client.expect(200).await;
    }
    let calls = gateway.adapter.calls();
    assert!(gateway.refused().is_empty());

    let body = "x".repeat(BODY_MAX + 1);
    for request in [post("/hook", &body).into_bytes(), chunked("/hook", body.as_bytes(), 4_000)] {
        let mut client = gateway.client().await;
        client.try_send(request).await;
        let answer = client.expect(413).await;
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(answer.body.is_empty());
        client.expect_end().await;
    }
    assert_eq!(gateway.adapter.calls().len(), calls.len());
    assert!(gateway.refused().iter().all(|each| each.diagnosis == Diagnosis::BODY_TOO_LARGE));
    assert_eq!(gateway.refused().len(), 2);
}

#[tokio::test]
async fn a_gigabyte_is_refused_on_its_word() {
    let gateway = Gateway::start(&Plan::default());
    let mut client = gateway.client().await;
    client.send("POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n").await;
    client.expect(413).await;
    // It does not stay to listen either: a peer that goes on sending is cut off.
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while client.try_send(&piece).await {
        sent += piece.len();
        assert!(sent < 64 << 20, "still taking after {sent} bytes");
    }
}

#[tokio::test]
async fn a_refused_sender_is_not_cut_off_in_the_middle_of_a_word() {
    let gateway = Gateway::start(&Plan::default());
    let mut client = gateway.client().await;
    client.send("POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    client.expect(413).await;
    client.expect_end().await;
    // A closed socket would answer the first of these with a reset, and the next ones fail.
    for _ in 0..32 {
        assert!(client.try_send([b'x'; 1024]).await);
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_body() {
    let gateway = Gateway::start(&Plan::default());
    let mut client = gateway.client().await;
    client.send("POST /hook HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nok").await;
    client.finish().await;
    client.expect(400).await;
    assert!(gateway.adapter.calls().is_empty());
    assert!(gateway.storage.commits().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_body_is_stored_as_it_was_sent(
        body in prop::collection::vec(any::<u8>(), 0..20_000),
        size in 1_usize..5_000,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let gateway = Gateway::start(&Plan::default());
            let mut client = gateway.client().await;
            client.send(chunked("/hook", &body, size)).await;
            client.expect(200).await;
            let request = gateway.storage.commits().remove(0).request;
            assert_eq!(request.body, body);
            assert_eq!(request.body_sha256, digest(&SHA256, &body).as_ref());
            assert_eq!(gateway.adapter.calls()[0].inbound.body, body);
        });
    }
}
