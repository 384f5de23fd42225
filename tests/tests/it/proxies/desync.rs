//! A proxy and the gateway never disagree about where a request ends: whatever one client sends,
//! another client's request is answered as its own, and arrives as it was sent.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use sluice_tests::provider::vkyc_payload;
use sluice_tests::{HomeBuilder, VKYC_SECRET, long, store, vkyc_request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::front::{Front, Kind, Way};
use crate::random::Random;

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 7, 7, 8);

/// Ways to say how long a body is that two readers might take for different lengths. `@` stands for
/// the length of all that follows, `#` for that of the first chunk with its frame.
const FRAMINGS: [&str; 40] = [
    "Content-Length: @\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: @",
    "Content-Length: #\r\nTransfer-Encoding: chunked",
    "Content-Length: #\r\nContent-Length: @",
    "Content-Length: @\r\nContent-Length: #",
    "Content-Length: #, @",
    "Content-Length: #\r\nContent_Length: @",
    "Content-Length: @\r\nTransfer_Encoding: chunked",
    "Content-Length: @\r\nTransfer-Encoding : chunked",
    "Content-Length: @\r\nTransfer-Encoding\t: chunked",
    "Content-Length: @\r\n Transfer-Encoding: chunked",
    "Content-Length: @\r\nTransfer-Encoding:\tchunked",
    "Content-Length: @\r\nTransfer-Encoding:\x0bchunked",
    "Content-Length: @\r\nTransfer-Encoding: \x0cchunked",
    "Content-Length: @\r\nTransfer-Encoding: xchunked",
    "Content-Length: @\r\nTransfer-Encoding: chunked, identity",
    "Content-Length: @\r\nTransfer-Encoding: identity, chunked",
    "Content-Length: @\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Content-Length: @\r\nTransfer-Encoding: gzip, chunked",
    "Content-Length: @\r\nTransfer-Encoding: \"chunked\"",
    "Content-Length: @\r\nTransfer-Encoding: chunked;q=1",
    "Content-Length: @\r\nTransfer-Encoding:\r\n chunked",
    "Content-Length: @\r\nTransfer-Encoding: chu\r\n nked",
    "Content-Length: @\r\nX: y\nTransfer-Encoding: chunked",
    "Content-Length: @\r\nX: y\rTransfer-Encoding: chunked",
    "Content-Length: @\r\nTransfer-Encoding: CHUNKED",
    "Content-Length: @\r\nTransfer-Encoding: chunked\0",
    "Content-Length: @\r\nTrAnSfEr-EnCoDiNg: chunked",
    "Content-Length: @\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "Content-Length: @\r\nConnection: Content-Length",
    "Content-Length: +#\r\nX-Length: @",
    "Content-Length: 0#",
    "Content-Length: -1\r\nContent-Length: @",
    "Content-Length: 0x#",
    "Content-Length: 18446744073709551616",
    "Content-Length: # \r\nContent-Length: @",
    "Content-Length : @",
    "Content-Length: @\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked",
    "Content-Length: @\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: @",
];

/// Attacks on each proxy beyond one of each framing: pairs of them, chosen at random.
const PAIRS: usize = 20;
const LONG_PAIRS: usize = 6_000;

/// Attacks that wait for their answers at once.
const AT_ONCE: usize = 4;

/// A request framed so, with a chunked body, and the beginning of another one behind it: if that is
/// taken for a request, the next one over the same connection becomes its body.
fn attack(framing: &str, id: &str) -> Vec<u8> {
    let payload = vkyc_payload(&format!("outer-{id}"));
    let chunk = format!("{:x}\r\n{payload}\r\n0\r\n\r\n", payload.len());
    let poison = format!(
        "POST /hooks/vkyc HTTP/1.1\r\nHost: localhost\r\nx-webhook-secret: {VKYC_SECRET}\r\n\
         Content-Type: application/json\r\nContent-Length: 4096\r\n\r\n{{\"eventId\":\"poison-{id}"
    );
    let all = format!("{chunk}{poison}");
    let framing =
        framing.replace('@', &all.len().to_string()).replace('#', &chunk.len().to_string());
    format!(
        "POST /hooks/vkyc HTTP/1.1\r\nHost: localhost\r\nx-webhook-secret: {VKYC_SECRET}\r\n\
         Content-Type: application/json\r\n{framing}\r\n\r\n{all}"
    )
    .into_bytes()
}

