//! What this engine promises beyond the suite of all engines.

mod backup;
mod clocks;
mod filter;
mod limits;
mod log;
mod operate;
mod retention;
mod room;
mod rot;
mod state;
mod sweeping;
mod upgrade;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::Config;
use rusqlite::OptionalExtension as _;

use super::*;
use crate::model::{Clock, DeliveryState, LeasedDelivery, ManualClock, RequestId, RouteName};
use crate::storage::Storage;
use crate::storage::conformance::{
    Bench, LEASE, START, attempt, block_on, commit, destination, key, lease, put, record, retire,
    suite,
};
use crate::storage::laws;

struct Fixture {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    options: SqliteOptions,
    store: Option<Arc<SqliteStorage>>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SqliteOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let mut options = SqliteOptions {
            ballast_bytes: 0,
            even_clock: Arc::clone(&shared),
            ..SqliteOptions::new(shared)
        };
        change(&mut options);
        let mut fixture = Self { folder, clock, options, store: None };
        fixture.reopen();
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sluice.db")
    }

    fn sqlite(&self) -> &SqliteStorage {
        self.store.as_ref().unwrap()
    }

    fn open(&self) -> Result<Arc<SqliteStorage>, OpenError> {
        SqliteStorage::open(&self.path(), self.options.clone())
    }

    fn close(&mut self) {
        if let Some(store) = self.store.take() {
            block_on(store.close());
        }
    }

    /// Has what a `kill -9` at this moment would leave behind, closed.
    fn kill(&mut self) {
        let image = tempfile::tempdir().unwrap();
        for name in ["sluice.db", "sluice.db-wal"] {
            fs::copy(self.folder.path().join(name), image.path().join(name)).unwrap();
        }
        self.close();
        self.folder = image;
    }

    /// Runs `sql` on the closed file, as bit rot or a hand would.
    fn tamper(&mut self, sql: &str) -> usize {
        self.close();
        let connection = Connection::open(self.path()).unwrap();
        let changed = connection.execute(sql, []).unwrap();
        drop(connection);
        self.reopen();
        changed
    }

    /// Has the writer run `sql` on its own connection.
    fn on_writer(&self, sql: &'static str) {
        let run = move |writer: &mut Writer<'_>| {
            writer.connection.query_row(sql, [], |_| Ok(())).optional().unwrap();
            Ok(())
        };
        block_on(self.sqlite().ask_writer(run)).unwrap();
    }
}

impl Bench for Fixture {
    fn store(&self) -> &dyn Storage {
        self.sqlite()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn reopen(&mut self) {
        self.close();
        self.store = Some(self.open().unwrap());
    }

    fn crash(&mut self) {
        self.kill();
        self.reopen();
    }
}

#[test]
fn sqlite_keeps_every_rule_of_storage() {
    suite(Fixture::new);
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]
    #[test]
    fn sqlite_agrees_with_the_model(ops in laws::ops()) {
        laws::agree(&mut Fixture::new(), &ops);
    }
}

/// Waits until `condition` holds; a condition that never does fails the test.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_crash_loses_nothing_that_was_committed() {
    let mut bench = Fixture::new();
    let new = || commit(START).event(Some(key("k", 600)), &["a"]);
    put(bench.store(), new());
    for _ in 0..3 {
        put(bench.store(), commit(START).event(None, &["a"]));
    }
    let mut leased = lease(bench.store(), "a", 3);
    record(bench.store(), vec![attempt(&leased.remove(2), "a", START)]);
    let retry = attempt(&leased.remove(1), "a", START).failed(Some(LEASE));
    record(bench.store(), vec![retry]);
    bench.crash();
    assert!(matches!(put(bench.store(), new()), Committed::Duplicate { .. }), "keys are known");
    assert_eq!(lease(bench.store(), "a", 9).len(), 2, "the leased one and the untouched one");
    bench.clock.advance(LEASE);
    let again = lease(bench.store(), "a", 9);
    assert!(again.iter().any(|leased| leased.attempts_before == 1), "the retry");
    bench.crash();
    assert_eq!(block_on(bench.store().health()).unwrap().pending_deliveries, 3);
}

