use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::config::{Secret, SecretValue, SecretVersion};
use crate::delivery::attempt::Verdict;
use crate::delivery::testing::{RECEIVED_AT, config, event};
use crate::model::{ManualClock, SecretName};

/// What the faulty peer does with one connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Answers these bytes to the request, and keeps the connection open.
    Answer(&'static str),
    /// Reads the request and never answers.
    Silence,
    /// Reads nothing and never answers.
    Deaf,
    /// Resets the connection after the request.
    Reset,
    /// Closes it after part of an answer's head.
    HalfHead,
    /// A good head, then a body without end.
    EndlessBody,
    /// A good head, then one byte of a long body each 100 ms.
    DrippingBody,
    /// A good head shortly before the timeout, then no body.
    LateHead,
    /// A head that never ends.
    EndlessHead,
    /// Interim answers without end.
    EndlessInterim,
}

/// A peer on a socket of its own that treats every request by the next entry of its script, the
/// last one again and again.
struct Peer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<std::sync::atomic::AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Peer {
    async fn start(script: &'static [Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (seen, counted) = (Arc::clone(&requests), Arc::clone(&connections));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let (seen, next) = (Arc::clone(&seen), Arc::clone(&next));
                open.spawn(async move { treat(stream, script, &next, &seen).await });
            }
        });
        Self { address, requests, connections, _tasks: tasks }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn treat(
    mut stream: TcpStream,
    script: &[Fault],
    next: &std::sync::atomic::AtomicUsize,
    seen: &Mutex<Vec<String>>,
) {
    loop {
        let index = next.load(std::sync::atomic::Ordering::SeqCst).min(script.len() - 1);
        let fault = script[index];
        if matches!(fault, Fault::Deaf) {
            return std::future::pending().await;
        }
        let Some(request) = read_request(&mut stream).await else { return };
        next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        seen.lock().unwrap().push(request);
        let (head, chunk, pause): (&str, &[u8], u64) = match fault {
            Fault::Answer(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
                continue;
            }
            Fault::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Fault::HalfHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap();
                return;
            }
            Fault::Silence | Fault::Deaf => return std::future::pending().await,
            Fault::EndlessBody => {
                ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", &[b'x'; 4_096], 0)
            }
            Fault::DrippingBody => ("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"x", 100),
            Fault::LateHead => {
                tokio::time::sleep(TIMEOUT - Duration::from_millis(300)).await;
                ("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", b"", 100)
            }
            Fault::EndlessHead => ("HTTP/1.1 200 OK\r\nx: ", &[b'x'; 4_096], 0),
            Fault::EndlessInterim => ("", b"HTTP/1.1 102 Processing\r\n\r\n", 1),
        };
        stream.write_all(head.as_bytes()).await.unwrap();
        while stream.write_all(chunk).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Head and body of one request with a `content-length`.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() >= length.parse().unwrap() {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Long enough for a busy machine to meet each fault before it.
const TIMEOUT: Duration = Duration::from_millis(1_500);

fn http_config(url: &str) -> DestinationConfig {
    let kind = DestinationKind::Http {
        url: url.parse().unwrap(),
        format: HttpFormat::Structured,
        signing_secret: None,
        headers: Vec::new(),
        allow_private: false,
    };
    DestinationConfig { timeout: TIMEOUT, ..config("ledger", kind) }
}

fn destination(config: &DestinationConfig) -> HttpDestination {
    HttpDestination::new(config, Arc::new(ManualClock::at(RECEIVED_AT))).unwrap()
}

fn at(peer: &Peer) -> HttpDestination {
    destination(&http_config(&format!("http://{}/events?key=hunter2", peer.address)))
}

#[track_caller]
fn check_kind(result: &Result<(), AttemptError>, expected: &str, context: &dyn std::fmt::Debug) {
    let kind = result.as_ref().err().map_or("delivered", AttemptError::kind);
    assert_eq!(kind, expected, "{context:?}: {result:?}");
}

#[tokio::test]
async fn every_fault_ends_within_the_timeout_and_has_its_name() {
    for (fault, expected) in [
        (Fault::Silence, "timed_out"),
        (Fault::Deaf, "timed_out"),
        (Fault::Reset, "broken_off"),
        (Fault::HalfHead, "broken_off"),
        (Fault::EndlessHead, "broken_off"),
        (Fault::EndlessInterim, "timed_out"),
        (Fault::EndlessBody, "delivered"),
        (Fault::DrippingBody, "delivered"),
        (Fault::LateHead, "delivered"),
        (Fault::Answer("SSH-2.0-OpenSSH_9.2\r\n\r\n"), "broken_off"),
        (Fault::Answer("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), "broken_off"),
        (Fault::Answer("HTTP/1.1 204 No Content\r\n\r\n"), "delivered"),
    ] {
        let script = Box::leak(Box::new([fault]));
        let peer = Peer::start(script).await;
        let started = Instant::now();
        let result = at(&peer).attempt(&event(1)).await;
        check_kind(&result, expected, &fault);
        // Generous to a busy machine, and less than a body may take by itself.
        let most = TIMEOUT + ANSWER_BODY_TIMEOUT / 2;
        assert!(started.elapsed() < most, "{fault:?}: {:?}", started.elapsed());
        if let Err(error) = result {
            let told = crate::telemetry::chain(&error);
            assert!(!told.contains("hunter2") && !told.contains("/events"), "{told}");
        }
    }
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let result = destination(&http_config(&url)).attempt(&event(1)).await;
    check_kind(&result, "unreachable", &url);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let peer = Peer::start(&[Fault::Answer(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
    )])
    .await;
    let result = at(&peer).attempt(&event(1)).await;
    check_kind(&result, "redirected", &"307");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_says_what_follows() {
    let peer = Peer::start(&[
        Fault::Answer("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"),
        Fault::Answer("HTTP/1.1 503 Busy\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n"),
        Fault::Answer(
            "HTTP/1.1 429 Slow down\r\nretry-after: Sat, 15 Jun 2024 11:52:35 GMT\r\n\
             content-length: 0\r\n\r\n",
        ),
        Fault::Answer("HTTP/1.1 500 Oh\r\nretry-after: soon\r\ncontent-length: 2\r\n\r\nno"),
        Fault::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ])
    .await;
    let destination = at(&peer);
    let mut verdicts = Vec::new();
    for _ in 0..5 {
        verdicts.push(destination.attempt(&event(1)).await.err().map(|error| error.verdict()));
    }
    let retry =
        |asked: Option<u64>| Some(Verdict::Retry { asked: asked.map(Duration::from_millis) });
    assert_eq!(
        verdicts,
        [
            Some(Verdict::GiveUp(crate::model::DeadLetterReason::Gone)),
            retry(Some(120_000)),
            retry(Some(59_193)),
            retry(None),
            None,
        ]
    );
    // The connection was kept and used for all.
    assert_eq!(peer.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_request_is_the_signed_event_with_the_configured_headers() {
    let peer = Peer::start(&[Fault::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    let mut config = http_config(&format!("http://{}/events", peer.address));
    let secret = Secret {
        name: SecretName::new("key").unwrap(),
        versions: [SecretVersion { value: SecretValue::new(b"k".to_vec()), expires_at: None }]
            .into(),
    };
    config.kind = DestinationKind::Http {
        url: format!("http://{}/events", peer.address).parse().unwrap(),
        format: HttpFormat::Binary,
        signing_secret: Some(secret.clone()),
        headers: vec![
            ("authorization".to_owned(), Arc::new(SecretValue::new(b"Bearer x".to_vec()))),
            ("Webhook-Id".to_owned(), Arc::new(SecretValue::new(b"forged".to_vec()))),
        ],
        allow_private: false,
    };
    let event = event(1);
    destination(&config).attempt(&event).await.unwrap();

    let request = peer.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = head.lines().collect();
    let signature = SigningKeys::new(&secret)
        .unwrap()
        .sign(&event.id.to_string(), RECEIVED_AT, event.data.as_bytes())
        .unwrap();
    assert_eq!(body, event.data);
    assert_eq!(lines[0], "POST /events HTTP/1.1");
    for wanted in [
        "authorization: Bearer x".to_owned(),
        "content-type: application/json".to_owned(),
        format!("ce-id: {}", event.id),
        format!("webhook-id: {}", event.id),
        "webhook-timestamp: 1718452295".to_owned(),
        format!("webhook-signature: {signature}"),
        concat!("user-agent: sluice/", env!("CARGO_PKG_VERSION")).to_owned(),
    ] {
        assert!(lines.contains(&wanted.as_str()), "{wanted}: {head}");
    }
    assert!(!head.contains("forged"), "{head}");
}

#[tokio::test]
async fn nothing_is_sent_when_no_key_is_active() {
    let peer = Peer::start(&[Fault::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    let mut config = http_config(&format!("http://{}/", peer.address));
    let DestinationKind::Http { signing_secret, .. } = &mut config.kind else { panic!("http") };
    let expired =
        SecretVersion { value: SecretValue::new(b"k".to_vec()), expires_at: Some(RECEIVED_AT) };
    *signing_secret =
        Some(Secret { name: SecretName::new("key").unwrap(), versions: [expired].into() });
    check_kind(&destination(&config).attempt(&event(1)).await, "unsigned", &"expired");
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn localhost_is_dialled_and_a_name_that_points_inwards_is_not() {
    let peer = Peer::start(&[Fault::Answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    let port = peer.address.port();
    let localhost = destination(&http_config(&format!("http://localhost:{port}/")));
    check_kind(&localhost.attempt(&event(1)).await, "delivered", &"localhost");

    // The same lookup judged as any other name would be.
    let url = format!("http://localhost:{port}/").parse().unwrap();
    let config = http_config(&format!("http://localhost:{port}/"));
    let resolver = VettingResolver { policy: AddressPolicy::Public, lookups: Arc::default() };
    let judged = HttpDestination {
        client: client(&url, resolver, &config).unwrap(),
        ..destination(&config)
    };
    let denied = judged.attempt(&event(1)).await;
    check_kind(&denied, "address_denied", &"public only");
    let told = denied.unwrap_err().to_string();
    assert!(told.contains("set `allow_private = true` if that is meant"), "{told}");
    assert_eq!(peer.requests().len(), 1);
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_told_as_such() {
    let lookups = Lookups::by(|_| Err(std::io::Error::other("no name server answers")));
    let config = http_config("http://crm.example/");
    let clock = Arc::new(ManualClock::at(RECEIVED_AT));
    let destination = HttpDestination::sharing(&config, clock, Arc::new(lookups)).unwrap();
    let failed = destination.attempt(&event(1)).await;
    check_kind(&failed, "unreachable", &"no address");
    let told = crate::telemetry::chain(&failed.unwrap_err());
    let why = "the destination's name could not be resolved: no name server answers";
    assert!(told.contains(why), "{told}");
}

#[tokio::test]
async fn an_https_destination_does_not_speak_to_a_plain_peer() {
    let peer = Peer::start(&[Fault::Deaf]).await;
    let url = format!("https://{}/", peer.address);
    let result = destination(&http_config(&url)).attempt(&event(1)).await;
    check_kind(&result, "timed_out", &url);
}

#[test]
fn a_header_that_is_none_is_refused_without_its_value() {
    for (name, value) in [("bad name", "x"), ("good", "hunter2\n")] {
        let mut config = http_config("http://127.0.0.1/");
        let DestinationKind::Http { headers, .. } = &mut config.kind else { panic!("http") };
        headers.push((name.to_owned(), Arc::new(SecretValue::new(value.as_bytes().to_vec()))));
        let clock = Arc::new(ManualClock::at(RECEIVED_AT));
        let error = HttpDestination::new(&config, clock).unwrap_err();
        let told = crate::telemetry::chain(&error);
        assert!(told.contains(name) && !told.contains("hunter2"), "{told}");
    }
}
