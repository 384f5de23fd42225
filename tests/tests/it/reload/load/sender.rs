//! An open-loop load over every way in: kept connections, new ones, TLS, and a listener that moves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sluice_tests::http::{Answer, Connection, Request};
use sluice_tests::tls::{self, Pair, connector};
use sluice_tests::{Gateway, Home, HomeBuilder, wait_until};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::reload::{HOSTILE_SECRET, home_of, hostile_route};

/// Requests a second, whatever becomes of those before: what a busy installation sees.
const RATE: u64 = 100;

/// Connections that are kept open and used in turn.
const KEPT: usize = 8;

/// Where TLS is spoken.
const TLS_LISTEN: &str = "127.0.0.2:0";

/// Between these the third listener moves.
pub(super) const MOVING: [&str; 2] = ["127.0.0.3:0", "127.0.0.4:0"];

/// Until a listener that is not where it was is told to be somewhere else.
const MOVED_MAX: Duration = Duration::from_secs(10);

/// How a request fared.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) id: String,
    /// Absent: refused, reset or cut off.
    pub(super) status: Option<u16>,
    text: String,
    /// From when it was due, not from when it was sent: waiting for a slow one counts.
    took: Duration,
}

/// A gateway under load.
pub(super) struct Load {
    pub(super) home: Home,
    pub(super) gateway: Arc<Gateway>,
    /// Certificates that clients trust; the gateway shows one of them.
    pub(super) pairs: [Pair; 2],
    connector: TlsConnector,
    /// What senders present, newest first: also those before it are still accepted.
    pub(super) secrets: Arc<RwLock<Vec<String>>>,
    number: Arc<AtomicU64>,
    pub(super) broken: Arc<AtomicBool>,
}

/// A way in.
enum Way {
    Kept(Arc<tokio::sync::Mutex<Option<Connection>>>),
    New,
    Tls(TlsConnector),
    Moving,
}

impl Load {
    pub(super) async fn start() -> Self {
        Self::start_with(&[("SLUICE_LOG", "info")]).await
    }

    pub(super) async fn start_with(environment: &[(&str, &str)]) -> Self {
        let pairs = [Pair::new().unwrap(), Pair::new().unwrap()];
        let listeners = format!(
            "[ingest.listeners.public]\naddress = \"{TLS_LISTEN}\"\ncertificate = \"tls.crt\"\n\
             key = \"secrets/tls.key\"\n[ingest.listeners.moving]\naddress = \"{}\"\n",
            MOVING[0]
        );
        let home = home_of(HomeBuilder::new().toml(&listeners));
        home.replace("secrets/tls.key", &pairs[0].key).unwrap();
        home.replace("tls.crt", &pairs[0].certificate).unwrap();
        home.replace("routes/hostile.toml", hostile_route("0")).unwrap();
        let gateway = home.start_with(environment).await.unwrap();
        Self {
            home,
            gateway: Arc::new(gateway),
            connector: connector(&pairs, &["http/1.1"], true).unwrap(),
            pairs,
            secrets: Arc::new(RwLock::new(vec![HOSTILE_SECRET.to_owned()])),
            number: Arc::default(),
            broken: Arc::default(),
        }
    }

