//! The log: copied beside the writer, begun anew, and never long.

use super::super::upkeep::LOG_BYTES;
use super::*;

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
