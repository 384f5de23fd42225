//! Copies the log into the database beside the writer, so that no commit waits for it.
//!
//! SQLite syncs the database only with the copy that ends the log; it is synced here too, before, so
//! that little is left for that one. A copy reads what was committed and writes other pages than the writer does: SQLite lets both
//! go on at once. Only while nothing is written can the log be begun anew, so the last few pages
//! are the writer's own to copy, between two groups.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use super::failure::classify;
use crate::storage::StorageError;

/// How a copy stands.
#[derive(Debug, Default)]
pub(super) enum Copy {
    #[default]
    None,
    UnderWay,
    /// The first this many pages of the log are in the database.
    Done(i32),
    Failed(StorageError),
}

/// A thread that copies when it is asked to, one copy at a time.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wanted: Option<SyncSender<()>>,
    told: Arc<Told>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Told {
    copy: Mutex<Copy>,
    ended: Condvar,
}

impl Told {
    fn copy(&self) -> MutexGuard<'_, Copy> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Checkpointer {
    /// `connection`: a second one to the writer's database; `database`: that file by itself. It must
    /// be kept until the last connection has ended: closing any handle of a file gives up the locks
    /// that a process has on it (`fcntl(2)`), SQLite's among them.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread.
    pub(super) fn start(connection: Connection, database: Arc<File>) -> io::Result<Self> {
        let (wanted, asked) = sync_channel(1);
        let told = Arc::new(Told::default());
        let telling = Arc::clone(&told);
        let thread = thread::Builder::new()
            .name("storage-copier".to_owned())
            .spawn(move || copy_when_asked(&connection, &database, &asked, &telling))?;
        Ok(Self { wanted: Some(wanted), told, thread: Some(thread) })
    }

    /// Begins a copy, where none is under way.
    pub(super) fn begin(&self) {
        let mut copy = self.told.copy();
        if matches!(*copy, Copy::UnderWay) {
            return;
        }
        let sent = self.wanted.as_ref().map(|wanted| wanted.try_send(()));
        // Without its thread the writer copies by itself.
        *copy = match sent {
            Some(Ok(()) | Err(TrySendError::Full(()))) => Copy::UnderWay,
            Some(Err(TrySendError::Disconnected(()))) | None => Copy::Done(0),
        };
    }

    /// How the last copy stands; one that has ended is told once.
    pub(super) fn look(&self) -> Copy {
        let mut copy = self.told.copy();
        match *copy {
            Copy::UnderWay => Copy::UnderWay,
            Copy::None | Copy::Done(_) | Copy::Failed(_) => std::mem::take(&mut *copy),
        }
    }

    /// Waits until no copy is under way.
    pub(super) fn wait(&self) {
        let under_way = |copy: &mut Copy| matches!(copy, Copy::UnderWay);
        drop(self.told.ended.wait_while(self.told.copy(), under_way));
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The thread that copies the log panicked.");
        }
    }
}

fn copy_when_asked(connection: &Connection, database: &File, asked: &Receiver<()>, told: &Told) {
    // Ends the wait for a copy however this thread ends.
    let _end = End(told);
    while asked.recv().is_ok() {
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        let copied = connection.query_row(sql, [], |row| row.get::<_, i32>(2));
        let copied = copied.map_err(|error| classify(&error));
        let synced = copied.and_then(|pages| match database.sync_data() {
            Ok(()) => Ok(pages),
            Err(error) => {
                Err(StorageError::Fatal { detail: format!("could not sync the database: {error}") })
            }
        });
        *told.copy() = match synced {
            Ok(pages) => Copy::Done(pages),
            Err(error) => Copy::Failed(error),
        };
        told.ended.notify_all();
    }
}

struct End<'t>(&'t Told);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut copy = self.0.copy();
        if matches!(*copy, Copy::UnderWay) {
            *copy = Copy::Done(0);
        }
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn started(path: &Path) -> Checkpointer {
        let database = Arc::new(File::options().write(true).open(path).unwrap());
        Checkpointer::start(Connection::open(path).unwrap(), database).unwrap()
    }

    #[test]
    fn a_copy_that_has_ended_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let writer = Connection::open(&path).unwrap();
        let wal = "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE a (b);";
        writer.execute_batch(wal).unwrap();
        let checkpointer = started(&path);
        assert!(matches!(checkpointer.look(), Copy::None));
        checkpointer.wait();
        checkpointer.begin();
        checkpointer.begin();
        checkpointer.wait();
        let copy = checkpointer.look();
        assert!(matches!(copy, Copy::Done(pages) if pages > 0), "{copy:?}");
        assert!(matches!(checkpointer.look(), Copy::None));
    }

    #[test]
    fn a_copy_that_fails_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        std::fs::write(&path, "no database at all, but long enough to be looked at").unwrap();
        let checkpointer = started(&path);
        checkpointer.begin();
        checkpointer.wait();
        let copy = checkpointer.look();
        assert!(matches!(copy, Copy::Failed(StorageError::Fatal { .. })), "{copy:?}");
    }
}
