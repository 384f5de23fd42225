//! The log: copied beside the writer, begun anew, and never long.

use std::os::unix::fs::{MetadataExt as _, symlink};

use super::super::log_bounds::LOG_BYTES;
use super::*;
use crate::model::RouteSwitch;

/// Bytes of one commit. Several make a copy due, and hundreds fill the log many times over.
const COMMIT_BYTES: usize = 256 * 1024;

#[test]
fn the_log_stays_within_its_bound_while_commits_go_on_and_nothing_of_it_is_lost() {
    let mut bench = Fixture::new();
    let log = bench.folder.path().join("sluice.db-wal");
    let commits = 4 * usize::try_from(LOG_BYTES).unwrap() / COMMIT_BYTES;
    let (mut ids, mut longest) = (Vec::new(), 0);
    for n in 0..commits {
        let mut new = commit(UnixMillis(START.0 + n as u64)).event(None, &["a"]);
        new.events[0].event.data = format!("\"{}\"", "x".repeat(COMMIT_BYTES));
        ids.push(new.request.id);
        put(bench.store(), new);
        longest = longest.max(fs::metadata(&log).unwrap().len());
    }
    // A frame is a page and 24 bytes; the commit that reaches the bound still goes in whole.
    let bound = LOG_BYTES + LOG_BYTES / 128 + 2 * COMMIT_BYTES as u64;
    assert!(longest <= bound, "{longest} bytes of log, {bound} expected at most");
    bench.crash();
    for id in ids {
        let stored = block_on(bench.store().request(id)).unwrap().unwrap();
        assert!(stored.intact && stored.events.iter().all(|event| event.intact), "{id}");
    }
}

#[test]
fn what_a_crash_left_in_the_log_is_in_the_database_before_anything_else_is_done() {
    let mut bench = Fixture::new();
    put(bench.store(), commit(START).event(None, &["a"]));
    let log =
        |bench: &Fixture| fs::metadata(bench.folder.path().join("sluice.db-wal")).unwrap().len();
    assert!(log(&bench) > 0);
    bench.crash();
    assert_eq!(log(&bench), 0);
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
}

/// What a failed sync has left in the log may be missing on the disk: nothing goes behind it.
#[test]
fn a_store_whose_log_another_program_reads_is_not_opened_until_it_has_ended() {
    let mut bench = Fixture::new();
    let new = commit(START).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    bench.kill();
    let reader = Connection::open(bench.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM requests").unwrap();
    let log = bench.folder.path().join("sluice.db-wal");
    let error = bench.open().unwrap_err().to_string();
    assert!(error.contains("another program reads"), "{error}");
    let bytes = || fs::metadata(&log).unwrap().len();
    let before = bytes();
    thread::scope(|scope| {
        let opening = scope.spawn(|| bench.open());
        eventually("what a start notes is in the log", || bytes() > before);
        assert!(!opening.is_finished(), "it waits for a while");
        drop(reader);
        let store = opening.join().unwrap().unwrap();
        assert_eq!(bytes(), 0);
        assert!(block_on(store.request(id)).unwrap().is_some());
        block_on(store.close());
    });
}

#[test]
fn the_log_that_is_synced_is_the_one_that_is_written_whatever_leads_to_the_store() {
    let mut bench = Fixture::new();
    bench.close();
    let (real, link) = (bench.folder.path().join("real"), bench.folder.path().join("linked.db"));
    fs::create_dir(&real).unwrap();
    fs::rename(bench.path(), real.join("other.db")).unwrap();
    symlink(real.join("other.db"), &link).unwrap();
    // What was left beside the link when the store lay there.
    fs::write(bench.folder.path().join("linked.db-wal"), "").unwrap();
    let store = SqliteStorage::open(&link, bench.options.clone()).unwrap();
    block_on(store.commit(commit(START).event(None, &["a"]))).unwrap();
    let synced = |writer: &mut Writer<'_>| Ok(writer.syncer.log().metadata().unwrap().ino());
    let synced = block_on(store.ask_writer(synced)).unwrap();
    assert_eq!(synced, fs::metadata(real.join("other.db-wal")).unwrap().ino());
    block_on(store.close());
}

/// Whether an operator's switch is told to be set while a sync of what came before it is under way,
/// which then fails or not.
fn switch_behind_a_sync(fails: bool) -> Result<(), StorageError> {
    let bench = Fixture::new();
    let store = Arc::clone(bench.store.as_ref().unwrap());
    let ticket = store.shared.syncs.begin(0, 0);
    thread::scope(|scope| {
        let setting = scope.spawn(|| {
            let switch = RouteSwitch { paused: true, since: START };
            block_on(store.set_route_switch(RouteName::new("vkyc").unwrap(), Some(switch)))
        });
        let bound = bench.options.queue_bound;
        eventually("the job of the switch", || store.places.available_permits() < bound);
        if fails {
            store.shared.fail("a broken disk");
        }
        store.shared.syncs.end(&ticket);
        setting.join().unwrap()
    })
}

#[test]
fn nothing_is_told_to_be_stored_behind_a_sync_that_failed() {
    switch_behind_a_sync(false).unwrap();
    let told = switch_behind_a_sync(true);
    assert!(matches!(told, Err(StorageError::Fatal { .. })), "{told:?}");
}
