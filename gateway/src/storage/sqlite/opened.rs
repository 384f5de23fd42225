//! The store as it is opened: the connections and threads that the writer works with.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::checkpointer::Checkpointer;
use super::failure::classify;
use super::identity::Identity;
use super::open::{self, OpenError};
use super::recover::{Next, recover};
use super::shared::Shared;
use super::syncer::Syncer;
use crate::storage::StorageError;

/// How long opening waits for another program to have read: longer than any look at the store takes
/// that is not left open.
const READER_WAIT: Duration = Duration::from_secs(5);

/// What the writer works with.
#[derive(Debug)]
pub(super) struct Opened {
    /// Ends before the connection of the writer does, which so leaves the files last.
    pub(super) checkpointer: Checkpointer,
    pub(super) syncer: Syncer,
    pub(super) connection: Connection,
    pub(super) next: Next,
    /// Pages in the log, told by SQLite after each commit.
    pub(super) log_pages: Arc<AtomicI32>,
    pub(super) identity: Identity,
    /// Closed after the connections.
    pub(super) _database: Arc<File>,
}

/// Opens the store, and makes memory as it was. Tried again where there was no room.
pub(super) type Opener = Box<dyn FnMut(&Arc<Shared>) -> Result<Opened, OpenError> + Send>;

pub(super) fn opener(path: &Path, cache_kib: u32) -> Opener {
    let path = path.to_owned();
    Box::new(move |shared| {
        let mut connection = open::writer(&path, cache_kib)?;
        let identity =
            Identity::of(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let log_pages = Arc::new(AtomicI32::new(0));
        let told = Arc::clone(&log_pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            told.store(pages, Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(hook)).map_err(open::unusable(&path))?;
        let next = recover(&mut connection, shared).map_err(open::unusable(&path))?;
        let copier = open::copier(&path)?;
        let database = Arc::new(open::file(&path)?);
        let checkpointer =
            Checkpointer::start(copier, Arc::clone(&database)).map_err(OpenError::Thread)?;
        let log = open::log(&path)?;
        settle(&connection, &log, &path)?;
        let syncer = Syncer::start(log, Arc::clone(shared)).map_err(OpenError::Thread)?;
        Ok(Opened {
            checkpointer,
            syncer,
            connection,
            next,
            log_pages,
            identity,
            _database: database,
        })
    })
}

/// Has on disk what is in the log: after a crash that may be in the memory of the system alone, and
/// after a failed sync behind frames that no longer are on disk. So the log begins anew, if there is
/// room for that. Whoever reads the store keeps it from that, and SQLite then says so without an error;
/// what would be written behind such frames would be lost with them.
fn settle(connection: &Connection, log: &File, path: &Path) -> Result<(), OpenError> {
    connection.busy_timeout(READER_WAIT).map_err(open::unusable(path))?;
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    match connection.query_row(sql, [], |row| row.get::<_, i64>(0)) {
        Ok(0) => Ok(()),
        Ok(_) => Err(OpenError::IsRead { path: path.to_owned() }),
        Err(error) if matches!(classify(&error), StorageError::Full) => {
            log.sync_data().map_err(|source| OpenError::File { path: path.to_owned(), source })
        }
        Err(error) => Err(open::unusable(path)(error)),
    }
}
