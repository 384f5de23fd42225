use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::config::{
    AdminConfig, Config, DestinationConfig, DestinationKind, ForwardedBy, HttpFormat, IngestConfig,
    Listen, ListenerConfig, LogConfig, PluginsConfig, Secret, SecretValue, SecretVersion, Secrets,
    Sources, StorageConfig, TrustedProxies,
};
use crate::delivery::testing::{MemoryStorage, Row, RuntimeClock, config, event};
use crate::model::{DeadLetterReason, DeliveryState, SecretName, SystemClock};
use crate::telemetry::delivery::DESTINATION_STOPPED;

/// Destinations that are taken out are given up at once.
pub(super) fn snapshot(generation: u64, destinations: Vec<DestinationConfig>) -> Snapshot {
    with_grace(Duration::ZERO, generation, destinations)
}

fn with_grace(
    removed_grace: Duration,
    generation: u64,
    destinations: Vec<DestinationConfig>,
) -> Snapshot {
    let listen = ([127, 0, 0, 1], 0).into();
    let version = SecretVersion { value: SecretValue::new(b"token".to_vec()), expires_at: None };
    let config = Config {
        ingest: IngestConfig {
            listeners: vec![Arc::new(ListenerConfig::plain(Listen::Tcp(listen)))],
            trusted_proxies: TrustedProxies::default(),
            forwarded: ForwardedBy::None,
            body_max: 1 << 20,
            connections_max: 16,
            requests_in_flight_max: 16,
            head_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            body_rate_min: 1_024,
            idle_deadline: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            public_url: None,
        },
        admin: AdminConfig {
            listen,
            token: Secret { name: SecretName::new("t").unwrap(), versions: [version].into() },
        },
        storage: StorageConfig {
            sqlite_path: "unused.db".into(),
            retention: Duration::from_secs(60),
            removed_grace,
            ballast: 0,
        },
        plugins: PluginsConfig {
            directory: "plugins".into(),
            size_max: 2 << 20,
            cache: "cache".into(),
        },
        log: LogConfig::default(),
        secrets: Secrets::default(),
        adapters: std::collections::BTreeMap::default(),
        routes: std::collections::BTreeMap::default(),
        destinations: destinations.into_iter().map(|one| (one.name.clone(), one)).collect(),
        sources: Sources::default(),
        files: Vec::new(),
    };
    let (adapters, routes) = Default::default();
    Snapshot::new(generation, Arc::new(config), adapters, routes)
}

fn lines(destination: &str, path: &Path) -> DestinationConfig {
    config(destination, DestinationKind::File { path: path.to_owned() })
}

fn http(destination: &str, url: &str) -> DestinationConfig {
    let kind = DestinationKind::Http {
        url: url.parse().unwrap(),
        format: HttpFormat::Structured,
        signing_secret: None,
        headers: Vec::new(),
        allow_private: false,
    };
    config(destination, kind)
}

/// A service at work on a store.
struct Bench {
    storage: Arc<MemoryStorage>,
    current: Arc<ArcSwap<Snapshot>>,
    swapped: Arc<Notify>,
    shutdown: CancellationToken,
    service: JoinSet<()>,
}

impl Bench {
    fn start(destinations: Vec<DestinationConfig>) -> Self {
        Self::start_at(Arc::new(SystemClock), destinations)
    }

    fn start_at(clock: Arc<dyn Clock>, destinations: Vec<DestinationConfig>) -> Self {
        let storage = MemoryStorage::new(Arc::clone(&clock));
        let current = Arc::new(ArcSwap::from_pointee(snapshot(1, destinations)));
        let swapped = Arc::new(Notify::new());
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let service = DeliveryService::new(
            Arc::clone(&storage) as _,
            clock,
            Arc::clone(&current),
            Arc::clone(&swapped),
            Arc::new(Semaphore::new(1)),
        );
        running.spawn(service.run(shutdown.clone()));
        Self { storage, current, swapped, shutdown, service: running }
    }

    fn reload(&self, generation: u64, destinations: Vec<DestinationConfig>) {
        self.current.store(Arc::new(snapshot(generation, destinations)));
        self.swapped.notify_one();
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        self.service.join_next().await.unwrap().unwrap();
    }
}