#[test]
fn keys_are_found_before_while_and_after_they_are_moved() {
    let mut bench = Fixture::new();
    let new = |n: usize| commit(START).event(Some(key(&n.to_string(), 600)), &[]);
    for n in 0..100 {
        put(bench.store(), new(n));
    }
    let move_all = |writer: &mut Writer<'_>| {
        while writer.move_keys_before(i64::MAX, 1_024)? {}
        Ok(())
    };
    let is_known =
        |bench: &Fixture, n| matches!(put(bench.store(), new(n)), Committed::Duplicate { .. });
    assert!((0..100).all(|n| is_known(&bench, n)));
    block_on(bench.sqlite().ask_writer(move_all)).unwrap();
    assert_eq!(bench.sqlite().shared.recent().active_len(), 0);
    assert!((0..100).all(|n| is_known(&bench, n)), "all are in the table");
    for n in 100..200 {
        put(bench.store(), new(n));
    }
    bench.crash();
    assert!((0..200).all(|n| is_known(&bench, n)), "half in the table, half recovered");
    assert!(!is_known(&bench, 200));
}

#[test]
fn what_memory_does_not_hold_is_read_from_the_table_in_order() {
    // More than the queue holds, in more than one load, with retries between.
    const BATCHES: usize = 30;
    const BATCH: usize = 300;
    let bench = Fixture::new();
    let mut wanted = Vec::new();
    for _ in 0..BATCHES {
        let mut batch = commit(START);
        for _ in 0..BATCH {
            batch = batch.event(None, &["a"]);
        }
        wanted.extend(batch.events.iter().map(|new| new.event.id));
        put(bench.store(), batch);
        bench.clock.advance(Duration::from_millis(1));
    }
    let mut found: Vec<_> = Vec::new();
    loop {
        let leased = lease(bench.store(), "a", 700);
        if leased.is_empty() {
            break;
        }
        assert!(leased.iter().all(|leased| leased.intact));
        found.extend(leased.iter().map(|leased| leased.event.id));
        let done = leased.iter().map(|leased| attempt(leased, "a", START)).collect();
        assert_eq!(record(bench.store(), done), leased.len());
    }
    assert_eq!(found.len(), BATCHES * BATCH);
    assert!(found == wanted, "oldest first, each once");
    assert_eq!(block_on(bench.store().health()).unwrap().pending_deliveries, 0);
}

#[test]
fn a_changed_event_is_never_leased_as_intact() {
    let mut bench = Fixture::new();
    let ids: Vec<RequestId> = (0..3)
        .map(|_| {
            let new = commit(START).event(None, &["a"]);
            let id = new.request.id;
            put(bench.store(), new);
            id
        })
        .collect();
    let flipped = "UPDATE events SET data = replace(data, '1.10', '9.10') WHERE seq = 1";
    assert_eq!(bench.tamper(flipped), 1);
    assert_eq!(bench.tamper("UPDATE events SET event = '{' || event WHERE seq = 2"), 1);
    let leased = lease(bench.store(), "a", 9);
    let intact: Vec<_> = leased.iter().map(|leased| leased.intact).collect();
    assert_eq!(intact, [false, true], "the second cannot even be read: it is never sent");
    eventually("the unreadable one is a dead letter", || {
        block_on(bench.store().health()).unwrap().dead_letters == 1
    });
    let stored =
        |id: RequestId| block_on(bench.store().request(id)).unwrap().unwrap().events.remove(0);
    assert!(!stored(ids[0]).intact && !stored(ids[1]).intact && stored(ids[2]).intact);
    assert_eq!(stored(ids[1]).deliveries[0].reason.as_deref(), Some("corrupt"));
}

#[test]
fn a_changed_body_is_shown_as_such() {
    let mut bench = Fixture::new();
    let new = commit(START);
    let id = new.request.id;
    put(bench.store(), new);
    assert!(block_on(bench.store().request(id)).unwrap().unwrap().intact);
    assert_eq!(bench.tamper("UPDATE requests SET body = x'00'"), 1);
    assert!(!block_on(bench.store().request(id)).unwrap().unwrap().intact);
}

