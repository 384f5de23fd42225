//! Reloads while webhooks arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluice_tests::http::{Connection, Request};
use sluice_tests::reload::changes;
use sluice_tests::{Gateway, Home, long, wait_until};
use tokio::task::JoinSet;

use super::{HOSTILE_SECRET, home, hostile_route, hostile_version};

/// Requests a second, whatever becomes of those before: what a busy installation sees.
const RATE: u64 = 100;

/// Connections that are kept open and used in turn.
const KEPT: usize = 8;

/// How a request fared.
#[derive(Debug)]
struct Answered {
    id: String,
    /// Absent: refused, reset or cut off.
    status: Option<u16>,
    text: String,
    /// From when it was due, not from when it was sent: waiting for a slow one counts.
    took: Duration,
}

/// An open-loop load.
struct Load {
    home: Home,
    gateway: Arc<Gateway>,
    /// What senders present, newest first: also those before it are still accepted.
    secrets: Arc<RwLock<Vec<String>>>,
    number: Arc<AtomicU64>,
    broken: Arc<AtomicBool>,
}

impl Load {
    async fn start() -> Self {
        Self::start_with(&[("SLUICE_LOG", "info")]).await
    }

    async fn start_with(environment: &[(&str, &str)]) -> Self {
        let home = home();
        home.replace("routes/hostile.toml", hostile_route("0")).unwrap();
        let gateway = home.start_with(environment).await.unwrap();
        Self {
            home,
            gateway: Arc::new(gateway),
            secrets: Arc::new(RwLock::new(vec![HOSTILE_SECRET.to_owned()])),
            number: Arc::default(),
            broken: Arc::default(),
        }
    }