fn is_settled(row: &Row) -> bool {
    row.state != DeliveryState::Pending
}

fn ids(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn each_destination_gets_what_it_is_owed_and_a_dead_one_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.jsonl");
    // Nothing listens on port 1.
    let bench = Bench::start(vec![lines("crm", &path), http("ledger", "http://127.0.0.1:1/")]);
    let refused = bench.storage.owe("ledger", 1);
    for number in 2..12 {
        bench.storage.owe("crm", number);
    }
    bench.storage.until_all(|row| !row.attempts.is_empty()).await;
    assert_eq!(ids(&path).len(), 10);
    assert_eq!(bench.storage.row(refused).state, DeliveryState::Pending);
    bench.stop().await;
}

#[tokio::test]
async fn a_reload_moves_a_destination_and_brings_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |file: &str| folder.path().join(file);
    let bench = Bench::start(vec![lines("crm", &path("old.jsonl"))]);
    bench.storage.owe("crm", 1);
    bench.storage.until_all(is_settled).await;

    let next = vec![lines("crm", &path("new.jsonl")), lines("audit", &path("audit.jsonl"))];
    bench.reload(2, next);
    // The service has seen the reload when it delivers for the destination that is new in it.
    bench.storage.owe("audit", 2);
    bench.storage.until_all(is_settled).await;
    while !path("audit.jsonl").exists() {
        tokio::task::yield_now().await;
    }
    bench.storage.owe("crm", 3);
    bench.storage.until_all(is_settled).await;
    bench.stop().await;

    let of = |number: u8| event(number).id.to_string();
    assert_eq!(ids(&path("old.jsonl")), [of(1)]);
    assert_eq!(ids(&path("audit.jsonl")), [of(2)]);
    assert_eq!(ids(&path("new.jsonl")), [of(3)]);
}

/// Answers what it is told to, and counts the requests.
async fn answering(
    status: &'static str,
) -> (u16, Arc<std::sync::atomic::AtomicUsize>, JoinSet<()>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            drop(stream.read(&mut [0; 4096]).await);
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (port, count, serving)
}

