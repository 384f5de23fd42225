//! `HAProxy` as a real sender of PROXY headers.

use std::net::{IpAddr, Ipv4Addr};

use sluice_tests::http::{Connection, raw};
use sluice_tests::provider::vkyc_payload;
use sluice_tests::{HomeBuilder, store, vkyc_request};

use super::client;
use super::front::{Front, Kind, edit};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 8);

/// The shipped file with what its comment says for the PROXY protocol, of this version.
fn introducing(text: &str, keyword: &str) -> String {
    let text = edit(text, "    option forwardfor\n", "");
    let plain = text.lines().find(|line| line.contains("127.0.0.1:8080 check")).unwrap().to_owned();
    let text = edit(&text, &format!("{plain}\n"), "");
    let text = edit(&text, "    # server gateway", "    server gateway");
    edit(&text, "send-proxy-v2", keyword)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_those_that_haproxy_introduces() {
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .ingest("trusted_proxies = [\"127.0.0.1\"]\nforwarded = \"proxy-protocol\"")
        .build()
        .unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    let mut expected = Vec::new();
    for keyword in
        ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
    {
        let change = |text: String| introducing(&text, keyword);
        let front =
            Front::start_with(Kind::HaProxy, gateway.ingest(), gateway.admin(), change).await;
        let mut connections = Vec::new();
        for from in [ONE, OTHER] {
            connections.push((from, front.connect(from).await.unwrap()));
        }
        // In turn, over connections that both sides keep.
        for turn in 0..3 {
            for (from, connection) in &mut connections {
                let id = format!("{keyword}-{from}-{turn}");
                let spoofed = vkyc_request(vkyc_payload(&id))
                    .header("x-forwarded-for", "203.0.113.66")
                    .header("forwarded", "for=203.0.113.66");
                assert_eq!(connection.send(spoofed).await.unwrap().status, 200, "{id}");
                expected.push((id, *from));
            }
        }
    }
    // Past the proxy, from its own address: not served. From another one: for itself.
    let bare = b"POST /hooks/vkyc HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let answer = raw(gateway.ingest(), bare, std::time::Duration::from_secs(5)).await.unwrap();
    assert_eq!(answer, b"");
    gateway.wait_for_log("sent no PROXY header", super::PATIENCE).await.unwrap();
    let stream = client::connect(ONE, gateway.ingest()).await.unwrap();
    let mut past = Connection::over(stream, "gateway").await.unwrap();
    let answer = past.send(vkyc_request(vkyc_payload("past"))).await.unwrap();
    assert_eq!(answer.status, 200);
    expected.push(("past".to_owned(), ONE));

    gateway.terminate().await.unwrap();
    let stored = store::requests(&home).await.unwrap();
    let mut found: Vec<(String, IpAddr)> = stored
        .iter()
        .map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.record.body).unwrap();
            (body["eventId"].as_str().unwrap().to_owned(), request.record.client)
        })
        .collect();
    found.sort();
    let mut expected: Vec<_> = expected.into_iter().map(|(id, from)| (id, from.into())).collect();
    expected.sort();
    assert_eq!(found, expected);
}

/// A Unix socket between the two: the proxy counts as this machine's own address.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_at_a_unix_socket_is_trusted_as_this_machine() {
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .ingest("trusted_proxies = [\"127.0.0.1\"]\nforwarded = \"x-forwarded-for\"")
        .build()
        .unwrap();
    home.edit(
        "[ingest]\nlisten = \"127.0.0.1:0\"",
        "[ingest]\nlisten = [\"127.0.0.1:0\", \"unix:in.sock\"]",
    )
    .unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    let socket = home.folder().join("in.sock");
    let change = |text: String| {
        // Nobody else may enter the test's folder.
        let text = edit(&text, "user www-data;", "user root;");
        let there = format!("server unix:{}; # server 127.0.0.1:8080;", socket.display());
        edit(&text, "server 127.0.0.1:8080;", &there)
    };
    let front = Front::start_with(Kind::Nginx, gateway.ingest(), gateway.admin(), change).await;
    let mut connection = front.connect(ONE).await.unwrap();
    let spoofed = vkyc_request(vkyc_payload("one")).header("x-forwarded-for", "203.0.113.66");
    assert_eq!(connection.send(spoofed).await.unwrap().status, 200);
    gateway.terminate().await.unwrap();
    let stored = store::requests(&home).await.unwrap();
    let clients: Vec<IpAddr> = stored.iter().map(|request| request.record.client).collect();
    assert_eq!(clients, [IpAddr::from(ONE)]);
}