#[test]
fn a_commit_that_cannot_be_stored_harms_no_other() {
    let bench = Fixture::new();
    let good = || commit(START).event(Some(key("k", 60)), &["a"]);
    let first = commit(START);
    let mut second = commit(START).event(Some(key("other", 60)), &["a"]);
    second.request.id = first.request.id;
    put(bench.store(), first);
    let store = bench.store();
    let all = async {
        tokio::join!(store.commit(commit(START)), store.commit(second), store.commit(good()))
    };
    let (before, bad, after) = block_on(all);
    assert_eq!(before.unwrap(), Committed::Stored { events: 0 });
    assert!(matches!(bad, Err(StorageError::Failed { .. })), "{bad:?}");
    assert_eq!(after.unwrap(), Committed::Stored { events: 1 });
    assert_eq!(lease(store, "a", 9).len(), 1, "nothing of the bad one");
    let other = commit(START).event(Some(key("other", 60)), &[]);
    assert_eq!(put(store, other), Committed::Stored { events: 1 });
}

#[test]
fn an_error_at_commit_is_fatal_and_says_so() {
    let bench = Fixture::new();
    put(bench.store(), commit(START).event(None, &["a"]));
    bench.on_writer("PRAGMA query_only = 1");
    let fatal =
        |error: StorageError| assert!(matches!(error, StorageError::Fatal { .. }), "{error}");
    fatal(block_on(bench.store().commit(commit(START))).unwrap_err());
    assert!(block_on(bench.store().failed()).contains("readonly"));
    bench.on_writer_refused();
    fatal(block_on(bench.store().commit(commit(START))).unwrap_err());
    fatal(block_on(bench.store().lease(&destination("a"), 1, LEASE)).unwrap_err());
    assert!(block_on(bench.store().health()).unwrap().refusing.is_some());
}

impl Fixture {
    fn on_writer_refused(&self) {
        let asked = block_on(self.sqlite().ask_writer(|_| Ok(())));
        assert!(matches!(asked, Err(StorageError::Fatal { .. })), "{asked:?}");
    }
}

#[test]
fn a_dropped_future_does_not_take_its_commit_back() {
    let bench = Fixture::new();
    let new = commit(START);
    let id = new.request.id;
    block_on(async {
        tokio::select! {
            biased;
            _ = bench.store().commit(new) => panic!("answered before it was waited for"),
            () = std::future::ready(()) => {}
        }
    });
    put(bench.store(), commit(START));
    assert!(block_on(bench.store().request(id)).unwrap().is_some());
}

#[test]
fn a_second_gateway_on_one_file_is_refused() {
    let mut bench = Fixture::new();
    let error = bench.open().unwrap_err().to_string();
    assert!(error.starts_with("another gateway (process "), "{error}");
    put(bench.store(), commit(START));
    bench.close();
    assert!(bench.open().is_ok());
}

#[test]
fn a_file_of_a_newer_gateway_or_another_program_is_left_alone() {
    let mut bench = Fixture::new();
    bench.close();
    let connection = Connection::open(bench.path()).unwrap();
    connection.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(connection);
    let error = bench.open().unwrap_err().to_string();
    assert!(error.contains("newer gateway (schema 999"), "{error}");

    fs::remove_file(bench.path()).unwrap();
    let connection = Connection::open(bench.path()).unwrap();
    connection.execute_batch("CREATE TABLE precious (x)").unwrap();
    drop(connection);
    let before = fs::read(bench.path()).unwrap();
    assert!(matches!(bench.open(), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(bench.path()).unwrap(), before);
}

#[test]
fn the_settings_hold_on_the_writers_connection() {
    let bench = Fixture::new();
    let settings = |writer: &mut Writer<'_>| {
        let one = |name: &str| -> String {
            let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
            writer.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        Ok(["journal_mode", "synchronous", "foreign_keys"].map(one))
    };
    let found = block_on(bench.sqlite().ask_writer(settings)).unwrap();
    assert_eq!(found, ["wal", "1", "1"]);
    assert!(rusqlite::version_number() >= 3_051_003);
}

#[test]
fn a_delivered_state_is_never_left_again() {
    let mut bench = Fixture::new();
    let new = commit(START).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    let leased = lease(bench.store(), "a", 9).remove(0);
    record(bench.store(), vec![attempt(&leased, "a", START)]);
    bench.crash();
    assert!(lease(bench.store(), "a", 9).is_empty());
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    assert_eq!(found.events[0].deliveries[0].state, DeliveryState::Delivered);
}
