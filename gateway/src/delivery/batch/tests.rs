use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;
use tokio::task::JoinSet;

use super::*;
use crate::config::DestinationKind;
use crate::delivery::testing::{MemoryStorage, Row, RuntimeClock, config, event, name};
use crate::model::{
    AttemptOutcome, Clock, DeadLetterReason, DeliveryState, SystemClock, UnixMillis,
};

/// A worker at work on a store, with a real file.
struct Bench {
    storage: Arc<MemoryStorage>,
    stop: CancellationToken,
    worker: JoinSet<()>,
}

impl Bench {
    fn start(path: &Path, prepare: impl FnOnce(&MemoryStorage)) -> Self {
        Self::start_at(Arc::new(SystemClock), path, prepare)
    }

    fn start_at(clock: Arc<dyn Clock>, path: &Path, prepare: impl FnOnce(&MemoryStorage)) -> Self {
        let storage = MemoryStorage::new(Arc::clone(&clock));
        prepare(&storage);
        let stop = CancellationToken::new();
        let config = config("lines", DestinationKind::File { path: path.to_owned() });
        let queue = Queue::new(Arc::clone(&storage) as _, clock, name("lines"));
        let mut worker = JoinSet::new();
        worker.spawn(BatchWorker::new(queue, path.to_owned(), &config).run(stop.clone()));
        Self { storage, stop, worker }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.worker.join_next().await.unwrap().unwrap();
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
async fn every_delivery_becomes_one_line_and_one_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let bench = Bench::start(&path, |_| ());
    for number in 0..200 {
        bench.storage.owe("lines", number);
    }
    bench.storage.until_all(is_settled).await;
    let rows = bench.storage.rows();
    let owed: Vec<_> = rows.iter().map(|row| row.event.id.to_string()).collect();
    assert_eq!(ids(&path), owed);
    assert!(rows.iter().all(|row| {
        row.attempts.len() == 1 && row.attempts[0].outcome == AttemptOutcome::Delivered
    }));
    bench.stop().await;
}

#[tokio::test]
async fn a_damaged_event_is_left_out_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let bench = Bench::start(&path, |storage| {
        storage.owe_silently("lines", event(1), true);
        storage.owe_silently("lines", event(2), false);
        storage.owe_silently("lines", event(3), true);
    });
    bench.storage.until_all(is_settled).await;
    assert_eq!(ids(&path), [event(1).id.to_string(), event(3).id.to_string()]);
    let reasons: Vec<_> = bench.storage.rows().iter().map(Row::reason).collect();
    assert_eq!(reasons, [None, Some(DeadLetterReason::Corrupt), None]);
    bench.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_a_failed_attempt_that_is_due_again() {
    let bench = Bench::start(Path::new("/dev/full"), |storage| {
        storage.owe_silently("lines", event(1), true);
    });
    bench.storage.until_all(|row| !row.attempts.is_empty()).await;
    let row = bench.storage.rows().remove(0);
    assert_eq!(row.state, DeliveryState::Pending);
    let AttemptOutcome::Failed { kind, detail, .. } = &row.attempts[0].outcome else {
        panic!("a failure");
    };
    assert_eq!(kind, "io_error");
    assert!(detail.contains("No space left"), "{detail}");
    assert!(row.due_at > UnixMillis(row.attempts[0].at.0 + 9_000));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_is_tried_with_one_delivery_at_a_time() {
    const OWED: u8 = 200;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    std::fs::create_dir(&path).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(RuntimeClock::start());
    let bench = Bench::start_at(clock, &path, |storage| {
        for number in 0..OWED {
            storage.owe_silently("lines", event(number), true);
        }
    });
    // Passes at once, but for the writes: time is paused.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let attempts: usize = bench.storage.rows().iter().map(|row| row.attempts.len()).sum();
    // The first batch, and one each half minute.
    assert!((BATCH_MIN + 15..BATCH_MIN + 30).contains(&attempts), "{attempts}");
    std::fs::remove_dir(&path).unwrap();
    tokio::time::sleep(FAILED_PAUSE_MAX + Duration::from_secs(5)).await;
    let untried = bench.storage.rows().into_iter().filter(|row| row.attempts.is_empty()).count();
    assert_eq!(untried, 0, "all that waited comes at once");
    bench.stop().await;
}

#[tokio::test]
async fn a_refused_record_is_made_again_without_a_second_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let bench = Bench::start(&path, |storage| {
        storage.refuse_records.store(1, std::sync::atomic::Ordering::SeqCst);
        storage.owe_silently("lines", event(1), true);
    });
    bench.storage.until_all(is_settled).await;
    assert_eq!(ids(&path).len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn what_was_written_is_recorded_at_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let bench = Bench::start(&path, |storage| {
        for number in 0..10 {
            storage.owe_silently("lines", event(number), true);
        }
    });
    let storage = Arc::clone(&bench.storage);
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    bench.stop().await;
    let recorded = storage.rows().iter().filter(|row| is_settled(row)).count();
    assert_eq!((ids(&path).len(), recorded), (10, 10));
}

#[test]
fn a_batch_of_large_events_is_small() {
    for (limit, deliveries, bytes, expected) in [
        (16, 16, 16 * 400, 32),
        (1_024, 1_024, 1_024 * 400, 1_024),
        (1_024, 1_024, 1_024 << 20, BATCH_MIN),
        (1_024, 100, 100 * 40_000, 104),
        (64, 1, 0, 128),
    ] {
        assert_eq!(next_limit(limit, deliveries, bytes), expected, "{deliveries} {bytes}");
    }
}

proptest! {
    #[test]
    fn the_size_of_a_batch_keeps_its_bounds(
        limit in 0_usize..10_000,
        deliveries in 0_usize..10_000,
        bytes in any::<usize>(),
    ) {
        let next = next_limit(limit, deliveries, bytes);
        prop_assert!((BATCH_MIN..=BATCH_MAX).contains(&next));
        prop_assert!(next <= (limit * 2).max(BATCH_MIN));
    }
}
