//! Other people's libraries read what we send: Python's `standardwebhooks` and `cloudevents`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which fail by panicking"
)]

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use sluice::config::{
    DestinationConfig, DestinationKind, HttpFormat, Location, RetryConfig, Secret, SecretValue,
    SecretVersion,
};
use sluice::delivery::HttpDestination;
use sluice::delivery::signature::SigningKeys;
use sluice::model::{
    AdapterName, Clock as _, DestinationName, Event, EventId, RequestId, RouteName, SecretName,
    SystemClock, UnixMillis, Verified,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

/// Messages tried in each direction.
const MESSAGES: usize = 1_000;

/// A whole run of one Python program takes a few seconds.
const PYTHON_TIMEOUT: Duration = Duration::from_secs(120);

/// Verifies each request on standard input and parses its event; prints its attributes and data.
const READ_REQUESTS: &str = r#"
import base64, datetime, json, sys
from standardwebhooks.webhooks import Webhook
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

def plain(value):
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.timezone.utc).isoformat()
    return value

for line in sys.stdin:
    request = json.loads(line)
    body = base64.b64decode(request["body"])
    for secret in request["secrets"]:
        Webhook(secret).verify(body, request["headers"])
    message = HTTPMessage(headers=request["headers"], body=body)
    event = from_http_event(message, JSONFormat())
    attributes = {name: plain(value) for name, value in event.get_attributes().items()}
    print(json.dumps({"attributes": attributes, "data": event.get_data()}))
"#;

/// Signs each message on standard input.
const SIGN_MESSAGES: &str = r#"
import base64, datetime, json, sys
from standardwebhooks.webhooks import Webhook

for line in sys.stdin:
    message = json.loads(line)
    at = datetime.datetime.fromtimestamp(message["at"], tz=datetime.timezone.utc)
    body = base64.b64decode(message["body"]).decode()
    print(json.dumps(Webhook(message["secret"]).sign(message["id"], at, body)))
"#;

/// Runs a Python program over lines of JSON and returns the lines it prints.
async fn run_python(program: &str, lines: &[Value]) -> Vec<Value> {
    let mut child = Command::new(sluice_tests::artifacts::python().unwrap())
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        // It may stop reading at its first error, which its exit tells better.
        drop(stdin.write_all(input.as_bytes()).await);
    });
    let ended = tokio::time::timeout(PYTHON_TIMEOUT, child.wait_with_output()).await;
    let output = ended.expect("Python ended in time").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Random values of one seed, which is printed so that a failure can be repeated.
fn runner() -> TestRunner {
    let seed: [u8; 32] = match std::env::var("SLUICE_SEED") {
        Ok(hex_seed) => hex::decode(hex_seed).unwrap().try_into().unwrap(),
        Err(_) => {
            let mut seed = [0; 32];
            let random = ring::rand::SystemRandom::new();
            ring::rand::SecureRandom::fill(&random, &mut seed).unwrap();
            seed
        }
    };
    eprintln_seed(&seed);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    TestRunner::new_with_rng(Config::default(), rng)
}

#[expect(clippy::print_stderr, reason = "shown by the test harness where the test fails")]
fn eprintln_seed(seed: &[u8; 32]) {
    eprintln!("repeat with SLUICE_SEED={}", hex::encode(seed));
}

/// Keys as `standardwebhooks` takes them: 24 to 64 bytes in base64, prefixed.
fn secret_text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 24..=64)
        .prop_map(|key| format!("whsec_{}", STANDARD.encode(key)))
}

fn secret(versions: &[String]) -> Secret {
    let versions = versions.iter().map(|value| SecretVersion {
        value: SecretValue::new(value.as_bytes().to_vec()),
        expires_at: None,
    });
    Secret { name: SecretName::new("key").unwrap(), versions: versions.collect() }
}

/// What an event may be called and hold: printable Unicode, as `CloudEvents` allows.
fn text() -> impl Strategy<Value = String> {
    "\\PC{1,24}"
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(any::<String>(), value, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn event() -> impl Strategy<Value = Event> {
    let optional = || prop::option::of(text());
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), prop::option::of(any::<[u8; 16]>()));
    let times = (0_u64..4_102_444_800_000, prop::option::of(0_u64..4_102_444_800_000));
    (ids, times, (optional(), optional(), optional()), data()).prop_map(
        |((id, request, replayed), (received, time), (subject, key, partition), data)| Event {
            id: EventId::from_bytes(id),
            request: RequestId::from_bytes(request),
            route: RouteName::new("vkyc-live").unwrap(),
            kind: "co.hyperverge.vkyc.call.started".to_owned(),
            subject,
            time: time.map(|time| UnixMillis(time).to_string()),
            adapter: "vkyc/1.0.0".into(),
            adapter_name: AdapterName::new("vkyc").unwrap(),
            received_at: UnixMillis(received),
            verified: Verified::SharedSecret,
            idempotency_key: key,
            partition_key: partition,
            data_schema: Some("urn:sluice:vkyc:1.0.0:call.started".into()),
            replay_of: replayed.map(RequestId::from_bytes),
            hops: 0,
            data: data.to_string(),
        },
    )
}

