//! The one thread that writes.
//!
//! It takes whatever has queued up and writes it as one transaction, which [`super::syncer`] syncs
//! and answers: under load a commit costs its share of a sync, and without load it waits for nobody.
//! What is not a commit or a record (sweeping, retiring, closing) runs between groups, in steps of a
//! few milliseconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Instant;

use rusqlite::{Connection, params};

use super::ballast::Room;
use super::checkpointer::Checkpointer;
use super::columns::sql;
use super::columns::{DESTINATION, ROUTE};
use super::failure::classify;
use super::fresh::Fresh;
use super::identity::Identity;
use super::keys::KeyMove;
use super::log_bounds::LogBounds;
use super::namespaces::Imports;
use super::open::page_bytes;
use super::opened::Opened;
use super::recover::Next;
use super::scan::KeyScan;
use super::shared::Shared;
use super::statements::Statements;
use super::syncer::Syncer;
use super::times::Moment;
use super::{job_queue, jobs, lanes};
use crate::model::UnixMillis;
use crate::storage::StorageError;

/// Runs between groups, and answers through what it captured; given the error instead where there
/// is no writer yet.
pub(super) type Task = Box<dyn FnOnce(Result<&mut Writer<'_>, StorageError>) + Send>;

pub(super) type Job = jobs::Job<Task>;
pub(super) type JobSender = job_queue::JobSender<Task>;
pub(super) type JobReceiver = job_queue::JobReceiver<Task>;
pub(super) type Lanes = lanes::Lanes<Task>;

/// Keys moved in one transaction when nobody waits any more.
const MOVE_AT_THE_END: usize = 1_024;

/// The writer's own state; what others may see is in [`Shared`].
pub(super) struct Writer<'c> {
    pub(super) connection: &'c Connection,
    pub(super) sql: Statements<'c>,
    pub(super) shared: Arc<Shared>,
    pub(super) room: Room,
    pub(super) next: Next,
    pub(super) fresh: Fresh,
    pub(super) key_move: KeyMove,
    /// Quarantined requests; while there are none, nothing looks for them.
    pub(super) quarantined: i64,
    /// When the present group began, and what the queue had room for.
    pub(super) group_at: Moment,
    pub(super) queue_room: (usize, usize),
    routes: HashMap<Box<str>, i64>,
    destinations: HashMap<Box<str>, i64>,
    pub(super) floor_noted: i64,
    /// What the even clock showed when it was last noted; zero while it was not since the start.
    pub(super) clocks_noted: UnixMillis,
    /// Keys up to this slot were swept; the next sweep goes on from there.
    pub(super) keys_swept: i64,
    /// Keys of events up to this one were moved; zero while none was since the start.
    pub(super) keys_moved_through: i64,
    /// Pages in the log, told by SQLite after each commit.
    pub(super) log_pages: Arc<AtomicI32>,
    pub(super) log_bounds: LogBounds,
    /// Pages that the log had when it could begin anew again; zero once it has.
    pub(super) log_pages_held: i32,
    pub(super) checkpointer: &'c Checkpointer,
    pub(super) syncer: &'c Syncer,
    /// The file that the path must lead to.
    pub(super) identity: Identity,
    /// When the disk and the path are looked at next.
    pub(super) next_look: Instant,
    pub(super) lanes: Lanes,
    pub(super) imports: Imports,
    pub(super) key_scan: KeyScan,
}

impl<'c> Writer<'c> {
    pub(super) fn new(
        opened: &'c Opened,
        shared: Arc<Shared>,
        room: Room,
    ) -> rusqlite::Result<Self> {
        let Opened { connection, next, log_pages, checkpointer, syncer, identity, .. } = opened;
        let next = *next;
        let mut sql = Statements::prepare(connection)?;
        let quarantined = sql.quarantined.query_row([], |row| row.get(0))?;
        let group_at = shared.moment();
        let mut writer = Self {
            connection,
            sql,
            shared,
            room,
            next,
            fresh: Fresh::starting_at(next.delivery),
            key_move: KeyMove::default(),
            quarantined,
            group_at,
            queue_room: (0, 0),
            routes: HashMap::new(),
            destinations: HashMap::new(),
            floor_noted: next.delivery,
            clocks_noted: UnixMillis(0),
            keys_swept: -1,
            keys_moved_through: 0,
            log_pages: Arc::clone(log_pages),
            log_bounds: LogBounds::new(page_bytes(connection)?),
            log_pages_held: 0,
            checkpointer,
            syncer,
            identity: identity.clone(),
            next_look: Instant::now(),
            lanes: Lanes::new(),
            imports: Imports::default(),
            key_scan: KeyScan::default(),
        };
        writer.read_names()?;
        writer.make_filter_when_wanting();
        Ok(writer)
    }

