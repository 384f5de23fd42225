//! Secrets are made and rotated while the gateway runs: nobody who holds a value that is still good
//! is refused, and nobody who holds one that is not is let in.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sluice_tests::http::{Connection, Request};
use sluice_tests::provider::{VKYC_PATH, VKYC_SECRET_HEADER, vkyc_payload};
use sluice_tests::{Gateway, Home, HomeBuilder, VKYC_SECRET, wait_until};
use tokio::task::JoinSet;

/// What anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections that post all the while.
const CLIENTS: usize = 4;

fn home() -> Home {
    HomeBuilder::new()
        .vkyc(&["events"])
        .unwrap()
        .plugin("payout-matcher")
        .unwrap()
        .ingest("public_url = \"https://hooks.example.com\"")
        .events_file()
        .build()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

fn failed(home: &Home, arguments: &[&str]) -> String {
    let output = home.sluice(arguments).unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn request(secret: &str, id: &str) -> Request {
    Request::post_json(VKYC_PATH, vkyc_payload(id)).header(VKYC_SECRET_HEADER, secret)
}

async fn status(gateway: &Gateway, secret: &str) -> u16 {
    static POSTED: AtomicU64 = AtomicU64::new(0);
    let id = format!("one-{}", POSTED.fetch_add(1, Ordering::Relaxed));
    gateway.send(request(secret, &id)).await.unwrap().status
}

/// Waits until the gateway takes this value.
async fn taken_up(gateway: &Gateway, secret: &str) {
    wait_until("the new value to be taken up", PATIENCE, || async move {
        (status(gateway, secret).await == 200).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_refused_within_a_second_of_its_expiry_and_not_before() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    let output = home.sluice(&["secret", "rotate", "vkyc-secret", "--overlap", "6s"]).unwrap();
    let told = text(&output.stderr);
    let new = done(&output);
    taken_up(&gateway, &new).await;
    let mode = home.folder().join("secrets/vkyc-secret").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let until = told.trim().strip_prefix("the value before is good until ").unwrap();
    let until: jiff::Timestamp = until.parse().unwrap();
    let mut good = 0;
    loop {
        let sent = jiff::Timestamp::now();
        let answered = status(&gateway, VKYC_SECRET).await;
        let now = jiff::Timestamp::now();
        if answered == 200 {
            good += 1;
            let late = sent.duration_since(until).as_millis();
            assert!(late < 1_000, "taken {late} ms after its expiry");
            continue;
        }
        let early = until.duration_since(now).as_millis();
        assert!(early <= 0, "refused {early} ms before its expiry");
        println!("the old value was taken {good} times, and refused from its expiry on");
        break;
    }
    assert!(good > 0, "the overlap was never used");
    assert_eq!(status(&gateway, &new).await, 200);
    let refused = gateway.admin_get("/api/v1/requests?disposition=rejected&limit=1").await.unwrap();
    let diagnosis = refused.json().unwrap()["requests"][0]["diagnosis"].clone();
    assert_eq!(diagnosis, "matches_expired_secret");
}

/// What the clients of a test know, and what they met.
#[derive(Debug)]
struct Provider {
    secret: ArcSwap<String>,
    stop: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
}

impl Provider {
    async fn post(self: Arc<Self>, gateway: std::net::SocketAddr, client: usize) {
        let mut connection = Connection::open(gateway).await.unwrap();
        for number in 0_u64.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let secret = self.secret.load_full();
            let request = request(&secret, &format!("{client}-{number}"));
            let answer = connection.send(request).await.unwrap();
            self.answered.fetch_add(1, Ordering::Relaxed);
            self.refused.fetch_add(u64::from(answer.status != 200), Ordering::Relaxed);
        }
    }
}

/// Rotates so many times under load, with an overlap; returns how many were answered, and refused.
async fn rotate_under_load(rotations: usize, overlap: &str) -> (u64, u64) {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    let provider = Arc::new(Provider {
        secret: ArcSwap::from_pointee(VKYC_SECRET.to_owned()),
        stop: AtomicBool::new(false),
        answered: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(Arc::clone(&provider).post(gateway.ingest(), client));
    }
    let arguments = ["secret", "rotate", "vkyc-secret", "--overlap", overlap];
    for _ in 0..rotations {
        let new = done(&home.sluice(&arguments).unwrap());
        // The provider goes on with the old value until its operator has put in the new one.
        taken_up(&gateway, &new).await;
        provider.secret.store(Arc::new(new));
    }
    provider.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let counts = (&provider.answered, &provider.refused);
    (counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_under_load_refuse_nobody_wrongly() {
    let rotations = if sluice_tests::long() { 100 } else { 8 };
    let began = Instant::now();
    // So long that no value expires before the next one is known, so short that few are kept.
    let (answered, refused) = rotate_under_load(rotations, "60s").await;
    println!(
        "{rotations} rotations in {:.1} s, {answered} requests, {refused} refused",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(refused, 0, "of {answered}");
}

/// The control: without an overlap the old value is refused while it is still in use.
#[tokio::test(flavor = "multi_thread")]
async fn rotations_without_an_overlap_do_refuse() {
    let (answered, refused) = rotate_under_load(3, "0s").await;
    assert!(refused > 0, "none of {answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_gets_its_first_token_and_its_buyer_the_url() {
    let home = home();
    let gateway = home.start_with(&[]).await.unwrap();
    // The route is there before its secret is: nothing else can be made of the configuration yet.
    let route = "\n[routes.buyer]\npath = \"/in/{token}\"\nplugin = \"payout-matcher\"\n\
                 secrets = { token = \"buyer\" }\n\n[destinations";
    home.edit("admin-token = {", "buyer = { file = \"secrets/buyer\" }\nadmin-token = {").unwrap();
    home.edit("[destinations", route.trim_start()).unwrap();
    let url = done(&home.sluice(&["secret", "generate", "--route", "buyer"]).unwrap());
    let path = url.strip_prefix("https://hooks.example.com").expect(&url).to_owned();
    let post = async |path: &str| {
        let report = r#"{"caller_id":"+13055550123","payout":"12.50","duration":60}"#;
        gateway.send(Request::post_json(path, report)).await.unwrap().status
    };
    let (post, path) = (&post, &path);
    wait_until("the first token to be taken up", PATIENCE, || async move {
        (post(path).await == 200).then_some(())
    })
    .await
    .unwrap();
    let told = failed(&home, &["secret", "generate", "--route", "buyer"]);
    assert!(told.contains("`sluice secret rotate buyer`"), "{told}");
    // Rotated, with an address of its own.
    let arguments = ["secret", "rotate", "buyer", "--base-url", "https://other.example.com/hooks"];
    let url = done(&home.sluice(&arguments).unwrap());
    assert!(url.starts_with("https://other.example.com/hooks/in/"), "{url}");
    assert!(!url.ends_with(path.as_str()), "the same token");
}

/// A home in which every use of a secret that the gateway itself makes is made.
fn every_use() -> Home {
    let ledger = "signing_secret = \"key\"\nheaders = { authorization = { secret = \"login\" } }";
    let buyer = "[routes.buyer]\npath = \"/in/{token}\"\nplugin = \"payout-matcher\"\n\
                 secrets = { token = \"buyer\" }\ndeliver_to = [\"ledger\"]\n";
    HomeBuilder::new()
        .plugin("payout-matcher")
        .unwrap()
        .secret("buyer", "0123456789abcdef-buyer")
        .secret("key", "0123456789abcdef-signing-key")
        .secret("login", "Bearer 1")
        .toml(buyer)
        .http_destination("ledger", "http://127.0.0.1:1/", ledger)
        .build()
        .unwrap()
}

#[test]
fn a_value_that_the_gateway_would_refuse_is_refused_and_changes_nothing() {
    let home = every_use();
    let value_file = home.folder().join("value");
    for (name, wrong, said, right) in [
        ("admin-token", "abc", "it has a value of fewer than 16 bytes", "0123456789abcdef-new"),
        ("admin-token", "0123456789abcdef\n\n", "cannot be sent in a header", "0123456789abcde-3"),
        (
            "buyer",
            "abc",
            "it has a value of fewer than 16 bytes; make one with",
            "fedcba9876543210",
        ),
        ("key", "abc", "it has a value of fewer than 24 bytes", "fedcba9876543210-signing-key"),
        ("key", "whsec_AAAA", "of 24 to 64 bytes", "0123456789-3-signing-key"),
        ("login", "Bearer \u{e4}", "it cannot be sent in a header", "Bearer 2"),
    ] {
        let file = home.folder().join("secrets").join(name);
        let before = std::fs::read(&file).unwrap();
        let rotate = ["secret", "rotate", name, "--value-file", "value"];
        std::fs::write(&value_file, wrong).unwrap();
        let output = home.sluice(&rotate).unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {told}");
        assert!(told.contains(said), "{name}: {told}");
        assert!(!told.contains(wrong), "{told}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{name}");
        std::fs::write(&value_file, right).unwrap();
        done(&home.sluice(&rotate).unwrap());
        // A random one too.
        done(&home.sluice(&["secret", "rotate", name]).unwrap());
    }
    let checked = home.sluice(&["check", "--config", "sluice.toml"]).unwrap();
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
}

#[test]
fn a_rotation_mends_a_secret_that_the_gateway_refuses() {
    let home = every_use();
    let check = || home.sluice(&["check", "--config", "sluice.toml"]).unwrap().status.code();
    std::fs::write(home.folder().join("secrets/admin-token"), "abc").unwrap();
    assert_eq!(check(), Some(78));
    let output = home.sluice(&["secret", "rotate", "admin-token"]).unwrap();
    assert!(text(&output.stderr).contains("the value before is refused"), "{output:?}");
    assert_eq!(done(&output).len(), 43);
    assert_eq!(check(), Some(0));
}

#[test]
fn what_cannot_be_done_is_told_with_its_remedy() {
    let home = home();
    home.edit("admin-token = {", "ours = { env = \"OUR_SECRET\" }\nadmin-token = {").unwrap();
    for (arguments, expected) in [
        (
            vec!["secret", "rotate", "ours"],
            "environment variable `OUR_SECRET`, so it cannot rotate",
        ),
        (vec!["secret", "rotate", "theirs"], "there is no secret `theirs`"),
        (vec!["secret", "generate", "--route", "vkyc"], "no route `vkyc` with a `{token}`"),
        (vec!["secret", "generate", "--route", "none"], "no route `none`"),
    ] {
        let told = failed(&home, &arguments);
        assert!(told.contains(expected), "{told}");
    }
    let one = done(&home.sluice(&["secret", "generate"]).unwrap());
    assert_eq!(one.len(), 43, "{one}");
}
