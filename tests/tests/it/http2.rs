//! HTTP/2 as hard as HTTP/1.1: its strictness, and what an attacker gets for their bytes.

mod attacks;
mod conformance;
mod floods;
mod stalled;

use std::time::{Duration, Instant};

use sluice_tests::frames::{
    DATA, END_HEADERS, END_STREAM, Fate, HEADERS, PING, PREFACE, Peer, frame, head,
};
use sluice_tests::provider::{VKYC_PATH, VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::tls::{Pair, connect, connector};
use sluice_tests::wait::wait_until;
use sluice_tests::{Gateway, Home, HomeBuilder, VKYC_SECRET};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LISTEN: &str = "127.0.0.2:0";

/// A gateway with a plain listener that speaks both versions, at short deadlines.
async fn start(listener: &str) -> (Home, Gateway) {
    start_with(listener, "").await
}

async fn start_with(listener: &str, fault: &str) -> (Home, Gateway) {
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .ingest("head_deadline = \"2s\"\nidle_deadline = \"3s\"\nbody_deadline = \"2s\"")
        // An eighth of them are more than the streams of a test that owes bodies.
        .ingest("requests_in_flight_max = 4096")
        .toml(&format!("[ingest.listeners.two]\naddress = \"{LISTEN}\"\n{listener}\n"))
        .build()
        .unwrap();
    home.edit("plugin = \"vkyc\"", "plugin = \"vkyc\"\ndeadline = \"2s\"").unwrap();
    let environment = [("SLUICE_LOG", "info"), ("SLUICE_FAULT", fault)];
    let gateway = home.start_with(&environment).await.unwrap();
    (home, gateway)
}

async fn tcp(gateway: &Gateway) -> TcpStream {
    let address = gateway.listener(LISTEN).unwrap();
    let stream = TcpStream::connect(address.as_str()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn peer(gateway: &Gateway) -> Peer<TcpStream> {
    let mut peer = Peer(tcp(gateway).await);
    peer.send(PREFACE).await.unwrap();
    peer
}

/// The head of a webhook, with fields more.
fn webhook<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", VKYC_PATH),
        (":authority", "gateway.example"),
        ("content-type", "application/json"),
        (VKYC_SECRET_HEADER, VKYC_SECRET),
    ];
    fields.extend(more);
    fields
}

fn request(stream: u32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = frame(HEADERS, END_HEADERS, stream, &head(fields));
    request.extend(frame(DATA, END_STREAM, stream, body));
    request
}

async fn check_served<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut Peer<S>) {
    // Ten requests at once, on one connection.
    for index in 0..10 {
        let body = vkyc_payload(&format!("trn:vkyc:h2-{index}"));
        peer.send(&request(1 + 2 * index, &webhook(&[]), body.as_bytes())).await.unwrap();
    }
    let mut answered = 0;
    while answered < 10 {
        let got = peer.receive(Duration::from_secs(20)).await.expect("an answer");
        if got.kind == HEADERS {
            assert_eq!(got.payload[0], 0x88, "{got:?}");
            answered += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_agreed_on_by_alpn_and_spoken_in_clear_text_only_where_that_is_switched_on() {
    let (_home, gateway) = start("http2 = true").await;
    check_served(&mut peer(&gateway).await).await;
    // HTTP/1.1 is spoken there as well, and beside it nothing but HTTP/1.1.
    let mut one = tcp(&gateway).await;
    one.write_all(b"GET /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    one.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let mut plain = Peer(TcpStream::connect(gateway.ingest()).await.unwrap());
    plain.send(PREFACE).await.unwrap();
    assert_eq!(plain.fate(1).await.unwrap(), Fate::Closed);

    let pair = Pair::new().unwrap();
    let home = HomeBuilder::new().vkyc(&["events"]).unwrap().events_file();
    let table = format!(
        "[ingest.listeners.two]\naddress = \"{LISTEN}\"\ncertificate = \"tls.crt\"\nkey = \"secrets/tls.key\"\n"
    );
    let home = home.toml(&table).build().unwrap();
    home.replace("secrets/tls.key", &pair.key).unwrap();
    home.replace("tls.crt", &pair.certificate).unwrap();
    let gateway = home.start().await.unwrap();
    let address = gateway.listener(LISTEN).unwrap();
    let connector = connector(&[pair], &["h2", "http/1.1"], true).unwrap();
    let stream = connect(&connector, &address).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut peer = Peer(stream);
    peer.send(PREFACE).await.unwrap();
    check_served(&mut peer).await;
    // A stop is told, and what was begun is answered.
    peer.send(&frame(HEADERS, END_HEADERS, 101, &head(&webhook(&[])))).await.unwrap();
    let body = vkyc_payload("trn:vkyc:last");
    let (stopped, ()) = tokio::join!(gateway.terminate(), async {
        while peer.receive(Duration::from_secs(20)).await.expect("a word of the stop").kind != 7 {}
        peer.send(&frame(DATA, END_STREAM, 101, body.as_bytes())).await.unwrap();
        assert_eq!(peer.fate(101).await.unwrap(), Fate::Answered(0x88));
    });
    assert!(stopped.unwrap().status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_http_1_1_would_not_take_are_refused_and_nothing_of_them_is_stored() {
    let (home, gateway) = start("http2 = true").await;
    let body = vkyc_payload("trn:vkyc:refused");
    let long = (body.len() + 1).to_string();
    let short = (body.len() - 1).to_string();
    let without = |name: &str, more: &[(&'static str, &'static str)]| {
        let mut fields = webhook(more);
        let index = fields.iter().position(|(each, _)| *each == name).unwrap();
        fields.remove(index);
        // Pseudo-headers come first.
        fields.sort_by_key(|(name, _)| !name.starts_with(':'));
        fields
    };
    for (what, fields) in [
        ("authority ≠ host", webhook(&[("host", "other.example")])),
        ("two hosts", webhook(&[("host", "gateway.example"), ("host", "gateway.example")])),
        ("no authority and no host", without(":authority", &[])),
        ("credentials", without(":authority", &[(":authority", "u@gateway.example")])),
        ("upper case", webhook(&[("X-Upper", "1")])),
        ("connection", webhook(&[("connection", "keep-alive")])),
        ("transfer-encoding", webhook(&[("transfer-encoding", "chunked")])),
        ("te", webhook(&[("te", "gzip")])),
        ("keep-alive", webhook(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", webhook(&[("proxy-connection", "close")])),
        ("upgrade", webhook(&[("upgrade", "h2c")])),
        ("a longer body told", webhook(&[("content-length", &long)])),
        ("a shorter body told", webhook(&[("content-length", &short)])),
        ("two lengths", webhook(&[("content-length", &short), ("content-length", &long)])),
        ("no slash", without(":path", &[(":path", "hooks/vkyc")])),
        ("an empty path", without(":path", &[(":path", "")])),
        ("an asterisk", without(":path", &[(":path", "*")])),
        ("two paths", without(":method", &[(":method", "POST"), (":path", "/other")])),
        ("two methods", without(":scheme", &[(":method", "PUT"), (":scheme", "http")])),
        ("two authorities", without(":scheme", &[(":authority", "b"), (":scheme", "http")])),
        ("no method", without(":method", &[])),
        ("no scheme", without(":scheme", &[])),
        ("no path", without(":path", &[])),
        ("an empty authority", without(":authority", &[(":authority", "")])),
        ("a status", without(":scheme", &[(":status", "200"), (":scheme", "http")])),
        ("a field after", webhook(&[(":method", "POST")])),
        ("unknown pseudo-header", without(":scheme", &[(":scheme", "http"), (":x", "1")])),
        ("CR", webhook(&[("x-value", "a\rb")])),
        ("LF", webhook(&[("x-value", "a\nb: c")])),
        ("NUL", webhook(&[("x-value", "a\0b")])),
        ("DEL", webhook(&[("x-value", "a\x7fb")])),
        ("CR and LF in a path", without(":path", &[(":path", "/hooks/vkyc\r\nx: 1")])),
        ("LF in an authority", without(":authority", &[(":authority", "a\nb")])),
        ("a space first in a value", webhook(&[("x-value", " a")])),
        ("a tab last in a value", webhook(&[("x-value", "a\t")])),
        ("a space in a name", webhook(&[("x value", "1")])),
        ("a colon in a name", webhook(&[("x:value", "1")])),
        ("LF in a name", webhook(&[("x\nvalue", "1")])),
        ("no name", webhook(&[("", "1")])),
        ("CONNECT", without(":method", &[(":method", "CONNECT")])),
        ("a twin", webhook(&[("x_forwarded_for", "1.2.3.4")])),
    ] {
        let mut peer = peer(&gateway).await;
        // It may be refused, and the connection gone, before all of it is there.
        drop(peer.send(&request(1, &fields, body.as_bytes())).await);
        let fate = peer.fate(1).await.unwrap();
        let refused = matches!(fate, Fate::Answered(0x8c) | Fate::Reset(_) | Fate::Closed);
        assert!(refused, "{what}: {fate:?}");
    }
    let mut peer = peer(&gateway).await;
    let whole = vkyc_payload("trn:vkyc:taken");
    let allowed = webhook(&[("host", "gateway.example"), ("te", "trailers")]);
    peer.send(&request(1, &allowed, whole.as_bytes())).await.unwrap();
    assert_eq!(peer.fate(1).await.unwrap(), Fate::Answered(0x88));
    assert!(gateway.terminate().await.unwrap().status.success());
    let stored = sluice_tests::store::requests(&home).await.unwrap();
    assert_eq!(stored.len(), 1, "something else was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_slow_and_stalled_connections_are_ended_at_their_deadlines() {
    let (_home, gateway) = start("http2 = true").await;
    let preface = &PREFACE[..24];
    for (what, sent) in
        [("half a preface", &preface[..10]), ("a preface", preface), ("settings", PREFACE)]
    {
        let begun = Instant::now();
        let mut peer = Peer(tcp(&gateway).await);
        peer.send(sent).await.unwrap();
        while peer.receive(Duration::from_secs(20)).await.is_some() {}
        let took = begun.elapsed();
        println!("HTTP/2, {what} only: ended after {took:?}, at a deadline of 2 s");
        assert!(took < Duration::from_secs(10), "{what}: {took:?}");
    }
    // Heads whose bodies never come are answered 408, on a connection whose windows are open.
    let mut slow = peer(&gateway).await;
    slow.send(&frame(HEADERS, END_HEADERS, 1, &head(&webhook(&[])))).await.unwrap();
    let begun = Instant::now();
    let fate = slow.fate(1).await.unwrap();
    assert!(
        matches!(fate, Fate::Answered(_)) && begun.elapsed() < Duration::from_secs(6),
        "{fate:?}"
    );
}

/// Connections that ended for `reason`.
async fn ended(gateway: &Gateway, reason: &str) -> u64 {
    let metrics = gateway.admin_get("/metrics").await.unwrap().text();
    let name = format!("sluice_connections_ended_total{{reason=\"{reason}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_goes_away_with_many_requests_under_way_is_not_called_wasteful() {
    let (_home, gateway) = start("http2 = true").await;
    let mut peer = peer(&gateway).await;
    // More than may come to nothing, each without the end of its body.
    for index in 0..40 {
        let head = frame(HEADERS, END_HEADERS, 1 + 2 * index, &head(&webhook(&[])));
        peer.send(&head).await.unwrap();
    }
    // They are under way once this is answered, which came behind them.
    peer.send(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
    while peer.receive(Duration::from_secs(20)).await.expect("a pong").kind != PING {}
    drop(peer);
    let reason = wait_until("the end of the connection", Duration::from_secs(20), || async {
        for reason in ["closed", "broken", "wasteful"] {
            if ended(&gateway, reason).await > 0 {
                return Some(reason);
            }
        }
        None
    });
    assert_ne!(reason.await.unwrap(), "wasteful");
}