    /// Serves `jobs` until it is told to close, its last sender is gone, or storage fails.
    pub(super) fn run(mut self, jobs: &JobReceiver) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| self.receive(jobs)) {
            let Some(job) = self.lanes.admit(job) else { continue };
            if matches!(job, Job::Task(..) | Job::Close) {
                // Whatever it is, it finds all commits before it on disk.
                self.shared.syncs.wait();
                if self.has_failed() {
                    return;
                }
            }
            match job {
                Job::Close => break,
                Job::Lane(adapter, lane, reply, place) => {
                    self.lanes.begin(adapter, lane);
                    // Who waits no longer has ended the lane already, by a job that follows.
                    drop(reply.send(Ok(place)));
                }
                Job::LaneEnds(adapter, lane) => self.lanes.end(&adapter, lane),
                Job::Task(task, place) => {
                    drop(place);
                    task(Ok(&mut self));
                }
                Job::Commit(..) | Job::Record(..) => held = self.serve_queue(job, jobs),
            }
            self.checkpoint_when_due();
            // Here too: a queue that is never empty must not keep it from being done.
            self.look_when_due();
            if self.has_failed() {
                // Dropping what still waits tells each waiter; see `SqliteStorage::ask`.
                return;
            }
        }
        if !self.has_failed() {
            self.finish();
        }
    }

    /// The next job; absent at the end. Looks at the disk and the path while it waits.
    fn receive(&mut self, jobs: &JobReceiver) -> Option<Job> {
        if let Some(ready) = self.lanes.next_ready() {
            return Some(ready);
        }
        while !self.has_failed() {
            match jobs.recv_timeout(self.next_look.saturating_duration_since(Instant::now())) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => self.look_when_due(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    pub(super) fn has_failed(&self) -> bool {
        self.shared.failed.borrow().is_some()
    }

    /// Runs `work` as a transaction of its own, and syncs it. A fatal error is taken note of.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        // One sync at a time: an error of writing back is told once to each who had the file open.
        self.shared.syncs.wait();
        if let Some(failure) = self.shared.failure() {
            return Err(failure);
        }
        let worked = self.sql.begin.execute([]).and_then(|_| work(self)).and_then(|done| {
            self.sql.commit.execute([])?;
            Ok(done)
        });
        let worked = worked.map_err(|error| self.roll_back(&error));
        let synced = worked.and_then(|done| self.syncer.sync_now().map(|()| done));
        synced.inspect_err(|error| self.take_note(error))
    }

    pub(super) fn roll_back(&mut self, error: &rusqlite::Error) -> StorageError {
        let mut error = classify(error);
        // SQLite has already rolled back after some errors, and says so by this.
        if !self.connection.is_autocommit()
            && let Err(second) = self.connection.execute_batch("ROLLBACK")
        {
            error = StorageError::Fatal { detail: second.to_string() };
        }
        // Names that the transaction made are gone.
        if let Err(second) = self.read_names() {
            error = StorageError::Fatal { detail: second.to_string() };
        }
        error
    }

    fn read_names(&mut self) -> rusqlite::Result<()> {
        self.routes.clear();
        self.destinations.clear();
        let mut names = self.connection.prepare_cached("SELECT kind, name, id FROM names")?;
        let mut rows = names.query([])?;
        while let Some(row) = rows.next()? {
            let (kind, name, id): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let map = if kind == ROUTE { &mut self.routes } else { &mut self.destinations };
            map.insert(name.into(), id);
        }
        Ok(())
    }

    /// The number of a name, made where it has none.
    pub(super) fn name_id(&mut self, kind: i64, name: &str) -> rusqlite::Result<i64> {
        let map = if kind == DESTINATION { &mut self.destinations } else { &mut self.routes };
        if let Some(id) = map.get(name) {
            return Ok(*id);
        }
        let id = self.sql.insert_name.insert(params![kind, name])?;
        map.insert(name.into(), id);
        Ok(id)
    }

    /// The destinations that rows refer to.
    pub(super) fn destination_ids(&self) -> Vec<(String, i64)> {
        let mut ids: Vec<_> =
            self.destinations.iter().map(|(name, id)| (name.to_string(), *id)).collect();
        ids.sort_unstable();
        ids
    }

    /// Notes where the next process's even clock goes on.
    pub(super) fn note_clocks(&mut self, at: Moment) -> rusqlite::Result<()> {
        for (name, time) in [("even_clock", at.even), ("wall_clock", at.wall)] {
            self.sql.set_meta.execute(params![name, sql(time.0)])?;
        }
        Ok(())
    }

    /// Leaves the store as the next start likes to find it. What fails here, the next start does.
    fn finish(&mut self) {
        // Nothing is to be read any more: the log could not begin anew.
        self.key_scan.end();
        self.shared.syncs.wait();
        if self.has_failed() {
            return;
        }
        while let Ok(true) = self.move_keys_before(i64::MAX, MOVE_AT_THE_END) {}
        if self.has_failed() {
            return;
        }
        let noted = self.transaction(|writer| {
            let parked = "UPDATE deliveries SET state = 1 WHERE state = 0 AND id >= ?1";
            writer.connection.execute(parked, [writer.fresh.floor()])?;
            writer.note_clocks(writer.shared.moment())?;
            writer.sql.set_meta.execute(params!["settled_below", writer.next.delivery])
        });
        if noted.is_ok() {
            self.checkpoint("TRUNCATE");
        }
    }
}
