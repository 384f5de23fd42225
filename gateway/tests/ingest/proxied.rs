//! Behind a proxy: PROXY headers before the first byte, and whom a reload makes believed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice::config::{ForwardedBy, TrustedProxies};

use super::client::{Client, post};
use super::gateway::{Gateway, Plan, snapshot};

const LINE: &str = "PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n";
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\xc6\x33\x64\x01\xdc\x04\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn plan(forwarded: ForwardedBy, trusted: &[&str]) -> Plan {
    let mut plan = Plan::default();
    plan.ingest.forwarded = forwarded;
    plan.ingest.trusted_proxies =
        trusted.iter().map(|text| text.parse().unwrap()).collect::<TrustedProxies>();
    plan
}

fn trusting() -> Plan {
    plan(ForwardedBy::ProxyProtocol, &["127.0.0.1/32"])
}

fn clients(gateway: &Gateway) -> Vec<String> {
    let commits = gateway.storage.commits();
    commits.iter().map(|commit| commit.request.client.to_string()).collect()
}

async fn ok(client: &mut Client, request: impl AsRef<[u8]>) {
    client.send(request).await;
    client.expect(200).await;
}

#[tokio::test]
async fn a_trusted_proxy_says_for_whom_it_speaks() {
    let gateway = Gateway::start(&trusting());
    for (header, expected) in
        [(LINE.as_bytes(), "203.0.113.9"), (BINARY, "203.0.113.9"), (LOCAL, "127.0.0.1")]
    {
        let before = gateway.storage.commits().len();
        let mut client = gateway.client().await;
        // In pieces, and the last of them with the first request; another one follows.
        let (start, end) = header.split_at(9);
        client.send(start).await;
        tokio::task::yield_now().await;
        ok(&mut client, [end, post("/hook", "one").as_bytes()].concat()).await;
        ok(&mut client, post("/hook", "two")).await;
        assert_eq!(clients(&gateway)[before..], [expected, expected]);
    }
    assert_eq!(gateway.adapter.calls()[0].inbound.client, "203.0.113.9".parse::<IpAddr>().unwrap());
    // The ring of refused requests says the same.
    let mut client = gateway.client().await;
    client.send(format!("{LINE}{}", post("/hook", "x").replace("POST", "PUT"))).await;
    client.expect(405).await;
    assert_eq!(gateway.refusal().client.to_string(), "203.0.113.9");
}

#[tokio::test]
async fn a_trusted_proxy_that_does_not_say_is_not_served() {
    let gateway = Gateway::start(&trusting());
    for bytes in [
        post("/hook", "no header").into_bytes(),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        [&b"\r\n"[..], LINE.as_bytes(), post("/hook", "late").as_bytes()].concat(),
        [&LINE.as_bytes()[..20], b"\r\n", post("/hook", "bad").as_bytes()].concat(),
        [&BINARY[..13], &[0x77], &BINARY[14..], post("/hook", "bad").as_bytes()].concat(),
    ] {
        let mut client = gateway.client().await;
        client.send(&bytes).await;
        client.expect_end().await;
    }
    assert_eq!(clients(&gateway), [""; 0]);
    assert!(gateway.refused().is_empty());
}

#[tokio::test]
async fn a_second_header_is_no_request() {
    let gateway = Gateway::start(&trusting());
    for first in [LINE.as_bytes(), BINARY] {
        for second in [LINE.as_bytes(), BINARY] {
            let mut client = gateway.client().await;
            client.send([first, second, post("/hook", "twice").as_bytes()].concat()).await;
            client.expect(400).await;
            client.expect_end().await;
        }
    }
    assert_eq!(clients(&gateway), [""; 0]);
}

#[tokio::test]
async fn nobody_else_may_say_it() {
    // Where nobody is trusted, where somebody else is, and where another mechanism is asked for.
    for plan in [
        plan(ForwardedBy::ProxyProtocol, &["10.0.0.0/8"]),
        plan(ForwardedBy::XForwardedFor, &["127.0.0.1/32"]),
        plan(ForwardedBy::None, &["127.0.0.1/32"]),
    ] {
        let gateway = Gateway::start(&plan);
        for header in [LINE.as_bytes(), BINARY, LOCAL] {
            let mut client = gateway.client().await;
            client.send([header, post("/hook", "forged").as_bytes()].concat()).await;
            client.expect(400).await;
            client.expect_end().await;
        }
        assert_eq!(clients(&gateway), [""; 0]);
        gateway.post("/hook", "as everybody").await;
        assert_eq!(clients(&gateway), ["127.0.0.1"]);
    }
}

#[tokio::test]
async fn a_slow_header_is_waited_for_five_seconds_and_no_longer_than_a_head() {
    let gateway = Gateway::start(&trusting());
    let mut plan = trusting();
    plan.ingest.head_deadline = Duration::from_millis(300);
    let hasty = Gateway::start(&plan);
    let mut silent = Vec::new();
    let began = Instant::now();
    for (gateway, least) in [(&gateway, 5_000), (&hasty, 300)] {
        for sent in [&b""[..], b"PROXY ", BINARY.split_at(20).0] {
            let mut client = gateway.client().await;
            client.send(sent).await;
            silent.push((client, Duration::from_millis(least)));
        }
    }
    silent.sort_by_key(|(_, least)| *least);
    for (client, least) in &mut silent {
        client.expect_end().await;
        let took = began.elapsed();
        assert!(*least <= took && took < *least + Duration::from_secs(4), "{least:?}: {took:?}");
    }
    assert_eq!(clients(&gateway), [""; 0]);
}

#[tokio::test]
async fn a_connection_that_has_not_introduced_itself_does_not_hold_up_a_stop() {
    let mut gateway = Gateway::start(&trusting());
    let mut client = gateway.client().await;
    client.send("PROXY ").await;
    let began = Instant::now();
    gateway.stop();
    assert_eq!(gateway.stopped().await.connections_left, 0);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_reload_changes_who_is_believed_on_open_connections_too() {
    let request = |header: &str| {
        post("/hook", "x").replace("Host: a\r\n", &format!("Host: a\r\n{header}\r\n"))
    };
    let believed = request("X-Forwarded-For: 203.0.113.1");
    let gateway = Gateway::start(&trusting());
    let mut introduced = gateway.client().await;
    ok(&mut introduced, format!("{LINE}{believed}")).await;
    assert_eq!(clients(&gateway), ["203.0.113.9"]);
    for (n, (forwarded, trusted, expected)) in [
        (ForwardedBy::XForwardedFor, "127.0.0.1/32", "203.0.113.1"),
        (ForwardedBy::XForwardedFor, "10.0.0.0/8", "127.0.0.1"),
        (ForwardedBy::None, "127.0.0.1/32", "127.0.0.1"),
        (ForwardedBy::ProxyProtocol, "127.0.0.1/32", "203.0.113.9"),
    ]
    .into_iter()
    .enumerate()
    {
        let plan = plan(forwarded, &[trusted]);
        gateway.swap.store(Arc::new(snapshot(n as u64 + 2, &plan)));
        ok(&mut introduced, &believed).await;
        assert_eq!(clients(&gateway).last().unwrap(), expected, "{forwarded} by {trusted}");
    }
}
