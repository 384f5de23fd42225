//! Adapters' state in this engine: crashes, groups that fail, and rows that go.

use super::*;
use crate::model::{StateWrite, UnixMillis};
use crate::storage::conformance::state::{Reader, adapter, claim, put_key, range};
use crate::storage::state_laws;

/// A store that crashes whenever it is to be closed and opened again.
struct Crashing(Fixture);

impl Bench for Crashing {
    fn store(&self) -> &dyn Storage {
        self.0.sqlite()
    }

    fn clock(&self) -> &ManualClock {
        &self.0.clock
    }

    fn reopen(&mut self) {
        self.0.crash();
    }

    fn crash(&mut self) {
        self.0.crash();
    }
}

proptest! {
    #![proptest_config(Config { cases: 256, failure_persistence: None, ..Config::default() })]
    #[test]
    fn calls_on_state_come_to_what_some_order_would(ops in state_laws::ops()) {
        state_laws::agree(&mut Fixture::new(), &ops);
    }

    #[test]
    fn they_do_whenever_it_crashes(ops in state_laws::ops()) {
        state_laws::agree(&mut Crashing(Fixture::new()), &ops);
    }
}

/// Rows of the table, whether they have expired or not.
fn rows(bench: &Fixture) -> i64 {
    let count = |writer: &mut Writer<'_>| {
        let count = "SELECT count(*) FROM state";
        Ok(writer.connection.query_row(count, [], |row| row.get(0)).unwrap())
    };
    block_on(bench.sqlite().ask_writer(count)).unwrap()
}

fn shown(bench: &Fixture) -> Vec<String> {
    let mut reader = Reader::of(bench.store(), "vkyc", START);
    let found = reader.scan(range("", "z"), 999, false);
    found.iter().map(|entry| String::from_utf8_lossy(&entry.value).into_owned()).collect()
}

#[test]
fn a_member_that_cannot_be_stored_takes_its_changes_with_it_and_no_others() {
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    let first = commit(START);
    let mut bad = commit(START).changing([put_key("a", "bad"), put_key("b", "bad")]);
    bad.request.id = first.request.id;
    put(bench.store(), first);
    let store = bench.store();
    let new = |key: &str| {
        let mut reader = Reader::of(store, "vkyc", START);
        assert!(reader.get(key.as_bytes()).is_none());
        commit(START).having_read(reader.reads.clone()).changing([put_key(key, "good")])
    };
    let (before, after) = (new("a"), new("b"));
    let all = async { tokio::join!(store.commit(before), store.commit(bad), store.commit(after)) };
    let (before, bad, after) = block_on(all);
    let stored = Committed::Stored { events: 0 };
    assert_eq!((before.unwrap(), after.unwrap()), (stored.clone(), stored));
    assert!(matches!(bad, Err(StorageError::Failed { .. })), "{bad:?}");
    assert_eq!(shown(&bench), ["good", "good"]);
}

#[test]
fn versions_grow_from_start_to_start_whatever_was_deleted() {
    let mut bench = Fixture::new();
    let mut before = crate::model::StateVersion::default();
    for round in 0..6 {
        claim(bench.store(), "vkyc");
        put(bench.store(), commit(START).changing([put_key("a", "1")]));
        let version = Reader::of(bench.store(), "vkyc", START).get(b"a").unwrap().version;
        assert!(version > before, "round {round}");
        before = version;
        let gone = StateWrite { key: b"a".to_vec(), put: None };
        put(bench.store(), commit(START).changing([gone]));
        if round % 2 == 0 { bench.reopen() } else { bench.crash() }
    }
}

#[test]
fn expired_entries_go_in_steps_and_no_others() {
    const COUNT: usize = 2_500;
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    let expires = UnixMillis(START.0 + 1);
    for chunk in 0..5 {
        let entry = |n: usize| {
            let mut write = put_key(&format!("{chunk}/{n}"), "v");
            write.put.as_mut().unwrap().expires_at = Some(expires);
            write
        };
        put(bench.store(), commit(START).changing((0..COUNT / 5).map(entry)));
    }
    put(bench.store(), commit(START).changing([put_key("kept", "v")]));
    let sweep = || block_on(bench.store().sweep(Duration::from_secs(86_400))).unwrap();
    let hour = Duration::from_secs(3_600);
    bench.clock.advance(hour);
    sweep();
    assert_eq!(rows(&bench), COUNT as i64 + 1, "a call may be as old as that");
    bench.clock.advance(Duration::from_millis(2));
    sweep();
    assert_eq!(rows(&bench), 1);
}

#[test]
fn more_views_than_readers_wait_their_turn() {
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    put(bench.store(), commit(START).changing([put_key("a", "1")]));
    let store = bench.sqlite();
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut reader = Reader::of(store, "vkyc", START);
                    assert_eq!(reader.get(b"a").unwrap().value, b"1");
                }
            });
        }
    });
    let held = Reader::of(store, "vkyc", START);
    block_on(store.close());
    assert!(matches!(store.state(&adapter("vkyc"), 1), Err(StorageError::Closed)));
    drop(held);
}

#[test]
fn calls_that_follow_each_other_do_not_keep_the_log_from_being_reused() {
    const BODY_BYTES: usize = 60 << 10;
    const BODIES: usize = 2_600;
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    put(bench.store(), commit(START).changing([put_key("a", "1")]));
    let (store, over) = (bench.sqlite(), std::sync::atomic::AtomicBool::new(false));
    let log = open::beside(&bench.path(), "-wal");
    let longest = thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut reader = Reader::of(store, "vkyc", START);
                    for key in [b"a", b"b", b"c", b"a"] {
                        reader.get(key);
                    }
                }
            });
        }
        let body = "x".repeat(BODY_BYTES);
        let mut longest = 0;
        for n in 0..BODIES {
            put(store, commit(START).body(&format!("{n}{body}")));
            longest = longest.max(fs::metadata(&log).unwrap().len());
        }
        over.store(true, Ordering::Relaxed);
        longest
    });
    let written = BODIES * BODY_BYTES;
    assert!(longest < 64 << 20, "{longest} bytes of log, of {written} written");
}

#[test]
fn who_is_next_in_a_lane_does_not_wait_for_the_disk() {
    let bench = Fixture::new();
    claim(bench.store(), "vkyc");
    let store = bench.sqlite();
    // A sync that does not end.
    let ticket = store.shared.syncs.begin(0, 0);
    let within = |millis| Duration::from_millis(millis);
    let (waited, all) = block_on(async {
        let mut alone = store.commit(commit(START).of_adapter("other"));
        let waited = tokio::time::timeout(within(50), &mut alone).await.is_err();
        let all = async {
            for value in ["1", "2", "3"] {
                let lane = store.lane(&adapter("vkyc")).await?;
                let change = commit(START).changing([put_key("a", value)]);
                store.commit(Commit { lane: Some(lane.id()), ..change }).await?;
            }
            alone.await
        };
        (waited, tokio::time::timeout(within(20_000), all).await)
    });
    store.shared.syncs.end(&ticket);
    assert!(waited, "without a lane it follows the sync");
    assert_eq!(all.expect("in time").unwrap(), Committed::Stored { events: 0 });
    assert_eq!(shown(&bench), ["3"]);
}
