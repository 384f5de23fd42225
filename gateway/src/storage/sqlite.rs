//! The embedded engine: one SQLite file, one thread that writes, a few that read.
//!
//! What it promises beyond [`Storage`](crate::storage::Storage):
//! - An answer follows the `fdatasync` of the log with its transaction ([`syncer`]).
//! - After an I/O error at commit nothing is acknowledged any more (`failed` resolves).
//! - On a full disk commits are refused, the ballast's room keeps the bookkeeping of deliveries
//!   going, and commits are taken again by themselves when there is room. A store that cannot even
//!   be opened for want of room comes up refusing, and opens when it can.
//! - What waits (due times, leases) goes by an even clock, whatever happens to the wall's, and over
//!   restarts ([`times`]).
//! - A database that was deleted, renamed or replaced while it is used is a failure of storage.
//! - One process uses a file: a second one is refused.
//!
//! Where the time of a commit goes, and what was done about it: everything is encoded and hashed on
//! the caller's thread; rows are appended; a delivery that succeeds at once is written twice, in the
//! same page, and enters no index; keys are moved to their table in order ([`keys`]), and new ones are
//! told without a search in it ([`filter`]); events are handed to delivery in memory ([`queue`]). The
//! table stays the truth for all of it.

mod attempts;
mod backup;
mod ballast;
mod checkpointer;
mod columns;
mod encode;
mod ending;
mod engine;
mod failure;
mod filter;
mod fresh;
mod gathered;
mod group;
mod identity;
mod job_queue;
mod jobs;
mod keys;
mod lanes;
mod load;
mod log_bounds;
mod members;
mod namespaces;
mod nudges;
mod open;
mod opened;
mod operate;
mod probe;
mod query;
mod queue;
mod readers;
mod reads;
mod recover;
mod scan;
mod seen;
mod serving;
mod shared;
mod start;
mod state;
mod state_change;
mod statements;
mod sweep;
mod switches;
mod syncer;
mod syncs;
#[cfg(test)]
mod tests;
mod times;
mod told;
mod upkeep;
mod weights;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot, watch};

use self::backup::Backups;
pub use self::backup::check as check_backup;
use self::ballast::Room;
use self::job_queue::job_queue;
use self::jobs::Place;
pub use self::open::OpenError;
use self::opened::Opener;
use self::queue::{Leasing, Taken};
use self::readers::{Open, Readers};
use self::shared::Shared;
use self::start::Start;
use self::state::StateReaders;
use self::times::{EvenClock, Moment};
use self::weights::Weights;
use self::writer::{Job, JobSender, Writer};
use crate::model::{
    AdapterName, AttemptRecord, Clock, DeadLetterReason, DestinationName, LeasedDelivery,
    UnixMillis,
};
use crate::storage::{Commit, Committed, Lane, LaneId, StorageError};

/// Threads that answer questions of the operator.
const QUERY_READERS: usize = 2;

/// Connections for `seen`, which blocks its caller: as many as calls run at once on small machines.
const SEEN_READERS: usize = 2;

/// How long the end of a store waits for its threads once they were told. What the writer does last
/// takes a fraction of it, and the next start does what is left.
const JOIN_MAX: Duration = Duration::from_secs(5);

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    pub clock: Arc<dyn Clock>,
    /// What due times and leases go by; it must not jump.
    pub even_clock: Arc<dyn Clock>,
    /// Bytes of the ballast file; 0 for none.
    pub ballast_bytes: u64,
    /// Commits and records that may wait for the writer; beyond it, commits are refused as `Busy`.
    pub queue_bound: usize,
    /// Bytes of commits that may wait for the writer, as `queue_bound`. A single one may be larger.
    pub queue_bytes: usize,
    /// Page cache of the writer, in KiB.
    pub cache_kib: u32,
}

