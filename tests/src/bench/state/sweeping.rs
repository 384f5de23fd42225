//! Commits while retention deletes what has expired.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rusqlite::Connection;
use sluice::model::{AdapterName, SystemClock};
use sluice::storage::sqlite::{SqliteOptions, SqliteStorage};
use sluice::storage::{Claiming, Storage as _};
use tokio::task::JoinSet;

use super::{Bar, Figure, Plan, figure, micros};
use crate::bench::commits::{Names, webhook};
use crate::bench::{percentile, say};

/// Callers that commit at once.
const COMMITTERS: usize = 64;

/// Sweeps that a minute each would bring; far more than any number of expired keys here needs.
const SWEEPS_MAX: u32 = 100;

pub(super) async fn figures(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    say(&format!("Committing without and with {} entries and keys to delete", plan.expired));
    let folder = tempfile::tempdir().context("a folder")?;
    let path = folder.path().join("sluice.db");
    let claims = || anyhow::Ok(vec![(AdapterName::new("vkyc")?, 1)]);
    let store = SqliteStorage::open(&path, SqliteOptions::new(Arc::new(SystemClock)))?;
    ensure!(store.claim_state(claims()?, Claiming::Grant).await?.is_empty(), "another version");
    store.close().await;
    fill(&path, plan.expired)?;
    let store = SqliteStorage::open(&path, SqliteOptions::new(Arc::new(SystemClock)))?;
    let before = committing(&store, || tokio::time::sleep(plan.time)).await?;
    let began = Instant::now();
    let mut sweeps = 0;
    let during = committing(&store, || async {
        while left(&path).is_ok_and(|left| left > 0) && sweeps < SWEEPS_MAX {
            if let Err(error) = store.sweep(Duration::from_secs(86_400)).await {
                say(&format!("  a sweep failed: {error}"));
            }
            sweeps += 1;
        }
    })
    .await?;
    let took = began.elapsed().as_secs_f64();
    ensure!(left(&path)? == 0, "{} rows are left after {sweeps} sweeps", left(&path)?);
    store.close().await;
    say(&format!("  all gone in {sweeps} sweeps, {took:.1} s; {} commits meanwhile", during.len()));
    let [p99_before, p99] = [&before, &during].map(|waits| micros(percentile(waits, 0.99)));
    let longest = micros(during.last().copied().unwrap_or_default());
    Ok(vec![
        figure("commit, 64 at once, p99", p99_before, "us", Bar::None),
        figure("the same while retention deletes, p99", p99, "us", Bar::None),
        figure("the longest of those", longest, "us", Bar::None),
    ])
}

/// Rows as expired entries and ended keys leave them, in an order that is neither that of keys nor
/// that of expiry.
fn fill(path: &std::path::Path, count: u64) -> anyhow::Result<()> {
    let rows = format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})"
    );
    let fill = format!(
        "PRAGMA synchronous = OFF; BEGIN; \
         {rows} INSERT INTO state SELECT 1, \
         CAST(printf('%08x', (n * 2654435761) % 4294967296) AS BLOB), randomblob(100), \
         1 + (n * 40503) % 65536, n FROM n; \
         {rows} INSERT INTO keys (slot, digest, arrived, until, request) \
         SELECT (n * 2654435761) % 4294967296 * 4 + 17, randomblob(16), 1, 2, 1 FROM n; COMMIT;"
    );
    Connection::open(path)?.execute_batch(&fill).context("filling the store")
}

fn left(path: &std::path::Path) -> anyhow::Result<i64> {
    let sql = "SELECT (SELECT count(*) FROM state) \
        + (SELECT count(*) FROM keys WHERE until < 1000)";
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    Ok(Connection::open_with_flags(path, flags)?.query_row(sql, [], |row| row.get(0))?)
}

/// How long each commit waited while `work` was done, sorted.
async fn committing<F: Future<Output = ()>>(
    store: &Arc<SqliteStorage>,
    work: impl FnOnce() -> F,
) -> anyhow::Result<Vec<Duration>> {
    let (over, names) = (Arc::new(AtomicBool::new(false)), Arc::new(Names::new()?));
    let mut committers = JoinSet::new();
    for _ in 0..COMMITTERS {
        let (store, over, names) = (Arc::clone(store), Arc::clone(&over), Arc::clone(&names));
        committers.spawn(async move {
            let mut waits = Vec::new();
            while !over.load(Ordering::Acquire) {
                let commit = webhook(&names);
                let began = Instant::now();
                store.commit(commit).await?;
                waits.push(began.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    work().await;
    over.store(true, Ordering::Release);
    let mut all = Vec::new();
    while let Some(waits) = committers.join_next().await {
        all.extend(waits.context("a committer's task")??);
    }
    all.sort_unstable();
    Ok(all)
}