#[tokio::test]
async fn a_reload_gives_a_destination_that_was_gone_another_chance_without_a_change() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let stopped = |value: u8| {
        let line = format!("{DESTINATION_STOPPED}{{destination=\"crm\"}} {value}");
        metrics.render().lines().any(|shown| shown == line)
    };
    // All of the test runs on this thread.
    let _here = metrics::set_default_local_recorder(&recorder);
    let (port, count, _serving) = answering("410 Gone").await;
    let configured = || vec![http("crm", &format!("http://127.0.0.1:{port}/"))];
    let bench = Bench::start(configured());
    let asked = || count.load(std::sync::atomic::Ordering::Relaxed);
    bench.storage.owe("crm", 1);
    bench.storage.until_all(is_settled).await;
    assert_eq!(asked(), 1);
    assert!(stopped(1), "{}", metrics.render());
    let second = bench.storage.owe("crm", 2);
    bench.reload(2, configured());
    bench.storage.until_all(is_settled).await;
    assert_eq!((asked(), bench.storage.row(second).attempts.len()), (2, 1));
    bench.reload(3, Vec::new());
    while !stopped(0) {
        tokio::task::yield_now().await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_reload_that_leaves_a_destination_as_it_is_does_not_hold_up_its_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    // Accepts and never answers: one attempt is under way for as long as the test takes.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut slow = http("slow", &format!("http://{}/", silent.local_addr().unwrap()));
    slow.timeout = Duration::from_secs(60);
    slow.concurrency = 2;
    let audit = folder.path().join("audit.jsonl");
    let bench = Bench::start(vec![slow.clone()]);
    bench.storage.owe("slow", 1);
    let _unanswered = silent.accept().await.unwrap();
    bench.reload(2, vec![slow, lines("audit", &audit)]);
    let row = bench.storage.owe("audit", 2);
    while bench.storage.row(row).state != DeliveryState::Delivered {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The reload has been seen; a worker that had ended for it would wait for the attempt.
    bench.storage.owe("slow", 3);
    silent.accept().await.unwrap();
    drop(bench);
}

#[tokio::test]
async fn what_is_owed_to_nobody_becomes_a_dead_letter() {
    let bench = Bench::start(Vec::new());
    let id = bench.storage.owe("removed", 1);
    bench.reload(2, Vec::new());
    bench.storage.until_all(is_settled).await;
    assert_eq!(bench.storage.row(id).state, DeliveryState::DeadLetter);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_destination_is_owed_waits_for_it_to_be_put_back() {
    const GRACE: Duration = Duration::from_secs(3_600);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.jsonl");
    let clock = Arc::new(RuntimeClock::start());
    let bench = Bench::start_at(
        clock,
        vec![lines("crm", &path), lines("audit", &folder.path().join("audit"))],
    );
    let reload = |generation, destinations| {
        bench.current.store(Arc::new(with_grace(GRACE, generation, destinations)));
        bench.swapped.notify_one();
    };
    reload(2, Vec::new());
    // Passes at once: time is paused.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (back, gone) = (bench.storage.owe("crm", 1), bench.storage.owe("audit", 2));
    tokio::time::sleep(GRACE - Duration::from_secs(120)).await;
    assert!(bench.storage.rows().iter().all(|row| !is_settled(row) && row.attempts.is_empty()));
    reload(3, vec![lines("crm", &path)]);
    tokio::time::sleep(Duration::from_secs(300)).await;
    bench.storage.until_all(is_settled).await;
    assert_eq!(bench.storage.row(back).state, DeliveryState::Delivered);
    assert_eq!(bench.storage.row(gone).state, DeliveryState::DeadLetter);
    bench.stop().await;
}

#[tokio::test]
async fn a_destination_that_comes_while_another_is_retired_is_served_and_keeps_what_it_is_owed() {
    const SOON: Duration = Duration::from_secs(20);

    // Accepts and never answers: what is owed to it is pending for as long as the test takes.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut new = http("new", &format!("http://{}/", silent.local_addr().unwrap()));
    new.timeout = Duration::from_secs(60);
    let bench = Bench::start(Vec::new());
    let storage = &bench.storage;
    let until_dead = async |id| {
        while storage.row(id).state != DeliveryState::DeadLetter {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    storage.retirements.forget_permits(Semaphore::MAX_PERMITS);
    let first = storage.owe("removed", 1);
    let owed = storage.owe("new", 2);
    let last = storage.owe("removed", 3);
    bench.reload(2, Vec::new());
    storage.retirements.add_permits(1);
    tokio::time::timeout(SOON, until_dead(first)).await.expect("the first step");
    // The next step is under way, and held up.
    bench.reload(3, vec![new]);
    let served = tokio::time::timeout(SOON, silent.accept()).await;
    let _unanswered = served.expect("retiring holds up no other destination").unwrap();
    storage.retirements.add_permits(100);
    tokio::time::timeout(SOON, until_dead(last)).await.expect("the last step");
    assert_eq!(storage.row(owed).state, DeliveryState::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_cannot_be_used_leaves_its_deliveries_pending_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mended.jsonl");
    let mut bad = http("crm", "http://127.0.0.1:1/");
    let DestinationKind::Http { signing_secret, .. } = &mut bad.kind else { panic!("http") };
    let version = SecretVersion { value: SecretValue::new(b"whsec_?".to_vec()), expires_at: None };
    *signing_secret =
        Some(Secret { name: SecretName::new("k").unwrap(), versions: [version].into() });
    let bench = Bench::start_at(Arc::new(RuntimeClock::start()), vec![bad]);
    let id = bench.storage.owe("crm", 1);
    // Passes at once: time is paused.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(bench.storage.row(id).attempts.is_empty());
    bench.reload(2, vec![lines("crm", &path)]);
    bench.storage.until_all(is_settled).await;
    let row = bench.storage.row(id);
    assert_eq!((row.state, row.reason()), (DeliveryState::Delivered, None::<DeadLetterReason>));
    bench.stop().await;
}

#[test]
fn randomness_stays_within_its_unit_and_varies() {
    let drawn: Vec<f64> = (0..1_000).map(|_| random_unit()).collect();
    assert!(drawn.iter().all(|random| (0.0..=1.0).contains(random)));
    let mean = drawn.iter().sum::<f64>() / 1_000.0;
    assert!((0.4..0.6).contains(&mean), "{mean}");
}
