//! Measures storage alone: commits of webhooks of the usual size with keys of their own, against a
//! store with many live keys, while every event is leased and recorded.
//!
//! `bench_storage FOLDER [SECONDS] [KEYS] [COMMITTERS]` prints events/s and CPU microseconds an
//! event, by thread: on a machine that others use too, the CPU time is what can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sluice::model::{
    AttemptOutcome, AttemptRecord, Clock as _, DeliveryState, IdempotencyKey, KeyScope, NewEvent,
    SystemClock,
};
use sluice::storage::sqlite::{SqliteOptions, SqliteStorage};
use sluice::storage::{Commit, Storage};
use sluice_tests::bench::commits::{Names, event, webhook};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Events of one commit while keys are loaded: only the keys matter.
const LOAD_BATCH: u64 = 1_000;

/// Deliveries leased at once.
const LEASE_MAX: usize = 256;

#[derive(Debug, Default)]
struct Counts {
    stored: AtomicU64,
    delivered: AtomicU64,
    over: AtomicBool,
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let folder =
        arguments.next().ok_or("usage: bench_storage FOLDER [SECONDS] [KEYS] [COMMITTERS]")?;
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (seconds, keys, committers) = (number(10)?, number(1_000_000)?, number(64)?);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    runtime.block_on(run(Path::new(&folder), seconds, keys, committers))
}

async fn run(folder: &Path, seconds: u64, keys: u64, committers: u64) -> Outcome<()> {
    let names = Arc::new(Names::new()?);
    let options = SqliteOptions::new(Arc::new(SystemClock));
    let store = SqliteStorage::open(&folder.join("bench.db"), options)?;
    let began = Instant::now();
    for batch in 0..keys / LOAD_BATCH {
        store.commit(load(&names, batch)).await?;
    }
    say(&format!("loaded {keys} keys in {:.1} s", began.elapsed().as_secs_f64()));

    let counts = Arc::new(Counts::default());
    let before = cpu_by_thread()?;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..committers {
        tasks.spawn(committer(Arc::clone(&store), Arc::clone(&names), Arc::clone(&counts)));
    }
    let mut deliverer = tokio::task::JoinSet::new();
    deliverer.spawn(deliver(Arc::clone(&store), Arc::clone(&names), Arc::clone(&counts)));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    counts.over.store(true, Ordering::Release);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let (took, stored) = (began.elapsed(), counts.stored.load(Ordering::Acquire));
    while let Some(ended) = deliverer.join_next().await {
        ended??;
    }
    let (drained, delivered) = (began.elapsed() - took, counts.delivered.load(Ordering::Acquire));
    report(stored, took, &before, &cpu_by_thread()?);
    say(&format!("delivered {delivered}, the last {:.2} s after the load", drained.as_secs_f64()));
    say(&status_line("VmHWM")?);
    store.close().await;
    if stored == delivered { Ok(()) } else { Err("not every event was delivered".into()) }
}

async fn committer(
    store: Arc<SqliteStorage>,
    names: Arc<Names>,
    counts: Arc<Counts>,
) -> Outcome<()> {
    while !counts.over.load(Ordering::Acquire) {
        store.commit(webhook(&names)).await?;
        counts.stored.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

async fn deliver(store: Arc<SqliteStorage>, names: Arc<Names>, counts: Arc<Counts>) -> Outcome<()> {
    let mut nudges = store.nudges(&names.destination);
    loop {
        nudges.borrow_and_update();
        let leased = store.lease(&names.destination, LEASE_MAX, Duration::from_secs(30)).await?;
        if leased.is_empty() {
            let stored = counts.stored.load(Ordering::Acquire);
            let all = counts.delivered.load(Ordering::Acquire) >= stored;
            if counts.over.load(Ordering::Acquire) && all {
                return Ok(());
            }
            // A missed nudge costs latency only.
            drop(tokio::time::timeout(Duration::from_millis(20), nudges.changed()).await);
            continue;
        }
        let at = SystemClock.now();
        let attempts = leased.iter().map(|leased| AttemptRecord {
            delivery: leased.delivery,
            fence: leased.fence,
            destination: names.destination.clone(),
            number: leased.attempts_before + 1,
            at,
            took: Duration::from_millis(3),
            outcome: AttemptOutcome::Delivered,
            state: DeliveryState::Delivered,
            again_in: None,
            reason: None,
        });
        let recorded = store.record(attempts.collect()).await?;
        counts.delivered.fetch_add(recorded as u64, Ordering::AcqRel);
    }
}

/// A commit that brings many keys and little else.
fn load(names: &Names, batch: u64) -> Commit {
    let mut commit = webhook(names);
    commit.events.clear();
    for n in 0..LOAD_BATCH {
        let value = format!("loaded-{batch}-{n}");
        let event = event(names, &commit.request, value.clone(), "{}".to_owned());
        let key = IdempotencyKey { value, scope: KeyScope::Route, window_seconds: 86_400 };
        commit.events.push(NewEvent { event, key: Some(key), destinations: Vec::new() });
    }
    commit
}

fn report(
    stored: u64,
    took: Duration,
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
) {
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
    let events = stored as f64;
    say(&format!("stored {stored} events, {:.0} events/s", events / took.as_secs_f64()));
    for (thread, seconds) in after {
        let used = seconds - before.get(thread).copied().unwrap_or_default();
        if used > 0.0 {
            say(&format!("  {thread:<16} {:6.2} us CPU an event", used * 1e6 / events));
        }
    }
}

/// CPU seconds so far, threads of one name together.
fn cpu_by_thread() -> Outcome<BTreeMap<String, f64>> {
    /// Ticks a second of the counters in `/proc`, on every Linux.
    const TICKS: f64 = 100.0;
    let mut all = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(task?.path().join("stat"))?;
        let (head, tail) = stat.rsplit_once(')').ok_or("a thread's statistics cannot be read")?;
        let name = head.split_once('(').map_or("", |(_, name)| name);
        let ticks: f64 = tail.split_whitespace().skip(11).take(2).flat_map(str::parse::<f64>).sum();
        *all.entry(name.to_owned()).or_insert(0.0) += ticks / TICKS;
    }
    Ok(all)
}

fn status_line(name: &str) -> Outcome<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name));
    Ok(line.unwrap_or_default().to_owned())
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn say(text: &str) {
    println!("{text}");
}