impl SqliteOptions {
    /// The defaults: 64 MiB of ballast, 4,096 waiting with 64 MiB, 16 MiB of page cache, and an even
    /// clock that begins at `clock`'s time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let even_clock = Arc::new(EvenClock::starting_at(clock.now()));
        Self {
            clock,
            even_clock,
            ballast_bytes: 64 * 1024 * 1024,
            queue_bound: 4_096,
            queue_bytes: 64 * 1024 * 1024,
            cache_kib: 16 * 1024,
        }
    }
}

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStorage {
    shared: Arc<Shared>,
    jobs: JobSender,
    /// Bounds what waits in `jobs`.
    places: Arc<Semaphore>,
    weights: Weights,
    /// Reads what is due. Of its own, so that no operator's question holds deliveries up.
    due: Readers,
    queries: Readers,
    path: PathBuf,
    seen: Vec<Mutex<Option<Connection>>>,
    state: Arc<StateReaders>,
    backups: Backups,
    /// Numbers of lanes.
    lanes: AtomicU64,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Whether the writer has ended.
    ended: watch::Receiver<bool>,
    /// Held as long as the file is used.
    lock: Mutex<Option<File>>,
}

impl SqliteStorage {
    /// Opens the store at `path`, made where it does not exist. Blocks for the time of it.
    ///
    /// On a full disk it opens without its ballast, and refuses commits until there is room.
    ///
    /// # Errors
    ///
    /// Where another process uses it, a newer gateway or another program wrote it, or it cannot be
    /// opened.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Arc<Self>, OpenError> {
        let opener = opened::opener(path, options.cache_kib);
        Self::open_with(path, options, opener)
    }

    fn open_with(
        path: &Path,
        options: SqliteOptions,
        opener: Opener,
    ) -> Result<Arc<Self>, OpenError> {
        let lock = open::lock(path)?;
        backup::forget(path);
        let room = Room::new(open::beside(path, ".ballast"), options.ballast_bytes);
        let shared = Arc::new(Shared::new(options.clock, options.even_clock));
        let (ending, ended) = watch::channel(false);
        let start = Start::new(Arc::clone(&shared), room, opener, ending)?;
        let open = if start.is_open() { Open::Now } else { Open::Later };
        let due = Readers::start(path, "due", 1, open)?;
        let queries = Readers::start(path, "query", QUERY_READERS, open)?;
        let (jobs, receiver) = job_queue();
        let writer = thread::Builder::new()
            .name("storage-writer".to_owned())
            .spawn(move || start.run(&receiver))
            .map_err(OpenError::Thread)?;
        Ok(Arc::new(Self {
            shared,
            jobs,
            places: Arc::new(Semaphore::new(options.queue_bound)),
            weights: Weights::new(options.queue_bytes),
            due,
            queries,
            path: path.to_owned(),
            seen: (0..SEEN_READERS).map(|_| Mutex::default()).collect(),
            state: Arc::default(),
            backups: Backups::default(),
            lanes: AtomicU64::new(0),
            writer: Mutex::new(Some(writer)),
            ended,
            lock: Mutex::new(Some(lock)),
        }))
    }

    /// Waits for a place in the writer's queue.
    async fn place(&self) -> Result<Place, StorageError> {
        if let Some(over) = self.shared.over() {
            return Err(over);
        }
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| StorageError::Closed)
    }

    /// Sends a job and waits for its answer.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StorageError>>) -> Job,
    ) -> Result<T, StorageError> {
        let (reply, answer) = oneshot::channel();
        if self.jobs.send(job(reply)).is_err() {
            return Err(self.ended());
        }
        self.shared.syncs.is_queued(|jobs| self.jobs.are_queued(jobs));
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    async fn commit_now(
        &self,
        commit: Commit,
        attempt: Option<AttemptRecord>,
    ) -> Result<Option<Committed>, StorageError> {
        if let Some(over) = self.shared.over() {
            return Err(over);
        }
        if self.shared.full.load(Ordering::Acquire) {
            return Err(StorageError::Full);
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| StorageError::Busy)?;
        let prepared = Box::new(encode::prepare(commit, attempt, &self.shared)?);
        let weight = self.weights.take(prepared.bytes()).ok_or(StorageError::Busy)?;
        let room = (place, weight);
        let (committed, _served) = self.ask(|reply| Job::Commit(prepared, reply, room)).await?;
        Ok(committed)
    }

    /// Has the writer do something between two groups.
    async fn ask_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let place = self.place().await?;
        self.ask_writer_from(place, work).await
    }

    /// The same from a place in the queue that is held already.
    async fn ask_writer_from<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let task = |reply: oneshot::Sender<_>| {
            // Whoever asked may have given up.
            Job::Task(Box::new(move |writer| drop(reply.send(writer.and_then(work)))), place)
        };
        self.ask(task).await
    }

    /// Waits for the lane. With it comes the place in the queue that it was waited for in: who needs
    /// one more could wait for it as long as commits wait for the lane, that is for ever.
    async fn enter_lane(&self, adapter: AdapterName) -> Result<(Lane, Place), StorageError> {
        let place = self.place().await?;
        let id = LaneId(self.lanes.fetch_add(1, Ordering::Relaxed));
        let (jobs, of) = (self.jobs.clone(), adapter.clone());
        // Made before it is waited for: who gives up waiting ends it as well.
        let lane = Lane::new(id, move || drop(jobs.send(Job::LaneEnds(of, id))));
        let place = self.ask(|reply| Job::Lane(adapter, id, reply, place)).await?;
        Ok((lane, place))
    }

    /// Why the writer answers no more.
    fn ended(&self) -> StorageError {
        self.shared.over().unwrap_or(StorageError::Closed)
    }

    async fn load(
        &self,
        destination: &DestinationName,
        now: UnixMillis,
    ) -> Result<(), StorageError> {
        let (shared, name) = (Arc::clone(&self.shared), destination.clone());
        let read = move |connection: &Connection| load::load(connection, &shared, &name, now);
        let unreadable = self.due.ask(read).await?;
        if !unreadable.is_empty() {
            let destination = destination.clone();
            let give_up = move |writer: &mut Writer<'_>| {
                writer.give_up(&destination, &unreadable, DeadLetterReason::Corrupt)
            };
            self.ask_writer(give_up).await?;
        }
        Ok(())
    }

    async fn lease_due(
        &self,
        destination: &DestinationName,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<LeasedDelivery>, StorageError> {
        let mut leasing = Leasing::of(limit);
        loop {
            if let Some(over) = self.shared.over() {
                return Err(over);
            }
            let moment = self.shared.moment();
            let until = moment.even.after(lease);
            let taken = self.shared.queue().take(destination, moment.even, until, &mut leasing);
            match taken {
                Taken::Enough => return Ok(told_by_the_wall(leasing.leased, moment)),
                Taken::LoadFirst => self.load(destination, moment.even).await?,
            }
        }
    }

    async fn sweep_all(&self, retention: Duration) -> Result<u64, StorageError> {
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        let cutoff = UnixMillis(self.shared.now().0.saturating_sub(retention_ms));
        let mut sweep = self.ask_writer(move |writer| Ok(writer.begin_sweep(cutoff))).await?;
        while !sweep.is_over() {
            sweep = self.ask_writer(move |writer| writer.sweep_step(sweep)).await?;
            if !sweep.pace.pause.is_zero() {
                tokio::time::sleep(sweep.pace.pause).await;
            }
        }
        Ok(sweep.deleted)
    }

    /// Waits for the threads, which end soon unless the disk hangs: then they are left to the end of
    /// the process, and so is the lock. Who opens the file next must not meet them.
    fn join(&self) {
        let mut threads = self.due.end();
        threads.extend(self.queries.end());
        threads.extend(self.backups.end());
        threads.extend(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
        for reader in &self.seen {
            reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        self.state.close();
        let have_ended = ending::join_within(JOIN_MAX, threads);
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !have_ended {
            #[expect(clippy::mem_forget, reason = "it is given up with the process")]
            std::mem::forget(lock);
        }
    }
}

/// What is leased ends, for those who attempt it, by the wall clock.
fn told_by_the_wall(mut leased: Vec<LeasedDelivery>, moment: Moment) -> Vec<LeasedDelivery> {
    for leased in &mut leased {
        leased.until = moment.wall_at(leased.until);
    }
    leased
}

impl Drop for SqliteStorage {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // It may have ended already.
        drop(self.jobs.send(Job::Close));
        self.join();
    }
}
