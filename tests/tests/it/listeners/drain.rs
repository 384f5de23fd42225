//! A listener that a reload removes or moves: what was begun on it is finished, whoever is connected
//! to it is told to go and goes, and who is connected to another notices nothing.

use std::time::Duration;

use sluice_tests::frames::{
    DATA, END_HEADERS, END_STREAM, Fate, GOAWAY, HEADERS, PING, PREFACE, Peer, frame, head,
};
use sluice_tests::provider::{VKYC_PATH, VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::tls::{NAME, Pair, connect, connector};
use sluice_tests::{Gateway, Home, HomeBuilder, VKYC_SECRET};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

const GOING: &str = "127.0.0.2:0";
const STAYING: &str = "127.0.0.3:0";
const MOVED: &str = "127.0.0.4:0";

/// Anything that is to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a connection of HTTP/2 that is told to go may stay silent.
const CLOSING: Duration = Duration::from_secs(2);

fn table(name: &str, address: &str) -> String {
    format!(
        "[ingest.listeners.{name}]\naddress = \"{address}\"\ncertificate = \"tls.crt\"\n\
         key = \"secrets/tls.key\"\n"
    )
}

async fn start(fault: &str) -> (Home, Gateway, Pair) {
    let pair = Pair::new().unwrap();
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .toml(&table("going", GOING))
        .toml(&table("staying", STAYING))
        .build()
        .unwrap();
    home.replace("secrets/tls.key", &pair.key).unwrap();
    home.replace("tls.crt", &pair.certificate).unwrap();
    let gateway =
        home.start_with(&[("SLUICE_LOG", "info"), ("SLUICE_FAULT", fault)]).await.unwrap();
    (home, gateway, pair)
}

/// The head of a webhook in HTTP/2, and its body.
fn two(stream: u32, id: &str) -> (Vec<u8>, Vec<u8>) {
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", VKYC_PATH),
        (":authority", NAME),
        ("content-type", "application/json"),
        (VKYC_SECRET_HEADER, VKYC_SECRET),
    ];
    let body = vkyc_payload(id);
    let head = frame(HEADERS, END_HEADERS, stream, &head(&fields));
    (head, frame(DATA, END_STREAM, stream, body.as_bytes()))
}