    /// Sends at [`RATE`] until `stop` says so; every request is waited for.
    async fn run(&self, stop: Arc<AtomicBool>) -> Vec<Answered> {
        let answered = Arc::new(Mutex::new(Vec::new()));
        let ingest = self.gateway.ingest_now().unwrap();
        let mut pool = Vec::new();
        for _ in 0..KEPT {
            pool.push(Arc::new(tokio::sync::Mutex::new(Some(
                Connection::open(ingest).await.unwrap(),
            ))));
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
            let secrets = Arc::clone(&self.secrets);
            let gateway = Arc::clone(&self.gateway);
            let answered = Arc::clone(&answered);
            let broken = Arc::clone(&self.broken);
            // Every fourth over a connection of its own, the others over those that are kept.
            let kept = (n % 4 != 0).then(|| Arc::clone(&pool[n as usize % KEPT]));
            sending.spawn(async move {
                let request = || {
                    let bearer = format!("Bearer {}", secrets.read().unwrap()[0]);
                    Request::post_json("/hooks/hostile", format!("tell {id}"))
                        .header("authorization", &bearer)
                };
                let answer = match kept {
                    None => fresh(&gateway, request()).await,
                    Some(kept) => {
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
                };
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
    async fn audit(&self, answered: &[Answered], generations: &BTreeSet<String>) {
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

async fn fresh(gateway: &Gateway, request: Request) -> anyhow::Result<sluice_tests::http::Answer> {
    Connection::open(gateway.ingest_now()?).await?.send(request).await
}

/// What the guest tells of itself.
fn by(version: &str, marker: &str) -> String {
    format!("{version} ={{}}\nhostile={{\"marker\":\"{marker}\"}}")
}

fn percentile(answered: &[Answered], share: f64) -> Duration {
    let mut took: Vec<Duration> = answered.iter().map(|one| one.took).collect();
    took.sort();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let index = (took.len() as f64 * share) as usize;
    took[index.min(took.len() - 1)]
}

/// Memory that the gateway holds now, in MiB.
fn memory(gateway: &Gateway) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// Makes one reload of the kind whose turn it is, and says what was on disk.
async fn change(load: &Load, turn: usize, state: &mut State) {
    let home = &load.home;
    match turn % 5 {
        // Two versions of one adapter, and its settings.
        0 => {
            state.version = if state.version == "1.2.3" { "1.2.4" } else { "1.2.3" };
            state.note();
            home.replace("plugins/hostile.wasm", hostile_version(state.version)).unwrap();
            state.marker = turn.to_string();
            state.note();
            home.replace("routes/hostile.toml", hostile_route(&state.marker)).unwrap();
        }
        1 => rotate(load, turn).await,
        2 => {
            let more = hostile_route("0").replace("routes.hostile", "routes.more");
            let more = more
                .replace("/hooks/hostile", "/hooks/more")
                .replace("plugin = \"hostile\"", "plugin = \"vkyc\"");
            let more = more
                .replace("shared =", "shared_secret =")
                .replace("settings = { marker = \"0\" }\n", "");
            home.replace("routes/more.toml", more).unwrap();
        }
        3 => std::fs::remove_file(home.folder().join("routes/more.toml")).unwrap(),
        _ => {
            let text = home.config_text().unwrap();
            let limit = format!("connections_max = {}\n", 500 + turn);
            let kept: Vec<&str> =
                text.lines().filter(|line| !line.starts_with("connections_max")).collect();
            home.replace(
                "sluice.toml",
                kept.join("\n").replace("[ingest]\n", &format!("[ingest]\n{limit}")),
            )
            .unwrap();
        }
    }
    load.gateway.reload().await.unwrap();
}

struct State {
    version: &'static str,
    marker: String,
    /// Everything that was on disk together, from before it was there.
    together: BTreeSet<String>,
}

impl State {
    fn note(&mut self) {
        self.together.insert(by(self.version, &self.marker));
    }
}

/// Values that are active at once. A sender may be held up between taking one and presenting it.
const ACTIVE: usize = 5;

/// A new value beside the old ones; then senders change over.
async fn rotate(load: &Load, turn: usize) {
    let mut values = load.secrets.read().unwrap().clone();
    values.insert(0, secret_value(turn));
    values.truncate(ACTIVE);
    let lines = values.iter().map(|value| format!("- {}\n", STANDARD.encode(value)));
    let file = format!("#sluice-secrets 1\n{}", lines.collect::<String>());
    load.home.replace("secrets/hostile-secret", file).unwrap();
    let record = load.gateway.reload().await.unwrap();
    // The watcher may have been quicker; then this one found nothing new.
    let expected = "secret `hostile-secret` changed";
    assert!(changes(&record).iter().all(|change| *change == expected), "{record}");
    *load.secrets.write().unwrap() = values;
}

fn secret_value(turn: usize) -> String {
    format!("hostile-secret-number-{turn:08}")
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_drop_no_request_and_mix_no_generations() {
    let (baseline, reloads, every) = if long() {
        (Duration::from_secs(60), 1_000, Duration::from_millis(300))
    } else {
        (Duration::from_secs(5), 30, Duration::from_millis(250))
    };
    let load = Load::start().await;
    let mut state = State { version: "1.2.3", marker: "0".to_owned(), together: BTreeSet::new() };
    state.note();

    let stop = Arc::new(AtomicBool::new(false));
    let (quiet, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        tokio::time::sleep(baseline).await;
        stop.store(true, Ordering::Relaxed);
    });

    let stop = Arc::new(AtomicBool::new(false));
    let mut memories = Vec::new();
    let (busy, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        let mut next = tokio::time::interval(every);
        for turn in 0..reloads {
            next.tick().await;
            change(&load, turn, &mut state).await;
            memories.push(memory(&load.gateway));
        }
        stop.store(true, Ordering::Relaxed);
    });

    let figures =
        [&quiet, &busy].map(|answered| (percentile(answered, 0.5), percentile(answered, 0.99)));
    let [(quiet_p50, quiet_p99), (busy_p50, busy_p99)] = figures;
    let warm = memories[(memories.len() - 1).min(100)];
    println!(
        "{} requests without reloads: p50 {quiet_p50:.2?}, p99 {quiet_p99:.2?}; {} requests under \
         {reloads} reloads: p50 {busy_p50:.2?}, p99 {busy_p99:.2?} ({:.2} times); memory {:.1} MiB after \
         the first reload, {warm:.1} when warm, {:.1} at the end",
        quiet.len(),
        busy.len(),
        busy_p99.as_secs_f64() / quiet_p99.as_secs_f64(),
        memories[0],
        memories[memories.len() - 1],
    );
    let took = load.gateway.reloads().await.unwrap();
    let longest = took.iter().filter_map(|record| record["took_ms"].as_u64()).max();
    println!("the longest of the last {} reloads took {} ms", took.len(), longest.unwrap());
    assert!(!load.broken.load(Ordering::Relaxed), "a kept connection was closed");
    let all: Vec<Answered> = quiet.into_iter().chain(busy).collect();
    load.audit(&all, &state.together).await;

    let gateway = &load.gateway;
    let generation = gateway.metric("sluice_generation").await.unwrap();
    let applied = f64::from(u32::try_from(reloads).unwrap());
    assert!(generation > applied, "{generation} generations");
    // What serves, and no more: the two adapters of the last generation.
    wait_until("old snapshots and adapters to be freed", Duration::from_secs(10), || async {
        let snapshots = gateway.metric("sluice_snapshots").await.ok()?;
        let adapters = gateway.metric("sluice_adapters").await.ok()?;
        (snapshots == 1.0 && adapters == 2.0).then_some(())
    })
    .await
    .unwrap();
    if long() {
        assert!(busy_p99 <= quiet_p99 * 2, "p99 {busy_p99:?} and {quiet_p99:?}");
        let last = memories[memories.len() - 1];
        assert!(last <= warm * 1.05, "{warm} MiB grew to {last}");
    }
}

/// The control: a gateway that drains its listener at a reload breaks connections off.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_at_a_reload_fails_this_test() {
    let load = Load::start_with(&[("SLUICE_FAULT", "drain-at-reload")]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        load.gateway.reload().await.unwrap();
        let broken = || async { load.broken.load(Ordering::Relaxed).then_some(()) };
        wait_until("a broken connection", Duration::from_secs(30), broken).await.unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    assert!(answered.iter().any(|one| one.status.is_none()), "a request without an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_rotations_of_a_secret_under_load_refuse_nobody() {
    let load = Load::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, ()) = tokio::join!(load.run(Arc::clone(&stop)), async {
        for turn in 1..=100 {
            rotate(&load, turn).await;
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!("{} requests under 100 rotations, none refused", answered.len());
    assert!(!load.broken.load(Ordering::Relaxed), "a kept connection was closed");
    load.audit(&answered, &BTreeSet::from([by("1.2.3", "0")])).await;
    // What is no longer among the active ones is refused: the rotations did take place.
    let bearer = format!("Bearer {}", secret_value(100 - ACTIVE));
    let request =
        Request::post_json("/hooks/hostile", "tell late").header("authorization", &bearer);
    assert_eq!(fresh(&load.gateway, request).await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_moves_under_load_resets_no_connection() {
    let load = Load::start().await;
    // A port that was free a moment ago, as an operator would choose one.
    let port = || {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().to_string()
    };
    let mut listen = "127.0.0.1:0".to_owned();
    let gateway = Arc::clone(&load.gateway);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut sending = JoinSet::new();
    // Each request over a connection of its own, to where the gateway listens at that moment.
    sending.spawn(async move {
        let mut count = 0_u32;
        while !stopped.load(Ordering::Relaxed) {
            let bearer = format!("Bearer {HOSTILE_SECRET}");
            let request = Request::post_json("/hooks/hostile", format!("tell m{count}"))
                .header("authorization", &bearer);
            let at = gateway.ingest_now().unwrap();
            let answer = match Connection::open(at).await {
                Ok(mut connection) => connection.send(request).await,
                // It went on while this was looking: only then may it be refused.
                Err(error) if gateway.ingest_now().unwrap() == at => Err(error),
                Err(_) => continue,
            };
            assert_eq!(answer.unwrap().status, 200);
            count += 1;
        }
        count
    });
    for _ in 0..10 {
        let next = port();
        load.home
            .edit(
                &format!("[ingest]\nlisten = \"{listen}\""),
                &format!("[ingest]\nlisten = \"{next}\""),
            )
            .unwrap();
        listen = next;
        load.gateway.reload().await.unwrap();
        assert_eq!(load.gateway.ingest_now().unwrap().to_string(), listen);
    }
    stop.store(true, Ordering::Relaxed);
    let count = sending.join_next().await.unwrap().unwrap();
    println!("{count} requests while the listener moved 10 times");
    assert!(count > 0);
}