/// Sends an attack, and another client's request while its connection is open. Returns the body
/// that the other client sent and the status that it got.
async fn attacked(way: Way, bytes: Vec<u8>, id: String) -> (String, u16) {
    let mut stream = way.open(ATTACKER).await.unwrap();
    stream.write_all(&bytes).await.ok();
    stream.flush().await.ok();
    // What it is answered does not matter, only that it has been looked at.
    let mut answer = [0; 1024];
    drop(timeout(Duration::from_millis(100), stream.read(&mut answer)).await);
    let mut other = way.connect(OTHER).await.unwrap();
    let body = vkyc_payload(&format!("canary-{id}"));
    let answer = other.send_within(vkyc_request(body.clone()), Duration::from_secs(10)).await;
    (body, answer.map_or(0, |answer| answer.status))
}

async fn agrees(kind: Kind) {
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .ingest("trusted_proxies = [\"127.0.0.1\"]\nforwarded = \"x-forwarded-for\"")
        .build()
        .unwrap();
    let gateway = home.start_with(&[("SLUICE_LOG", "warn")]).await.unwrap();
    let front = Front::start(kind, gateway.ingest(), gateway.admin()).await;
    let mut random = Random::new();
    let mut framings: Vec<String> = FRAMINGS.iter().map(|&framing| framing.to_owned()).collect();
    for _ in 0..if long() { LONG_PAIRS } else { PAIRS } {
        framings.push(format!("{}\r\n{}", random.pick(&FRAMINGS), random.pick(&FRAMINGS)));
    }
    let sent = framings.len();
    let mut canaries = BTreeMap::new();
    let mut running = JoinSet::new();
    let mut wrong = Vec::new();
    let mut note = |ended: (String, (String, u16))| {
        let (framing, (body, status)) = ended;
        if status != 200 {
            wrong.push(format!("{framing:?}: {status}"));
        }
        canaries.insert(body, framing);
    };
    for (number, framing) in framings.into_iter().enumerate() {
        if running.len() == AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            note(ended.unwrap());
        }
        let (way, bytes) = (front.way(), attack(&framing, &number.to_string()));
        running.spawn(async move { (framing, attacked(way, bytes, number.to_string()).await) });
    }
    running.join_all().await.into_iter().for_each(note);
    assert!(wrong.is_empty(), "{kind:?}: other clients' requests were answered so: {wrong:#?}");
    gateway.terminate().await.unwrap();

    let mut outer = 0;
    for request in store::requests(&home).await.unwrap() {
        let body = String::from_utf8_lossy(&request.record.body).into_owned();
        assert!(!body.contains("poison"), "{kind:?}: {body}");
        if body.contains("outer-") {
            outer += 1;
            assert_eq!(request.record.client, ATTACKER, "{kind:?}");
            continue;
        }
        let framing = canaries.remove(&body).unwrap_or_else(|| panic!("{kind:?}: {body}"));
        assert_eq!(request.record.client, OTHER, "{kind:?}: {framing:?}");
    }
    println!("{kind:?}: {sent} attacks, {outer} of them taken as one request, 0 others disturbed");
    assert!(canaries.is_empty(), "{kind:?}: not stored: {canaries:#?}");
    assert!(outer <= sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_and_the_gateway_agree_where_requests_end() {
    agrees(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_and_the_gateway_agree_where_requests_end() {
    agrees(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_and_the_gateway_agree_where_requests_end() {
    agrees(Kind::Caddy).await;
}
