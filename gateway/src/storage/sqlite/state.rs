//! Adapters' state: what a call reads of it, and what a commit checks and changes.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::columns::{sql, unsql};
use super::namespaces::Namespace;
use super::open::{self, OpenError};
use super::shared::Shared;
use super::state_change::{PreparedRange, PreparedState};
use super::writer::Writer;
use super::{SqliteStorage, failure};
use crate::faults::CrashPoint;
use crate::model::{
    AdapterName, Scanned, StateEntry, StateRange, StateVersion, UnixMillis, is_live,
};
use crate::storage::{Claiming, StateScan, StateView, StorageError};

/// Connections for views. A call holds one while it runs, so this is more than there are calls at
/// once on any machine that this is for; further ones wait their turn.
const READERS_MAX: usize = 16;

/// Page cache of each: what calls read lies near each other and is read again.
const CACHE_KIB: u32 = 2_048;

/// Entries of one scan. Who wants more scans on.
const ENTRIES_PER_SCAN: usize = 512;

/// Keys and values of one scan, in bytes, beyond which no further entry is read.
const BYTES_PER_SCAN: usize = 256 << 10;

/// Expired entries that one scan steps over.
const EXPIRED_PER_SCAN: usize = 2_048;

/// In the order of keys.
const FORWARDS: &str = "SELECT key, value, expires_at, version FROM state \
    WHERE namespace = ?1 AND key >= ?2 AND key < ?3 ORDER BY key";
const BACKWARDS: &str = "SELECT key, value, expires_at, version FROM state \
    WHERE namespace = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC";

/// Connections that views take and give back.
#[derive(Debug, Default)]
pub(super) struct StateReaders {
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Connection>,
    /// How many are open, idle ones included.
    open: usize,
}

