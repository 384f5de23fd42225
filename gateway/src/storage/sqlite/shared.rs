//! What the writer, the readers and the callers share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use tokio::sync::watch;

use super::columns::sql;
use super::keys::RecentKeys;
use super::namespaces::Namespace;
use super::nudges::Nudges;
use super::queue::DueQueue;
use super::syncs::Syncs;
use super::times::Moment;
use crate::model::{AdapterName, Clock, UnixMillis};
use crate::storage::StorageError;

#[derive(Debug)]
pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    /// Runs as what due times and leases go by.
    even: Arc<dyn Clock>,
    /// How far the store's even clock is ahead of that, in milliseconds.
    even_ahead: AtomicI64,
    /// Opens every key digest of this store. Absent until it could be opened.
    salt: OnceLock<[u8; 16]>,
    recent: RwLock<RecentKeys>,
    queue: Mutex<DueQueue>,
    pub(super) syncs: Syncs,
    namespaces: RwLock<HashMap<AdapterName, Namespace>>,
    pub(super) nudges: Nudges,
    pub(super) failed: watch::Sender<Option<String>>,
    /// Commits are refused: the disk is full.
    pub(super) full: AtomicBool,
    pub(super) closed: AtomicBool,
    /// A backup reads one view of the store: its log cannot begin anew.
    pub(super) log_is_held: AtomicBool,
    pub(super) pending: AtomicI64,
    pub(super) dead: AtomicI64,
    /// Searches in the table of keys.
    pub(super) key_searches: AtomicU64,
    /// Steps that a scan of the table of keys may still do.
    #[cfg(test)]
    pub(super) scan_steps: std::sync::atomic::AtomicUsize,
}

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>, even: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            even,
            even_ahead: AtomicI64::new(0),
            salt: OnceLock::new(),
            recent: RwLock::default(),
            queue: Mutex::default(),
            syncs: Syncs::default(),
            namespaces: RwLock::default(),
            nudges: Nudges::default(),
            failed: watch::Sender::new(None),
            full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            log_is_held: AtomicBool::new(false),
            pending: AtomicI64::new(0),
            dead: AtomicI64::new(0),
            key_searches: AtomicU64::new(0),
            #[cfg(test)]
            scan_steps: std::sync::atomic::AtomicUsize::new(usize::MAX),
        }
    }

    /// The time of the wall.
    pub(super) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    pub(super) fn moment(&self) -> Moment {
        let ahead = self.even_ahead.load(Ordering::Relaxed);
        let even = UnixMillis(self.even.now().0.saturating_add_signed(ahead));
        Moment { wall: self.clock.now(), even }
    }

    /// The even clock goes on from where an earlier process noted both.
    pub(super) fn go_on_from(&self, noted: Moment) {
        let even = noted.even_since(self.clock.now());
        let ahead = sql(even.0).saturating_sub(sql(self.even.now().0));
        self.even_ahead.store(ahead, Ordering::Relaxed);
    }

    /// What opens key digests; an error while a full disk keeps the store from being opened.
    pub(super) fn salt(&self) -> Result<&[u8; 16], StorageError> {
        self.salt.get().ok_or(StorageError::Full)
    }

    /// The store is open, and memory is as it was.
    pub(super) fn is_open_with(&self, salt: [u8; 16]) {
        // Said once: opening is not tried again after it succeeded.
        self.salt.get_or_init(|| salt);
    }

    // A panic elsewhere must not stop deliveries: what the locks guard is whole between any two
    // statements that could panic.

    pub(super) fn queue(&self) -> MutexGuard<'_, DueQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recent(&self) -> RwLockReadGuard<'_, RecentKeys> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn recent_mut(&self) -> RwLockWriteGuard<'_, RecentKeys> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The namespace of an adapter, for a plugin of this `state_version`.
    pub(super) fn namespace(
        &self,
        adapter: &AdapterName,
        version: u32,
    ) -> Result<i64, StorageError> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        let detail = match namespaces.get(adapter) {
            Some(namespace) if namespace.claimed == Some(version) => return Ok(namespace.id),
            Some(Namespace { claimed: Some(other), .. }) => format!(
                "the state of the adapter `{adapter}` is now kept in version {other}, no longer in {version}"
            ),
            Some(_) | None => format!("the adapter `{adapter}` was granted no state"),
        };
        Err(StorageError::Failed { detail })
    }

    /// For which version the adapter's namespace was claimed in this process, if at all.
    pub(super) fn claimed(&self, adapter: &AdapterName) -> Option<u32> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.get(adapter)?.claimed
    }

    pub(super) fn know_namespace(&self, adapter: &AdapterName, namespace: Namespace) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        namespaces.insert(adapter.clone(), namespace);
    }

    /// Storage has failed for good; the first reason stays.
    pub(super) fn fail(&self, detail: &str) {
        self.failed.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(detail.to_owned());
            }
            first
        });
    }

    /// Why storage has failed, where it has.
    pub(super) fn failure(&self) -> Option<StorageError> {
        self.failed.borrow().clone().map(|detail| StorageError::Fatal { detail })
    }

    /// Why nothing may be asked of the store any more.
    pub(super) fn over(&self) -> Option<StorageError> {
        if let Some(failure) = self.failure() {
            return Some(failure);
        }
        self.closed.load(Ordering::Acquire).then_some(StorageError::Closed)
    }
}
