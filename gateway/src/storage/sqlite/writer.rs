//! The one thread that writes.
//!
//! It takes whatever has queued up, writes it as one transaction, syncs once and answers all: under
//! load a commit costs its share of a sync, and without load it waits for nobody. What is not a
//! commit or a record (sweeping, retiring, closing) runs between groups, in steps of a few
//! milliseconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use rusqlite::{Connection, params};

use super::ballast::Room;
use super::checkpointer::Checkpointer;
use super::failure::classify;
use super::fresh::Fresh;
use super::group::{DESTINATION, Group, ROUTE};
use super::identity::Identity;
use super::jobs::{Done, Job, Member, answer, gather, refuse, split};
use super::keys::{KeyMove, RECENT_MAX};
use super::lanes::Lanes;
use super::operate::Imports;
use super::shared::Shared;
use super::start::Opened;
use super::statements::Statements;
use super::times::Moment;
use crate::faults::{CrashPoint, Fault};
use crate::storage::StorageError;

/// Keys moved into the table with each group while a move is on. At least as many as come in, so
/// that a move ends before the next begins.
const MOVE_SLICE: usize = 256;

/// Keys moved in one transaction when nobody waits any more.
const MOVE_AT_THE_END: usize = 1_024;

/// Deliveries handed out between two notes of `meta.settled_below`; recovery walks so many more.
const FLOOR_NOTE_EVERY: i64 = 16_384;

/// Numbers to hand out next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) request: i64,
    pub(super) event: i64,
    pub(super) delivery: i64,
    /// The version of the next change of state.
    pub(super) change: i64,
}

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
    floor_noted: i64,
    /// Keys up to this slot were swept; the next sweep goes on from there.
    pub(super) keys_swept: i64,
    /// Keys of events up to this one were moved; zero while none was since the start.
    pub(super) keys_moved_through: i64,
    /// Pages in the log, told by SQLite after each commit.
    pub(super) log_pages: Arc<AtomicI32>,
    /// Pages that the log had when it could begin anew again; zero once it has.
    pub(super) log_pages_held: i32,
    pub(super) checkpointer: &'c Checkpointer,
    /// The file that the path must lead to.
    pub(super) identity: Identity,
    /// When the disk and the path are looked at next.
    pub(super) next_look: Instant,
    lanes: Lanes,
    pub(super) imports: Imports,
}

