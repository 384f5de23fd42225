//! What a running call reads of the store: where `adapter`, which knows no storage, and `storage`,
//! which knows no adapter, meet.

use std::sync::{Arc, Mutex, PoisonError};

use crate::adapter::{SeenReader, StateReader, Unread};
use crate::model::{AdapterName, IdempotencyKey, RouteName, Scanned, StateRange, UnixMillis};
use crate::storage::{StateScan, StateView, Storage};

/// `seen(key)` of one call: what is stored, as of its own time.
#[derive(Debug)]
pub struct StoredKeys {
    pub storage: Arc<dyn Storage>,
    /// Absent in `consume` and `view`.
    pub route: Option<RouteName>,
    pub adapter: AdapterName,
    pub now: UnixMillis,
}

impl SeenReader for StoredKeys {
    fn seen(&self, key: &IdempotencyKey) -> Option<bool> {
        self.storage.seen(self.route.as_ref(), &self.adapter, key, self.now).ok()
    }
}

/// The adapter's state in one call: one view, opened at the first read and given back with this.
#[derive(Debug)]
pub struct StoredState {
    storage: Arc<dyn Storage>,
    adapter: AdapterName,
    /// `state_version` of the plugin that runs.
    version: u32,
    now: UnixMillis,
    view: Mutex<Option<Box<dyn StateView>>>,
}

impl StoredState {
    /// For one call of `now`.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Storage>,
        adapter: AdapterName,
        version: u32,
        now: UnixMillis,
    ) -> Self {
        Self { storage, adapter, version, now, view: Mutex::new(None) }
    }
}

impl StateReader for StoredState {
    fn scan(&self, range: &StateRange, limit: usize, reverse: bool) -> Result<Scanned, Unread> {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let view = match &mut *view {
            Some(view) => view,
            none @ None => {
                let opened = self.storage.state(&self.adapter, self.version);
                none.insert(opened.map_err(|_| Unread::Store)?)
            }
        };
        let scan = StateScan { range, limit, reverse, now: self.now };
        view.scan(&scan).map_err(|_| Unread::Store)
    }
}