/// The same in HTTP/1.1.
fn one(id: &str) -> (Vec<u8>, Vec<u8>) {
    let body = vkyc_payload(id);
    let head = format!(
        "POST {VKYC_PATH} HTTP/1.1\r\nhost: {NAME}\r\ncontent-type: application/json\r\n\
         {VKYC_SECRET_HEADER}: {VKYC_SECRET}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (head.into_bytes(), body.into())
}

/// A connection of HTTP/2 by TLS, as a well-behaved client keeps it.
struct Two {
    peer: Peer<TlsStream<TcpStream>>,
    /// That it was told to go.
    told: bool,
}

impl Two {
    async fn open(address: &str, pair: &Pair) -> Self {
        let connector = connector(std::slice::from_ref(pair), &["h2"], true).unwrap();
        let mut peer = Peer(connect(&connector, address).await.unwrap());
        peer.send(PREFACE).await.unwrap();
        Self { peer, told: false }
    }

    /// The next frame that says something; none at the end, which is a proper one.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            let got = self.peer.receive(PATIENCE).await?;
            match got.kind {
                PING if got.flags == 0 => {
                    self.peer.send(&frame(PING, 1, 0, &got.payload)).await.unwrap();
                }
                GOAWAY => {
                    // No error, and no stream that is lost.
                    assert_eq!(got.payload[4..8], [0; 4], "{got:?}");
                    self.told = true;
                    return Some((got.kind, got.stream, got.payload));
                }
                PING | HEADERS => return Some((got.kind, got.stream, got.payload)),
                _ => {}
            }
        }
    }

    /// Waits until everything that was sent is read; whether the connection is still there then.
    async fn settles(&mut self) -> bool {
        if self.peer.send(&frame(PING, 0, 0, b"settled?")).await.is_err() {
            return false;
        }
        loop {
            match self.next().await {
                Some((PING, ..)) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    async fn told_to_go(&mut self) {
        while !self.told {
            self.next().await.expect("a word before the end");
        }
    }

    async fn is_answered(&mut self, stream: u32) {
        loop {
            let (kind, of, payload) = self.next().await.expect("an answer");
            if kind == HEADERS && of == stream {
                assert_eq!(Fate::Answered(payload[0]), Fate::Answered(0x88));
                return;
            }
        }
    }

    async fn ends(&mut self) {
        while self.next().await.is_some() {}
        ends(&mut self.peer.0).await;
    }
}

/// It was closed by TLS's own word, so nothing can have been cut off.
async fn ends(stream: &mut TlsStream<TcpStream>) {
    let read = timeout(PATIENCE, stream.read(&mut [0; 64])).await;
    assert_eq!(read.expect("an end in time").expect("a proper end"), 0);
}

/// Reads an answer of HTTP/1.1 without reading further.
async fn answer(stream: &mut TlsStream<TcpStream>) -> String {
    let mut text = Vec::new();
    timeout(PATIENCE, async {
        while !text.ends_with(b"\r\n\r\n") {
            text.push(stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(text).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        head
    })
    .await
    .expect("an answer in time")
}

/// Clients of one listener: a request of each version is begun, and one connection of each has
/// nothing to do.
struct Clients {
    two: Two,
    two_idle: Two,
    one: TlsStream<TcpStream>,
    one_idle: TlsStream<TcpStream>,
    name: &'static str,
}

impl Clients {
    async fn open(gateway: &Gateway, listen: &str, name: &'static str, pair: &Pair) -> Self {
        let address = gateway.listener(listen).unwrap();
        let mut two_busy = Two::open(&address, pair).await;
        two_busy.peer.send(&two(1, "").0).await.unwrap();
        assert!(two_busy.settles().await);
        let mut two_idle = Two::open(&address, pair).await;
        let (head, body) = two(1, &format!("trn:vkyc:{name}-idle-2"));
        two_idle.peer.send(&[head, body].concat()).await.unwrap();
        two_idle.is_answered(1).await;

        let connector = connector(std::slice::from_ref(pair), &["http/1.1"], true).unwrap();
        let mut one_busy = connect(&connector, &address).await.unwrap();
        let (head, body) = one(&format!("trn:vkyc:{name}-busy-1"));
        one_busy.write_all(&[&head, &body[..10]].concat()).await.unwrap();
        let mut one_idle = connect(&connector, &address).await.unwrap();
        let (head, body) = one(&format!("trn:vkyc:{name}-idle-1"));
        one_idle.write_all(&[head, body].concat()).await.unwrap();
        assert!(answer(&mut one_idle).await.starts_with("HTTP/1.1 200 "));
        Self { two: two_busy, two_idle, one: one_busy, one_idle, name }
    }

    /// Sends the rest of what was begun. The head of the answer in HTTP/1.1.
    async fn finish(&mut self) -> String {
        let name = self.name;
        let (_, body) = two(1, &format!("trn:vkyc:{name}-busy-2"));
        self.two.peer.send(&body).await.unwrap();
        self.two.is_answered(1).await;
        let (_, body) = one(&format!("trn:vkyc:{name}-busy-1"));
        self.one.write_all(&body[10..]).await.unwrap();
        let head = answer(&mut self.one).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        head
    }

    /// Everybody is told to go, is answered what was begun, and goes.
    async fn go(mut self) {
        self.two_idle.told_to_go().await;
        self.two_idle.ends().await;
        ends(&mut self.one_idle).await;
        self.two.told_to_go().await;
        let head = self.finish().await;
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        self.two.ends().await;
        ends(&mut self.one).await;
    }

    /// Whether nobody was told to go; everybody is answered what was begun, and more.
    async fn stay(mut self) -> bool {
        let head = self.finish().await;
        let mut told = head.contains("\r\nconnection: close\r\n");
        for two in [&mut self.two, &mut self.two_idle] {
            // A word of leaving would be there before the answer to this.
            told |= !two.settles().await || two.told;
        }
        if told {
            return false;
        }
        let name = self.name;
        for (number, client) in [&mut self.two, &mut self.two_idle].into_iter().enumerate() {
            let (head, body) = two(3, &format!("trn:vkyc:{name}-more-{number}"));
            client.peer.send(&[head, body].concat()).await.unwrap();
            client.is_answered(3).await;
            told |= client.told;
        }
        for (number, client) in [&mut self.one, &mut self.one_idle].into_iter().enumerate() {
            let (head, body) = one(&format!("trn:vkyc:{name}-more-1-{number}"));
            client.write_all(&[head, body].concat()).await.unwrap();
            assert!(answer(client).await.starts_with("HTTP/1.1 200 "));
        }
        !told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_goes_or_moves_drains_in_both_versions_and_no_other_does() {
    for (what, to) in [("removed", String::new()), ("moved", table("going", MOVED))] {
        let (home, gateway, pair) = start("").await;
        let going = Clients::open(&gateway, GOING, "going", &pair).await;
        let staying = Clients::open(&gateway, STAYING, "staying", &pair).await;
        let address = gateway.listener(GOING).unwrap();
        home.edit(&table("going", GOING), &to).unwrap();
        gateway.reload().await.unwrap();
        if what == "moved" {
            let mut two = Two::open(&gateway.listener(MOVED).unwrap(), &pair).await;
            assert!(two.settles().await);
        }
        going.go().await;
        assert!(staying.stay().await, "{what}: who is connected elsewhere was told to go");
        assert!(TcpStream::connect(address.as_str()).await.is_err(), "{what}: it still listens");
        assert!(gateway.terminate().await.unwrap().status.success());
        // 4 of who had to go, and 8 of who stayed.
        let stored = sluice_tests::store::requests(&home).await.unwrap().len();
        assert_eq!(stored, 12, "{what}");
    }
}

/// The control: a gateway that drains every listener at a reload.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_every_listener_at_a_reload_fails_this_test() {
    let (home, gateway, pair) = start("drain-at-reload").await;
    let going = Clients::open(&gateway, GOING, "going", &pair).await;
    let staying = Clients::open(&gateway, STAYING, "staying", &pair).await;
    home.edit(&table("going", GOING), "").unwrap();
    gateway.reload().await.unwrap();
    going.go().await;
    assert!(!staying.stay().await);
}

/// Whoever was idle for long has as much time as anybody to notice that they are to go: a request that
/// was on its way is served. Who does not answer the ping that goes with it is not waited for longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_its_way_when_its_sender_is_told_to_go_is_answered() {
    let (home, gateway, pair) = start("").await;
    let address = gateway.listener(GOING).unwrap();
    let mut late = Two::open(&address, &pair).await;
    let (head, body) = two(1, "trn:vkyc:before");
    late.peer.send(&[head, body].concat()).await.unwrap();
    late.is_answered(1).await;
    // Nothing is said for longer than it may take to go; nor is the ping answered from here on.
    while late.peer.receive(CLOSING + Duration::from_millis(500)).await.is_some() {}
    home.edit(&table("going", GOING), "").unwrap();
    gateway.reload().await.unwrap();
    while late.peer.receive(PATIENCE).await.expect("a word before the end").kind != GOAWAY {}
    // It is heard of late.
    while late.peer.receive(CLOSING / 2).await.is_some() {}
    let (head, body) = two(3, "trn:vkyc:late");
    late.peer.send(&[head, body].concat()).await.unwrap();
    assert_eq!(late.peer.fate(3).await.unwrap(), Fate::Answered(0x88));
    let end = async { while late.peer.receive(PATIENCE).await.is_some() {} };
    timeout(PATIENCE, end).await.expect("an end");
}
