//! What the writer does between groups so that it can go on: the log, the disk, the path, the filter
//! of keys.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::checkpointer::Copy;
use super::failure::classify;
use super::open::unused_bytes;
use super::scan::open_same;
use super::writer::Writer;
use crate::storage::StorageError;

/// How often a full disk is looked at again.
const ROOM_LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often the path is looked at: what is written after it leads elsewhere is lost at the next
/// start, so for no longer than this.
const PATH_LOOK_EVERY: Duration = Duration::from_secs(1);

impl Writer<'_> {
    /// Has the next filter of keys made where one is wanting.
    pub(super) fn make_filter_when_wanting(&mut self) {
        if self.shared.over().is_none() && self.shared.recent().filters.are_wanting() {
            self.make_filter();
        }
    }

    /// Has the next filter of keys made, where none is being made.
    pub(super) fn make_filter(&mut self) {
        let identity = self.identity.clone();
        self.key_scan.begin(&self.shared, Box::new(move || open_same(&identity)));
    }

    /// Has the log copied once it is long, and copies the rest of it once that is short.
    pub(super) fn checkpoint_when_due(&mut self) {
        let pages = self.log_pages.load(Ordering::Relaxed);
        if self.shared.log_is_held.load(Ordering::Acquire) {
            // Copied or not, it would not begin anew.
            self.log_pages_held = pages;
            return;
        }
        let bounds = self.log_bounds;
        if pages < bounds.checkpoint {
            self.log_pages_held = 0;
        }
        let max = bounds.max.saturating_add(self.log_pages_held);
        match self.checkpointer.look() {
            Copy::UnderWay if pages < max => {}
            Copy::UnderWay => self.checkpoint("PASSIVE"),
            Copy::Done(copied) if pages - copied <= bounds.rest || pages >= max => {
                self.checkpoint("PASSIVE");
            }
            // Shorter each time, since copying is faster than writing.
            Copy::Done(_) => self.checkpointer.begin(),
            Copy::Failed(error) => self.take_note(&error),
            Copy::None if pages >= bounds.checkpoint => self.checkpointer.begin(),
            Copy::None => {}
        }
    }

    /// Copies the log into the database, once no copy is under way. An I/O error is as fatal as
    /// one at commit: what could not be copied is in the log still, and the next start copies it.
    pub(super) fn checkpoint(&mut self, mode: &str) {
        self.checkpointer.wait();
        self.log_pages.store(0, Ordering::Relaxed);
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        if let Err(error) = self.connection.query_row(&sql, [], |_| Ok(())) {
            self.take_note(&classify(&error));
        }
    }

    /// Does what an error of the writer's own work asks for.
    pub(super) fn take_note(&mut self, error: &StorageError) {
        match error {
            StorageError::Fatal { detail } => self.shared.fail(detail),
            StorageError::Full => self.take_no_commits(),
            StorageError::Busy | StorageError::Closed | StorageError::Failed { .. } => {}
        }
    }

    /// The disk is full: from here on its room is for what must go on.
    pub(super) fn take_no_commits(&mut self) {
        self.shared.full.store(true, Ordering::Release);
        self.room.release();
        self.next_look = self.next_look.min(Instant::now() + ROOM_LOOK_EVERY);
    }

    /// Looks whether the path still leads to the store, and at a full disk whether it still is.
    pub(super) fn look_when_due(&mut self) {
        if Instant::now() < self.next_look {
            return;
        }
        if let Some(lost) = self.identity.lost() {
            self.shared.fail(&lost);
            return;
        }
        if self.shared.full.load(Ordering::Acquire) {
            self.look_for_room();
        }
        let full = self.shared.full.load(Ordering::Acquire);
        let next = if full { ROOM_LOOK_EVERY } else { PATH_LOOK_EVERY };
        // From now, not from before: a copy of the log may have taken long.
        self.next_look = Instant::now() + next;
    }

    /// Keeps a ballast of another size. On a full disk it waits until there is room.
    pub(super) fn set_ballast(&mut self, bytes: u64) {
        self.room.set_size(bytes);
        if !self.shared.full.load(Ordering::Acquire)
            && !self.room.restore(unused_bytes(self.connection))
        {
            tracing::warn!("There is no room on the disk for a ballast of that size.");
        }
    }

    /// Where there is room again, makes the ballast again and takes commits.
    fn look_for_room(&mut self) {
        self.checkpoint("TRUNCATE");
        if !self.has_failed() && self.room.restore(unused_bytes(self.connection)) {
            tracing::info!("The disk has room again: requests are taken.");
            self.shared.full.store(false, Ordering::Release);
        }
    }
}