fn destination(url: &str, format: HttpFormat, key: Secret) -> HttpDestination {
    let config = DestinationConfig {
        name: DestinationName::new("ledger").unwrap(),
        kind: DestinationKind::Http {
            url: url.parse().unwrap(),
            format,
            signing_secret: Some(key),
            headers: Vec::new(),
            allow_private: false,
        },
        retry: RetryConfig { delays: Vec::new(), jitter: 0.0 },
        timeout: Duration::from_secs(30),
        concurrency: 1,
        at: Location::default(),
    };
    HttpDestination::new(&config, Arc::new(SystemClock)).unwrap()
}

/// Answers 200 to one request on a connection of its own, and returns its headers and body.
async fn receive(listener: &TcpListener) -> (Value, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let headers: serde_json::Map<_, _> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        let length: usize = headers["content-length"].as_str().unwrap().parse().unwrap();
        let body = bytes[end + 4..].to_vec();
        if body.len() == length {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            return (Value::Object(headers), body);
        }
    }
}

/// The attributes that an SDK must find: times as it prints them.
fn expected(event: &Event) -> Value {
    let python_time = |text: &str| {
        let text = text.strip_suffix('Z').unwrap();
        match text.strip_suffix(".000") {
            Some(whole) => format!("{whole}+00:00"),
            None => format!("{text}000+00:00"),
        }
    };
    let mut attributes = json!({
        "specversion": "1.0",
        "id": event.id.to_string(),
        "source": "/routes/vkyc-live",
        "type": event.kind,
        "datacontenttype": "application/json",
        "dataschema": event.data_schema,
        "adapter": event.adapter,
        "receivedat": event.received_at.to_string(),
        "verified": "shared-secret",
    });
    for (name, value) in [
        ("subject", event.subject.clone()),
        ("time", event.time.as_deref().map(python_time)),
        ("idempotencykey", event.idempotency_key.clone()),
        ("partitionkey", event.partition_key.clone()),
        ("replayof", event.replay_of.map(|id| id.to_string())),
    ] {
        if let Some(value) = value {
            attributes[name] = json!(value);
        }
    }
    let data: Value = serde_json::from_str(&event.data).unwrap();
    json!({"attributes": attributes, "data": data})
}

#[tokio::test]
async fn other_libraries_verify_our_signatures_and_parse_our_events() {
    let mut runner = runner();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let (mut sent, mut wanted) = (Vec::new(), Vec::new());
    for number in 0..MESSAGES {
        let event = event().new_tree(&mut runner).unwrap().current();
        // Two keys, as during a rotation: each verifies by itself.
        let keys = prop::collection::vec(secret_text(), 1..=2).new_tree(&mut runner).unwrap();
        let keys = keys.current();
        let format = if number % 2 == 0 { HttpFormat::Structured } else { HttpFormat::Binary };
        let destination = destination(&url, format, secret(&keys));
        let (attempt, (headers, body)) =
            tokio::join!(destination.attempt(&event), receive(&listener));
        attempt.unwrap();
        sent.push(json!({"headers": headers, "body": STANDARD.encode(body), "secrets": keys}));
        wanted.push(expected(&event));
    }
    let mut read = run_python(READ_REQUESTS, &sent).await;
    assert_eq!(read.len(), MESSAGES);
    for (read, wanted) in read.iter_mut().zip(&wanted) {
        if wanted["attributes"].get("time").is_none() {
            // The SDK invents the present time where there is none.
            read["attributes"].as_object_mut().unwrap().remove("time");
        }
        assert_eq!(read, wanted);
    }
}

#[tokio::test]
async fn another_library_refuses_what_was_changed() {
    let mut runner = runner();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let event = event().new_tree(&mut runner).unwrap().current();
    let keys = [secret_text().new_tree(&mut runner).unwrap().current()];
    let destination = destination(&url, HttpFormat::Structured, secret(&keys));
    let (attempt, (headers, mut body)) =
        tokio::join!(destination.attempt(&event), receive(&listener));
    attempt.unwrap();
    let last = body.len() - 2;
    body[last] ^= 1;
    let changed = json!({"headers": headers, "body": STANDARD.encode(body), "secrets": keys});
    let checked = format!(
        "{}\n",
        READ_REQUESTS.replace(
            "        Webhook(secret).verify(body, request[\"headers\"])",
            "        try:\n            Webhook(secret).verify(body, request[\"headers\"])\n        \
             except Exception as error:\n            print(json.dumps(type(error).__name__)); \
             sys.exit(0)",
        )
    );
    assert_eq!(run_python(&checked, &[changed]).await, [json!("WebhookVerificationError")]);
}

#[tokio::test]
async fn we_sign_as_another_library_does() {
    let mut runner = runner();
    let now = SystemClock.now().0 / 1_000;
    let (mut messages, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..MESSAGES {
        let message = ("[!-~]{1,40}", any::<String>(), secret_text(), 0..=now);
        let (id, body, key, at) = message.new_tree(&mut runner).unwrap().current();
        let keys = SigningKeys::new(&secret(std::slice::from_ref(&key))).unwrap();
        ours.push(json!(keys.sign(&id, UnixMillis(at * 1_000), body.as_bytes())));
        let body = STANDARD.encode(body);
        messages.push(json!({"id": id, "at": at, "body": body, "secret": key}));
    }
    let theirs = run_python(SIGN_MESSAGES, &messages).await;
    assert_eq!(theirs, ours);
}
