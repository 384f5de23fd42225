//! The adapters in force as the admin side wants to see and to ask them.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::adapter::{Cause, OtherCall, StateReader, ViewEnd};
use crate::admin::{AdapterSummary, Adapters};
use crate::model::{AdapterName, Clock, RequestId};
use crate::reading::{StoredKeys, StoredState};
use crate::snapshot::Snapshot;
use crate::storage::Storage;

/// What [`Adapters`] answers from.
#[derive(Debug)]
pub(super) struct AdaptersInForce {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Adapters for AdaptersInForce {
    fn list(&self) -> Vec<AdapterSummary> {
        let snapshot = self.snapshot.load();
        let summary = |config: &crate::config::AdapterConfig| {
            let adapter = snapshot.adapters.get(&config.name);
            let description = adapter.map(|adapter| &*adapter.description);
            let routes = snapshot.config.routes.values();
            AdapterSummary {
                name: config.name.clone(),
                plugin: config.plugin.name.clone(),
                serving: adapter.is_some(),
                version: adapter.map(|adapter| adapter.version.version.clone()),
                digest: adapter.map(|adapter| adapter.version.digest.clone()),
                routes: routes
                    .filter(|route| route.adapter == config.name)
                    .map(|route| route.name.clone())
                    .collect(),
                state_version: description.and_then(|description| description.state_version),
                consumes: description
                    .map(|it| it.consumed_types(&config.settings))
                    .unwrap_or_default(),
                views: description.map(|it| it.views.clone()).unwrap_or_default(),
                facts: description.map(|it| it.facts.clone()).unwrap_or_default(),
            }
        };
        snapshot.config.adapters.values().map(summary).collect()
    }

    fn view(&self, name: &AdapterName, view: &str, parameters: &str) -> Option<ViewEnd> {
        let adapter = Arc::clone(self.snapshot.load().adapters.get(name)?);
        let now = self.clock.now();
        let state = adapter.description.state_version.map(|version| {
            let storage = Arc::clone(&self.storage);
            Arc::new(StoredState::new(storage, name.clone(), version, now)) as Arc<dyn StateReader>
        });
        let seen = StoredKeys {
            storage: Arc::clone(&self.storage),
            route: None,
            adapter: name.clone(),
            now,
        };
        let call = OtherCall {
            cause: Cause::Live,
            adapter: name.clone(),
            id: RequestId::new(now),
            now,
            seen: Arc::new(seen),
            state,
        };
        Some(adapter.view(call, view, parameters))
    }
}