impl<'c> Writer<'c> {
    pub(super) fn new(
        opened: &'c Opened,
        shared: Arc<Shared>,
        room: Room,
    ) -> rusqlite::Result<Self> {
        let Opened { connection, next, log_pages, checkpointer, identity } = opened;
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
            keys_swept: -1,
            keys_moved_through: 0,
            log_pages: Arc::clone(log_pages),
            log_pages_held: 0,
            checkpointer,
            identity: identity.clone(),
            next_look: Instant::now(),
            lanes: Lanes::default(),
            imports: Imports::default(),
        };
        writer.read_names()?;
        Ok(writer)
    }

    /// Serves `jobs` until it is told to close, its last sender is gone, or storage fails.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        let mut held = None;
        while let Some(job) = held.take().or_else(|| self.receive(jobs)) {
            let Some(job) = self.lanes.admit(job) else { continue };
            match job {
                Job::Close => break,
                Job::Lane(adapter, lane, reply, place) => {
                    drop(place);
                    self.lanes.begin(adapter, lane);
                    // Who waits no longer has ended the lane already, by a job that follows.
                    drop(reply.send(Ok(())));
                }
                Job::LaneEnds(adapter, lane) => self.lanes.end(&adapter, lane),
                Job::Task(task, place) => {
                    drop(place);
                    task(Ok(&mut self));
                }
                Job::Commit(..) | Job::Record(..) => {
                    let (members, next) = gather(job, jobs, &mut self.lanes);
                    held = next;
                    self.serve(members);
                }
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
    fn receive(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
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

    fn serve(&mut self, mut members: Vec<Member>) {
        while Fault::WriterHangs.is_on() {
            std::thread::park();
        }
        if self.shared.full.load(Ordering::Acquire) {
            let (commits, records) = split(members);
            refuse(commits, &StorageError::Full);
            members = records;
        }
        if members.is_empty() {
            return;
        }
        match self.try_group(&members) {
            Ok(replies) => answer(members, replies),
            Err(StorageError::Full) => self.serve_without_room(members),
            Err(StorageError::Failed { .. }) if members.len() > 1 => {
                // One of them cannot be stored; the others must not suffer for it.
                for member in members {
                    self.serve(vec![member]);
                }
            }
            Err(error) => {
                if let StorageError::Fatal { detail } = &error {
                    self.shared.fail(detail);
                }
                refuse(members, &error);
            }
        }
    }

    /// The disk is full: commits are refused from here on, and the ballast's room goes to the
    /// bookkeeping of deliveries.
    fn serve_without_room(&mut self, members: Vec<Member>) {
        let already = self.shared.full.load(Ordering::Acquire);
        self.take_no_commits();
        let (commits, records) = split(members);
        refuse(commits, &StorageError::Full);
        if already {
            refuse(records, &StorageError::Full);
        } else if !records.is_empty() {
            self.serve(records);
        }
    }

    fn try_group(&mut self, members: &[Member]) -> Result<Vec<Done>, StorageError> {
        self.group_at = self.shared.moment();
        self.queue_room = self.shared.queue().room();
        let next = self.next;
        let mut group = Group::default();
        match self.write_group(&mut group, members) {
            Ok((replies, moved, noted)) => {
                self.publish(group);
                self.after_group(moved, noted);
                Ok(replies)
            }
            Err(error) => {
                self.next = next;
                self.withdraw(&group);
                Err(self.roll_back(&error))
            }
        }
    }

    /// Writes and commits. Returns the replies, how far the move of keys stands, and whether the
    /// floor of fresh deliveries was noted.
    fn write_group(
        &mut self,
        group: &mut Group,
        members: &[Member],
    ) -> rusqlite::Result<(Vec<Done>, usize, bool)> {
        self.sql.begin.execute([])?;
        let mut replies = Vec::with_capacity(members.len());
        for member in members {
            replies.push(match member {
                Member::Commit(commit, _) => Done::Committed(self.apply_member(group, commit)?),
                Member::Record(attempts, _) => {
                    let mut recorded = 0;
                    for attempt in attempts {
                        recorded += usize::from(self.apply_attempt(group, attempt)?);
                    }
                    Done::Recorded(recorded)
                }
            });
        }
        let moved = self.move_keys(MOVE_SLICE.max(2 * group.new_keys()))?;
        let note = self.next.delivery - self.floor_noted >= FLOOR_NOTE_EVERY;
        if note {
            self.sql.set_meta.execute(params!["settled_below", self.fresh.floor()])?;
        }
        CrashPoint::BeforeCommit.reached();
        self.sql.commit.execute([])?;
        CrashPoint::AfterCommit.reached();
        Ok((replies, moved, note))
    }

    pub(super) fn after_group(&mut self, moved: usize, noted: bool) {
        self.key_move.advance(moved);
        if let Some(through) = self.key_move.finishes_at(moved) {
            self.keys_moved_through = through;
            self.key_move = KeyMove::default();
            self.shared.recent_mut().end_move();
        }
        if self.key_move.is_over() && self.shared.recent().active_len() >= RECENT_MAX {
            self.begin_move();
        }
        if noted {
            self.floor_noted = self.next.delivery;
            self.park_overdue();
        }
    }

    pub(super) fn begin_move(&mut self) {
        let keys = self.shared.recent_mut().begin_move();
        self.key_move = KeyMove::new(keys, self.next.event - 1);
    }

    /// Parks fresh deliveries that have hung for very long, so that recovery stays short.
    fn park_overdue(&mut self) {
        let overdue = self.fresh.overdue();
        if overdue.is_empty() {
            return;
        }
        let parked = self.transaction(|writer| {
            for id in &overdue {
                writer.sql.park_fresh.execute([id])?;
            }
            Ok(())
        });
        // Where it failed they simply stay fresh.
        if parked.is_ok() {
            for id in overdue {
                self.fresh.settle(id);
            }
        }
    }

    /// Runs `work` as a transaction of its own. A fatal error is taken note of.
    pub(super) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        let worked = self.sql.begin.execute([]).and_then(|_| work(self)).and_then(|done| {
            self.sql.commit.execute([])?;
            Ok(done)
        });
        worked.map_err(|error| {
            let error = self.roll_back(&error);
            self.take_note(&error);
            error
        })
    }

    fn roll_back(&mut self, error: &rusqlite::Error) -> StorageError {
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

    /// Leaves the store as the next start likes to find it. What fails here, the next start does.
    fn finish(&mut self) {
        while let Ok(true) = self.move_keys_before(i64::MAX, MOVE_AT_THE_END) {}
        if self.has_failed() {
            return;
        }
        let noted = self.transaction(|writer| {
            let parked = "UPDATE deliveries SET state = 1 WHERE state = 0 AND id >= ?1";
            writer.connection.execute(parked, [writer.fresh.floor()])?;
            writer.sql.set_meta.execute(params!["settled_below", writer.next.delivery])
        });
        if noted.is_ok() {
            self.checkpoint("TRUNCATE");
        }
    }
}