impl StateReaders {
    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, opened where none is idle. Who holds one needs no other, so waiting ends.
    fn take(&self, storage: &SqliteStorage) -> std::result::Result<Connection, StorageError> {
        let mut pool = self.pool();
        loop {
            if let Some(over) = storage.shared.over() {
                return Err(over);
            }
            if let Some(idle) = pool.idle.pop() {
                return Ok(idle);
            }
            if pool.open < READERS_MAX {
                break;
            }
            pool = self.returned.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        let failed = |error: OpenError| StorageError::Failed { detail: error.to_string() };
        let opened = open::reader(&storage.path, CACHE_KIB).map_err(failed)?;
        pool.open += 1;
        Ok(opened)
    }

    /// Takes a connection back; absent where it is not fit to be used again.
    fn give_back(&self, connection: Option<Connection>, shared: &Shared) {
        let mut pool = self.pool();
        match connection.filter(|_| shared.over().is_none()) {
            Some(connection) => pool.idle.push(connection),
            None => pool.open -= 1,
        }
        drop(pool);
        self.returned.notify_one();
    }

    /// Closes what is idle; the others are closed when they come back.
    pub(super) fn close(&self) {
        let mut pool = self.pool();
        pool.open -= pool.idle.len();
        pool.idle.clear();
        drop(pool);
        self.returned.notify_all();
    }
}

/// One read transaction.
#[derive(Debug)]
struct View {
    /// Taken out when it is given back.
    connection: Option<Connection>,
    namespace: i64,
    readers: Arc<StateReaders>,
    shared: Arc<Shared>,
}

impl SqliteStorage {
    /// Opens a view. Its snapshot is that of its first read.
    pub(super) fn view(
        &self,
        adapter: &AdapterName,
        version: u32,
    ) -> std::result::Result<Box<dyn StateView>, StorageError> {
        let namespace = self.shared.namespace(adapter, version)?;
        let connection = self.state.take(self)?;
        let began = connection.prepare_cached("BEGIN").and_then(|mut begin| begin.execute([]));
        let view = View {
            connection: Some(connection),
            namespace,
            readers: Arc::clone(&self.state),
            shared: Arc::clone(&self.shared),
        };
        began.map_err(|error| failure::question(&error))?;
        Ok(Box::new(view))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let connection = self.connection.take();
        // A connection that cannot end its transaction would keep the log from being reused.
        let ended = connection.filter(|connection| {
            connection.prepare_cached("COMMIT").and_then(|mut end| end.execute([])).is_ok()
        });
        self.readers.give_back(ended, &self.shared);
    }
}

impl StateView for View {
    fn scan(&self, scan: &StateScan<'_>) -> std::result::Result<Scanned, StorageError> {
        let Some(connection) = &self.connection else { return Err(StorageError::Closed) };
        read(connection, self.namespace, scan).map_err(|error| failure::question(&error))
    }
}

pub(super) fn read(
    connection: &Connection,
    namespace: i64,
    scan: &StateScan<'_>,
) -> Result<Scanned> {
    let StateScan { range, limit, reverse, now } = *scan;
    let limit = limit.min(ENTRIES_PER_SCAN);
    if range.is_empty() || limit == 0 {
        return Ok(Scanned { entries: Vec::new(), looked_at: range.clone() });
    }
    let mut statement = connection.prepare_cached(if reverse { BACKWARDS } else { FORWARDS })?;
    let mut rows = statement.query(params![namespace, range.start, range.end])?;
    let (mut entries, mut bytes, mut expired) = (Vec::new(), 0, 0);
    while let Some(row) = rows.next()? {
        let expires_at = row.get::<_, Option<i64>>(2)?.map(|at| UnixMillis(unsql(at)));
        let key = row.get_ref(0)?.as_blob()?;
        if !is_live(expires_at, now) {
            expired += 1;
            if expired >= EXPIRED_PER_SCAN {
                return Ok(Scanned { looked_at: up_to(range, key, reverse), entries });
            }
            continue;
        }
        let entry = StateEntry {
            key: key.to_vec(),
            value: row.get(1)?,
            expires_at,
            version: StateVersion(row.get(3)?),
        };
        bytes += entry.bytes();
        entries.push(entry);
        if entries.len() >= limit || bytes >= BYTES_PER_SCAN {
            let full = entries.len();
            return Ok(Scanned::cut(range.clone(), entries, full, reverse));
        }
    }
    Ok(Scanned { entries, looked_at: range.clone() })
}

/// The part of the range up to this key in the order of the scan, with it.
fn up_to(range: &StateRange, key: &[u8], reverse: bool) -> StateRange {
    let mut range = range.clone();
    if reverse {
        range.start = key.to_vec();
    } else {
        range.end = crate::model::next_key(key);
    }
    range
}

impl Writer<'_> {
    /// Whether all that a call of `now` read is still so, in the open transaction.
    ///
    /// Versions alone decide. A version is handed out once and grows, so an entry in a range that has
    /// one of those that were read was there when it was read: what is there now, if it has these
    /// versions and no others, is a part of what was, and if it is as many, it is all of it.
    pub(super) fn state_holds(
        &mut self,
        adapter: &AdapterName,
        state: &PreparedState,
        now: UnixMillis,
    ) -> Result<bool> {
        let namespace = self.namespace(adapter, state)?;
        for PreparedRange { range, versions } in &state.reads {
            let mut expected = versions.iter();
            let mut rows =
                self.sql.check_state.query(params![namespace, range.start, range.end])?;
            while let Some(row) = rows.next()? {
                let expires_at = row.get::<_, Option<i64>>(1)?.map(|at| UnixMillis(unsql(at)));
                if !is_live(expires_at, now) {
                    continue;
                }
                if expected.next() != Some(&StateVersion(row.get(0)?)) {
                    return Ok(false);
                }
            }
            if expected.next().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asked again here: a reload may have claimed it for another version in between.
    fn namespace(&self, adapter: &AdapterName, state: &PreparedState) -> Result<i64> {
        self.shared
            .namespace(adapter, state.version)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }

    /// Writes a call's changes into the open transaction.
    pub(super) fn change_state(
        &mut self,
        adapter: &AdapterName,
        state: &PreparedState,
    ) -> Result<()> {
        if state.writes.is_empty() {
            return Ok(());
        }
        let namespace = self.namespace(adapter, state)?;
        let version = self.next.change;
        self.next.change += 1;
        for write in &state.writes {
            match &write.put {
                Some(put) => {
                    let expires_at = put.expires_at.map(|at| sql(at.0));
                    let row = params![namespace, write.key, put.value, expires_at, version];
                    self.sql.put_state.execute(row)?;
                }
                None => {
                    self.sql.delete_state.execute(params![namespace, write.key])?;
                }
            }
            CrashPoint::InState.reached();
        }
        Ok(())
    }

    /// Makes the namespaces of these adapters, or says whose they are.
    pub(super) fn claim(
        &mut self,
        claims: &[(AdapterName, u32)],
        claiming: Claiming,
    ) -> std::result::Result<Vec<(AdapterName, u32)>, StorageError> {
        let (held, granted) = self.transaction(|writer| {
            let mut held = Vec::new();
            for (adapter, version) in claims {
                let stored = writer.kept_version(adapter)?;
                held.extend(stored.filter(|s| s != version).map(|s| (adapter.clone(), s)));
            }
            let mut granted = Vec::new();
            if held.is_empty() && claiming == Claiming::Grant {
                for (adapter, version) in claims {
                    granted.push((adapter, *version, writer.grant(adapter, *version)?));
                }
            }
            Ok((held, granted))
        })?;
        for (adapter, version, id) in granted {
            self.shared.know_namespace(adapter, Namespace { id, claimed: Some(version) });
        }
        Ok(held)
    }

    /// The version of a namespace that has entries: what is empty can be read by any.
    fn kept_version(&self, adapter: &AdapterName) -> Result<Option<u32>> {
        let mut kept = self.connection.prepare_cached(
            "SELECT state_version FROM namespaces WHERE adapter = ?1 \
             AND EXISTS (SELECT 1 FROM state WHERE namespace = namespaces.id)",
        )?;
        kept.query_row([adapter.as_str()], |row| row.get(0)).optional()
    }

    fn grant(&self, adapter: &AdapterName, version: u32) -> Result<i64> {
        let mut grant = self.connection.prepare_cached(
            "INSERT INTO namespaces (adapter, state_version) VALUES (?1, ?2) \
             ON CONFLICT (adapter) DO UPDATE SET state_version = excluded.state_version \
             RETURNING id",
        )?;
        grant.query_row(params![adapter.as_str(), version], |row| row.get(0))
    }

    /// Removes some entries that were absent to every call before `cutoff`. Returns how many.
    pub(super) fn delete_expired(&self, cutoff: UnixMillis, max: usize) -> Result<usize> {
        let mut delete = self.connection.prepare_cached(
            "DELETE FROM state WHERE (namespace, key) IN (SELECT namespace, key FROM state \
             WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        )?;
        delete.execute(params![sql(cutoff.0), sql(max as u64)])
    }
}
