//! How a store comes up; on a disk so full that it cannot, the writer waits for room, so that the
//! rest of the gateway can say so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ballast::Room;
use super::open::{OpenError, unused_bytes};
use super::opened::{Opened, Opener};
use super::shared::Shared;
use super::writer::{Job, JobReceiver, Writer};
use crate::storage::StorageError;

/// How often opening is tried again on a full disk.
const OPEN_AGAIN_EVERY: Duration = Duration::from_secs(1);

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
        self.shared.nudges.tell_all();
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