    /// Sends at [`RATE`] until `stop` says so; every request is waited for.
    pub(super) async fn run(&self, stop: Arc<AtomicBool>) -> Vec<Answered> {
        let answered = Arc::new(Mutex::new(Vec::new()));
        let ingest = self.gateway.ingest_now().unwrap();
        let mut pool = Vec::new();
        for _ in 0..KEPT {
            let connection = Connection::open(ingest).await.unwrap();
            pool.push(Arc::new(tokio::sync::Mutex::new(Some(connection))));
        }
        let mut sending = JoinSet::new();
        let began = Instant::now();
        for n in 0_u32.. {
            let due = began + Duration::from_secs(1) * n / u32::try_from(RATE).unwrap();
            tokio::time::sleep_until(due.into()).await;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let id = format!("r{}", self.number.fetch_add(1, Ordering::Relaxed));
            let way = match n % 12 {
                0 | 4 => Way::New,
                2 => Way::Tls(self.connector.clone()),
                8 => Way::Moving,
                _ => Way::Kept(Arc::clone(&pool[n as usize % KEPT])),
            };
            let secrets = Arc::clone(&self.secrets);
            let gateway = Arc::clone(&self.gateway);
            let answered = Arc::clone(&answered);
            let broken = Arc::clone(&self.broken);
            sending.spawn(async move {
                let request = || {
                    let bearer = format!("Bearer {}", secrets.read().unwrap()[0]);
                    Request::post_json("/hooks/hostile", format!("tell {id}"))
                        .header("authorization", &bearer)
                };
                let answer = way.send(&gateway, request, &broken).await;
                let took = due.elapsed();
                let (status, text) = match answer {
                    Ok(answer) => (Some(answer.status), answer.text()),
                    Err(error) => (None, format!("{error:#}")),
                };
                answered.lock().unwrap().push(Answered { id, status, text, took });
            });
        }
        while let Some(ended) = sending.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut *answered.lock().unwrap())
    }

    /// Every request was answered 200 once, made one event once, and was made by something that
    /// stood on disk as a whole.
    pub(super) async fn audit(&self, answered: &[Answered], generations: &BTreeSet<String>) {
        let failed: Vec<_> = answered.iter().filter(|one| one.status != Some(200)).collect();
        assert!(
            failed.is_empty(),
            "{} failed, first {:?}",
            failed.len(),
            &failed[..failed.len().min(5)]
        );
        for one in answered {
            let by = one.text.as_str();
            assert!(
                generations.contains(by),
                "{by:?} was never one configuration: {generations:?}"
            );
        }
        let events = wait_until("every event", Duration::from_secs(60), || async {
            let events = self.home.events().ok()?;
            (events.len() >= answered.len()).then_some(events)
        });
        let mut made = BTreeMap::new();
        for event in events.await.unwrap() {
            *made.entry(event["data"]["id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
        assert_eq!(made.len(), answered.len());
        assert!(
            answered.iter().all(|one| made.get(&one.id) == Some(&1)),
            "an event is there twice"
        );
    }
}

impl Way {
    async fn send(
        self,
        gateway: &Gateway,
        request: impl Fn() -> Request,
        broken: &AtomicBool,
    ) -> anyhow::Result<Answer> {
        match self {
            Self::New => fresh(gateway, request()).await,
            Self::Tls(connector) => {
                let address = gateway.listener(TLS_LISTEN)?;
                let stream = tls::connect(&connector, &address).await?;
                Connection::over(stream, tls::NAME).await?.send(request()).await
            }
            Self::Moving => {
                let connection = match open(gateway, moving(gateway)?).await? {
                    Some(connection) => Some(connection),
                    // It had moved already; once more, and then it is a failure.
                    None => open(gateway, moving(gateway)?).await?,
                };
                connection.context("moved twice at once")?.send(request()).await
            }
            Self::Kept(kept) => {
                let mut kept = kept.lock().await;
                let answer = match kept.as_mut() {
                    Some(connection) => connection.send(request()).await,
                    None => Err(anyhow::anyhow!("was closed before")),
                };
                if answer.is_err() {
                    broken.store(true, Ordering::Relaxed);
                    *kept = None;
                }
                answer
            }
        }
    }
}

/// Where the third listener is now.
fn moving(gateway: &Gateway) -> anyhow::Result<SocketAddr> {
    let [first, second] = MOVING;
    let address = gateway.listener(first).or_else(|_| gateway.listener(second))?;
    address.parse().context("its address")
}

/// Connects to the third listener; `None` where it went on while this looked: only then may it
/// refuse.
async fn open(gateway: &Gateway, at: SocketAddr) -> anyhow::Result<Option<Connection>> {
    let error = match Connection::open(at).await {
        Ok(connection) => return Ok(Some(connection)),
        Err(error) => error,
    };
    let moved = || async { moving(gateway).is_ok_and(|now| now != at).then_some(()) };
    match wait_until("the listener's move", MOVED_MAX, moved).await {
        Ok(()) => Ok(None),
        Err(_) => Err(error),
    }
}

pub(super) async fn fresh(gateway: &Gateway, request: Request) -> anyhow::Result<Answer> {
    Connection::open(gateway.ingest_now()?).await?.send(request).await
}

pub(super) fn percentile(answered: &[Answered], share: f64) -> Duration {
    let mut took: Vec<Duration> = answered.iter().map(|one| one.took).collect();
    took.sort();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let index = (took.len() as f64 * share) as usize;
    took[index.min(took.len() - 1)]
}

/// Memory that the gateway holds now, in MiB.
pub(super) fn memory(gateway: &Gateway) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
