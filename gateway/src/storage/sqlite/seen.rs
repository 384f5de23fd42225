//! Whether a key is known, asked from inside an adapter call: memory, and one indexed read where that
//! cannot tell.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _};

use super::keys::Recall;
use super::open::OpenError;
use super::probe::KeyProbe;
use super::{SqliteStorage, failure, group, open};
use crate::model::UnixMillis;
use crate::storage::StorageError;

/// Page cache of each connection.
const CACHE_KIB: u32 = 512;

impl SqliteStorage {
    /// A connection for `seen`, opened at its first use.
    fn seen_reader(&self) -> Result<MutexGuard<'_, Option<Connection>>, StorageError> {
        let free = self.seen.iter().find_map(|reader| reader.try_lock().ok());
        let mut reader = match (free, self.seen.first()) {
            (Some(free), _) => free,
            (None, Some(first)) => first.lock().unwrap_or_else(PoisonError::into_inner),
            (None, None) => return Err(StorageError::Closed),
        };
        // Asked after the lock was taken: `join` empties it, and must not find it full again.
        if let Some(over) = self.shared.over() {
            return Err(over);
        }
        if reader.is_none() {
            let opened = open::reader(&self.path, CACHE_KIB);
            let failed = |error: OpenError| StorageError::Failed { detail: error.to_string() };
            *reader = Some(opened.map_err(failed)?);
        }
        Ok(reader)
    }

    pub(super) fn seen_now(&self, probe: &KeyProbe, now: UnixMillis) -> Result<bool, StorageError> {
        // Memory first: what leaves it is in the table before.
        let recalled = self.shared.recent().recall(probe, now);
        match recalled {
            Recall::Known(_) => return Ok(true),
            Recall::New => return Ok(false),
            Recall::AskTable => {}
        }
        self.shared.key_searches.fetch_add(1, Ordering::Relaxed);
        let reader = self.seen_reader()?;
        let Some(connection) = reader.as_ref() else { return Err(StorageError::Closed) };
        let find = || {
            let mut keys = connection.prepare_cached(
                "SELECT digest, arrived, until, request FROM keys WHERE slot BETWEEN ?1 AND ?1 + 3",
            )?;
            let mut known = keys.query_map([probe.slot], group::known_key)?;
            known
                .find_map(|key| match key {
                    Ok(key) => probe.matches(&key, now).then_some(Ok(())),
                    Err(error) => Some(Err(error)),
                })
                .transpose()
        };
        find()
            .optional()
            .map(|found| found.flatten().is_some())
            .map_err(|error| failure::question(&error))
    }
}
