//! How a store comes up; on a disk so full that it cannot, the writer waits for room, so that the
//! rest of the gateway can say so.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::watch;

use super::ballast::Room;
use super::checkpointer::Checkpointer;
use super::failure::classify;
use super::identity::Identity;
use super::job_queue::JobReceiver;
use super::jobs::Job;
use super::open::{self, OpenError, unused_bytes};
use super::recover::recover;
use super::shared::Shared;
use super::syncer::Syncer;
use super::writer::{Next, Writer};
use crate::storage::StorageError;

/// How often opening is tried again on a full disk.
const OPEN_AGAIN_EVERY: Duration = Duration::from_secs(1);

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

/// The writer's thread, before it writes.
pub(super) struct Start {
    pub(super) shared: Arc<Shared>,
    pub(super) room: Room,
    /// Absent where there was no room yet.
    pub(super) opened: Option<Opened>,
    pub(super) opener: Opener,
    /// Says that the thread has ended.
    pub(super) ending: watch::Sender<bool>,
}

impl Start {
    /// Opens the store where there is room for it. Commits are taken where there is more.
    pub(super) fn new(
        shared: Arc<Shared>,
        room: Room,
        mut opener: Opener,
        ending: watch::Sender<bool>,
    ) -> Result<Self, OpenError> {
        if room.is_scarce() {
            room.release();
        }
        let opened = match opener(&shared) {
            Ok(opened) => Some(opened),
            Err(OpenError::NoRoom { .. }) => None,
            Err(error) => return Err(error),
        };
        let mut start = Self { shared, room, opened, opener, ending };
        if !start.has_room() {
            start.shared.full.store(true, Ordering::Release);
            tracing::warn!("The disk is full: requests are refused until there is room.");
        }
        Ok(start)
    }

    pub(super) const fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    fn has_room(&mut self) -> bool {
        match &self.opened {
            Some(opened) => self.room.restore(unused_bytes(&opened.connection)),
            None => false,
        }
    }

    /// Serves `jobs` until the end.
    pub(super) fn run(mut self, jobs: &JobReceiver) {
        let _ended = Ended { shared: Arc::clone(&self.shared), ending: self.ending.clone() };
        while self.opened.is_none() {
            if !refuse_for(OPEN_AGAIN_EVERY, jobs) || !self.open_again() {
                return;
            }
        }
        let Some(opened) = &self.opened else { return };
        match Writer::new(opened, Arc::clone(&self.shared), self.room) {
            Ok(writer) => writer.run(jobs),
            Err(error) => self.shared.fail(&error.to_string()),
        }
    }

    /// `false` where it failed for another reason than want of room.
    fn open_again(&mut self) -> bool {
        match (self.opener)(&self.shared) {
            Ok(opened) => self.opened = Some(opened),
            Err(OpenError::NoRoom { .. }) => return true,
            Err(error) => {
                self.shared.fail(&error.to_string());
                return false;
            }
        }
        tracing::info!("The store could be opened: deliveries go on.");
        if self.has_room() {
            self.shared.full.store(false, Ordering::Release);
        }
        self.shared.nudge();
        true
    }
}

/// Refuses what comes for that long; `false` at the end of all jobs.
fn refuse_for(time: Duration, jobs: &JobReceiver) -> bool {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        // Nobody need wait for the answer any more.
        match jobs.recv_timeout(left) {
            Ok(Job::Commit(_, reply, _)) => drop(reply.send(Err(StorageError::Full))),
            Ok(Job::Record(_, reply, _)) => drop(reply.send(Err(StorageError::Full))),
            Ok(Job::Task(task, _)) => task(Err(StorageError::Full)),
            Ok(Job::Lane(_, _, reply, _)) => drop(reply.send(Err(StorageError::Full))),
            // None was begun.
            Ok(Job::LaneEnds(..)) => {}
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Job::Close) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

/// Says that the writer has ended, in whatever way.
struct Ended {
    shared: Arc<Shared>,
    ending: watch::Sender<bool>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.fail("the writer panicked");
        }
        self.ending.send_replace(true);
    }
}
