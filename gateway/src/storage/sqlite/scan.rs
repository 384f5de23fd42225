//! Makes the filter of the table's keys beside the writer, on a thread of low priority: at the start,
//! and again once it has no more room. Nobody waits for it; until it is whole the table is asked.
//!
//! The next filter is begun before the scan is, and what is committed to the table from then on enters
//! it by itself: so the scan may miss what comes meanwhile. It reads in small steps, each a view of
//! its own, because the log cannot begin anew while a view is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, Result, params};

use super::failure::question;
use super::filter::KeyFilter;
use super::identity::Identity;
use super::open;
use super::shared::Shared;
use crate::storage::StorageError;

/// Keys read in one step: about a millisecond. Tests look at what happens between steps of few keys.
const KEYS_PER_STEP: i64 = if cfg!(test) { 16 } else { 4_096 };

/// Page cache of the connection: every page is read once.
const CACHE_KIB: u32 = 256;

/// Stretches of the table that are looked at to tell how many keys it holds, and keys of each: one
/// stretch may be emptier than others, because sweeps go through the table one after the other.
const STRETCHES: i64 = 16;
const KEYS_PER_STRETCH: i64 = 256;

/// How wide a stretch is: slots go up to 2^63.
const STRETCH: i64 = i64::MAX / STRETCHES + 1;

/// The thread that makes the next filter, where there is one.
#[derive(Debug, Default)]
pub(super) struct KeyScan {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

/// Opens the connection that is scanned.
type Opener = Box<dyn FnOnce() -> std::result::Result<Connection, StorageError> + Send>;

impl KeyScan {
    /// Begins a scan, where none is under way.
    pub(super) fn begin(&mut self, shared: &Arc<Shared>, open: Opener) {
        if self.is_under_way() {
            return;
        }
        self.join();
        let (shared, stop) = (Arc::clone(shared), Arc::clone(&self.stop));
        let making = move || {
            crate::priority::step_back();
            if let Err(error) = open().and_then(|connection| make(&connection, &shared, &stop)) {
                tell_failed(&error);
            }
        };
        match thread::Builder::new().name("storage-keys".to_owned()).spawn(making) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tell_failed(&error),
        }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Ends the scan that is under way, if any, and all that follow.
    pub(super) fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The thread that reads the table of keys panicked.");
        }
    }
}

impl Drop for KeyScan {
    fn drop(&mut self) {
        self.end();
    }
}

/// Harmless: the writer has it tried again when it moves keys.
fn tell_failed(error: &dyn std::error::Error) {
    tracing::warn!(%error, "No filter of known keys could be made: new ones are looked up as well.");
}

/// A connection that reads the very file that the writer writes: keys of another would be missing in
/// the filter.
pub(super) fn open_same(identity: &Identity) -> std::result::Result<Connection, StorageError> {
    let failed = |detail: String| StorageError::Failed { detail };
    let connection =
        open::reader(identity.path(), CACHE_KIB).map_err(|error| failed(error.to_string()))?;
    identity.lost().map_or(Ok(connection), |lost| Err(failed(lost)))
}

fn make(
    connection: &Connection,
    shared: &Shared,
    stop: &AtomicBool,
) -> std::result::Result<(), StorageError> {
    let count = about_how_many(connection).map_err(|error| question(&error))?;
    let next = Arc::new(KeyFilter::for_keys(count));
    shared.recent_mut().filters.begin(Arc::clone(&next));
    let scanned = scan(connection, shared, stop, &next);
    shared.recent_mut().filters.end(matches!(scanned, Ok(true)));
    scanned.map(drop).map_err(|error| question(&error))
}

/// About how many keys the table holds: hashes are spread evenly, so how close a few of them are to
/// each other tells.
fn about_how_many(connection: &Connection) -> Result<usize> {
    let mut stretch = connection.prepare(
        "SELECT count(*), max(slot) FROM \
         (SELECT slot FROM keys WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot LIMIT ?3)",
    )?;
    let mut all = 0_i128;
    for from in (0..STRETCHES).map(|n| n * STRETCH) {
        let to = from + (STRETCH - 1);
        let (count, last): (i64, Option<i64>) = stretch
            .query_row(params![from, to, KEYS_PER_STRETCH], |row| Ok((row.get(0)?, row.get(1)?)))?;
        all += match last {
            Some(last) if count == KEYS_PER_STRETCH => {
                i128::from(count) * i128::from(STRETCH) / i128::from((last - from).max(1))
            }
            // These are all that are in it.
            Some(_) | None => i128::from(count),
        };
    }
    Ok(usize::try_from(all).unwrap_or(usize::MAX))
}

/// Enters all keys of the table; `false` where it was told to stop before.
fn scan(
    connection: &Connection,
    shared: &Shared,
    stop: &AtomicBool,
    filter: &KeyFilter,
) -> Result<bool> {
    let mut step =
        connection.prepare("SELECT slot FROM keys WHERE slot > ?1 ORDER BY slot LIMIT ?2")?;
    let mut after = -1;
    while step_may_begin(shared, stop) {
        let slots = step.query_map([after, KEYS_PER_STEP], |row| row.get(0))?;
        let slots = slots.collect::<Result<Vec<i64>>>()?;
        slots.iter().for_each(|slot| filter.enter(*slot));
        match slots.last() {
            Some(last) => after = *last,
            None => return Ok(true),
        }
        thread::yield_now();
    }
    Ok(false)
}

#[cfg(not(test))]
fn step_may_begin(_: &Shared, stop: &AtomicBool) -> bool {
    !stop.load(Ordering::Relaxed)
}

/// Tests say how many steps there may be.
#[cfg(test)]
fn step_may_begin(shared: &Shared, stop: &AtomicBool) -> bool {
    let may = |steps: usize| steps.checked_sub(1);
    while !stop.load(Ordering::Relaxed) {
        if shared.scan_steps.fetch_update(Ordering::AcqRel, Ordering::Acquire, may).is_ok() {
            return true;
        }
        thread::park_timeout(std::time::Duration::from_millis(1));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE keys (slot INTEGER PRIMARY KEY)").unwrap();
        connection
    }

    /// Sets `count` keys, spread as hashes are, at or above `from`.
    fn fill(connection: &Connection, count: i64, from: i64) {
        let width = (i64::MAX - from) / count;
        let sql = format!(
            "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {count} - 1) \
             INSERT INTO keys SELECT {from} + n * {width} + abs(random()) % {width} FROM n"
        );
        connection.execute(&sql, []).unwrap();
    }

    #[test]
    fn a_few_stretches_of_the_table_tell_how_many_keys_it_holds() {
        let few = table();
        assert_eq!(about_how_many(&few).unwrap(), 0);
        fill(&few, 1_000, 0);
        assert_eq!(about_how_many(&few).unwrap(), 1_000, "few are counted");
        let many = table();
        fill(&many, 200_000, 0);
        let about = about_how_many(&many).unwrap();
        assert!((180_000..220_000).contains(&about), "{about}");
        // A sweep has deleted the first quarter but for a few.
        let swept = table();
        fill(&swept, 150_000, i64::MAX / 4);
        fill(&swept, 10, 0);
        let about = about_how_many(&swept).unwrap();
        assert!((135_000..165_000).contains(&about), "{about}");
        // No hashes at all, but all in one place: it is told some number.
        let strange = table();
        let rows = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 999) \
            INSERT INTO keys SELECT n FROM n";
        strange.execute(rows, []).unwrap();
        assert!(about_how_many(&strange).unwrap() >= 1_000);
    }
}
