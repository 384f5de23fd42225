//! TLS: handshakes, what is wrong with files, and certificates that are renewed while it serves.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::slice::from_ref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use sluice_tests::http::Connection;
use sluice_tests::provider::vkyc_payload;
use sluice_tests::reload::{changes, problems};
use sluice_tests::tls::{NAME, Pair, connect, connector, shown};
use sluice_tests::{Gateway, Home, HomeBuilder, vkyc_request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

const LISTEN: &str = "127.0.0.2:0";

fn home(pair: &Pair, more: &str) -> Home {
    let table = format!(
        "[ingest.listeners.public]\naddress = \"{LISTEN}\"\ncertificate = \"tls.crt\"\n\
         key = \"secrets/tls.key\"\n{more}\n"
    );
    let home = HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .events_file()
        .ingest("head_deadline = \"2s\"")
        .toml(&table)
        .build()
        .unwrap();
    renew(&home, pair);
    home
}

/// The key first: until the certificate follows, the two do not belong together.
fn renew(home: &Home, pair: &Pair) {
    home.replace("secrets/tls.key", &pair.key).unwrap();
    home.replace("tls.crt", &pair.certificate).unwrap();
}

async fn post(connector: &TlsConnector, address: &str, id: &str) -> anyhow::Result<u16> {
    let stream = connect(connector, address).await?;
    let mut connection = Connection::over(stream, NAME).await?;
    Ok(connection.send(vkyc_request(vkyc_payload(id))).await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_1_3_are_spoken_and_http_1_1_is_agreed_on() {
    let pair = Pair::new().unwrap();
    let home = home(&pair, "http2 = false");
    let gateway = home.start().await.unwrap();
    let address = gateway.listener(LISTEN).unwrap();
    for newest in [true, false] {
        let connector = connector(from_ref(&pair), &["h2", "http/1.1"], newest).unwrap();
        let stream = connect(&connector, &address).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
        assert_eq!(post(&connector, &address, &format!("trn:vkyc:{newest}")).await.unwrap(), 200);
    }
    // Without ALPN too; and who speaks neither TLS nor a protocol of ours is shown the door.
    let plain = connector(from_ref(&pair), &[], true).unwrap();
    assert_eq!(post(&plain, &address, "trn:vkyc:no-alpn").await.unwrap(), 200);
    let stranger = connector(from_ref(&pair), &["spdy/3"], true).unwrap();
    assert!(connect(&stranger, &address).await.is_err());
    let mut clear = TcpStream::connect(address.as_str()).await.unwrap();
    clear.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(clear.read_to_end(&mut answer).await);
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_handshake_is_ended_at_the_deadline_of_a_head() {
    let pair = Pair::new().unwrap();
    let home = home(&pair, "");
    let gateway = home.start().await.unwrap();
    let address = gateway.listener(LISTEN).unwrap();
    // The start of a hello of 512 bytes, and nothing more.
    let half = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let begun = Instant::now();
    for sent in [&half[..], &half[..1], &[]] {
        let mut stream = TcpStream::connect(address.as_str()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(10), end).await;
        assert!(ended.is_ok(), "{sent:?} was not ended in time");
    }
    // One after the other, each within the deadline of 2 s and its margin.
    let took = begun.elapsed();
    println!("three silent handshakes ended within {took:?}, each at a deadline of 2 s");
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(15), "{took:?}");
}

/// Breaks a file of a running gateway; the generation before serves on, and says why by the name.
async fn check_refused(home: &Home, gateway: &Gateway, pair: &Pair, said: &str) {
    let is_it = |record: &Value| {
        record["result"] == "refused" && problems(record).iter().any(|told| told.contains(said))
    };
    let after = 1;
    gateway.reloaded_since(after, said, is_it).await.unwrap();
    let output = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(said), "{told}");
    let connector = connector(from_ref(pair), &[], true).unwrap();
    let address = gateway.listener(LISTEN).unwrap();
    let stream = connect(&connector, &address).await.unwrap();
    assert!(*pair == shown(&stream).unwrap(), "another certificate is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_pair_is_told_by_file_and_the_one_before_stays() {
    let (pair, other) = (Pair::new().unwrap(), Pair::new().unwrap());
    let home = home(&pair, "");
    let gateway = home.start().await.unwrap();
    home.replace("tls.crt", &other.certificate).unwrap();
    check_refused(&home, &gateway, &pair, "secrets/tls.key` is not the key of").await;
    home.replace("tls.crt", "no certificate").unwrap();
    check_refused(&home, &gateway, &pair, "tls.crt` holds no certificate in PEM").await;
    home.replace("tls.crt", pair.certificate.replace("MII", "MXX")).unwrap();
    check_refused(&home, &gateway, &pair, "tls.crt` ").await;
    fs::remove_file(home.folder().join("tls.crt")).unwrap();
    check_refused(&home, &gateway, &pair, "there is no file").await;
    home.replace("tls.crt", &pair.certificate).unwrap();
    home.replace("secrets/tls.key", "no key").unwrap();
    check_refused(&home, &gateway, &pair, "secrets/tls.key` holds no private key").await;
    home.replace("secrets/tls.key", &pair.key).unwrap();
    let key = home.folder().join("secrets/tls.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    check_refused(&home, &gateway, &pair, "open to others than its owner and group").await;
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let after = gateway.last_reload().await.unwrap();
    let is_it = |record: &Value| record["result"] == "applied";
    gateway.reloaded_since(after, "the mended pair", is_it).await.unwrap();
    let line = pair.key.lines().nth(1).unwrap();
    assert!(!gateway.log().unwrap().contains(line), "a key is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_served_and_warned_of() {
    let pair = Pair::until(2001).unwrap();
    let home = home(&pair, "");
    let gateway = home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap();
    let said = "the certificate has expired";
    assert!(gateway.log().unwrap().contains(said), "{}", gateway.log().unwrap());
    let output = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains(said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_renewed_under_load_refuses_nobody() {
    const RENEWALS: usize = 10;
    let mut pairs: Vec<Pair> = (0..=RENEWALS).map(|_| Pair::new().unwrap()).collect();
    let home = home(&pairs[0], "http2 = false");
    let gateway = Arc::new(home.start_with(&[("SLUICE_LOG", "info")]).await.unwrap());
    let address = gateway.listener(LISTEN).unwrap();
    let connector = connector(&pairs, &["http/1.1"], true).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU32::new(0));
    let mut sending = JoinSet::new();
    // Each request with a handshake of its own.
    for sender in 0..2 {
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        let (connector, address) = (connector.clone(), address.clone());
        sending.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let id = format!("trn:vkyc:{sender}-{number}");
                assert_eq!(post(&connector, &address, &id).await.unwrap(), 200);
            }
        });
    }
    let mut kept =
        Connection::over(connect(&connector, &address).await.unwrap(), NAME).await.unwrap();
    let kept_post = || vkyc_request(vkyc_payload("trn:vkyc:kept"));
    assert_eq!(kept.send(kept_post()).await.unwrap().status, 200);
    for pair in pairs.split_off(1) {
        let after = gateway.last_reload().await.unwrap();
        renew(&home, &pair);
        let is_it = |record: &Value| {
            let said = "ingest changed: `listeners.public.certificate`";
            changes(record).iter().any(|change| change.starts_with(said))
        };
        gateway.reloaded_since(after, "a renewal", is_it).await.unwrap();
        let stream = connect(&connector, &address).await.unwrap();
        assert!(pair == shown(&stream).unwrap(), "the certificate before is still shown");
    }
    assert_eq!(kept.send(kept_post()).await.unwrap().status, 200);
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = sending.join_next().await {
        ended.unwrap();
    }
    let count = count.load(Ordering::Relaxed);
    println!("{count} handshakes during {RENEWALS} renewals, none refused");
    assert!(count > 0);
}
