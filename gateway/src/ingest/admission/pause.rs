//! Routes that are paused: by the configuration, or by an operator's switch, which is stronger.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use crate::config::RouteConfig;
use crate::model::{RouteName, RouteSwitch};
use crate::storage::{Storage, StorageError};

/// The switches of routes, as they are stored.
///
/// Before they have been read ([`Self::refresh`]) nobody can know whether a route is paused.
#[derive(Debug)]
pub struct PauseSwitches {
    storage: Arc<dyn Storage>,
    /// Absent until they have been read.
    in_force: ArcSwapOption<BTreeMap<RouteName, RouteSwitch>>,
    /// Held from a change of the store to that of `in_force`: no two may pass each other.
    changing: Mutex<()>,
}

impl PauseSwitches {
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, in_force: ArcSwapOption::empty(), changing: Mutex::default() }
    }

    /// Takes up what is stored: by another gateway, or by a change that was given up half-way.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read; then what was in force stays.
    pub async fn refresh(&self) -> Result<(), StorageError> {
        let _changing = self.changing.lock().await;
        self.read().await
    }

    /// A route's switch, where it is set.
    #[must_use]
    pub fn of(&self, route: &RouteName) -> Option<RouteSwitch> {
        self.in_force.load().as_ref()?.get(route).copied()
    }

    /// Sets a route's switch, or takes it away. In force when it returns, and after a restart.
    ///
    /// # Errors
    ///
    /// Where it cannot be stored; then it is not in force.
    pub async fn set(
        &self,
        route: &RouteName,
        switch: Option<RouteSwitch>,
    ) -> Result<(), StorageError> {
        let _changing = self.changing.lock().await;
        self.storage.set_route_switch(route.clone(), switch).await?;
        let Some(in_force) = self.in_force.load_full() else { return self.read().await };
        let mut switches = BTreeMap::clone(&in_force);
        match switch {
            Some(switch) => drop(switches.insert(route.clone(), switch)),
            None => drop(switches.remove(route)),
        }
        self.in_force.store(Some(Arc::new(switches)));
        Ok(())
    }

    /// Whether the route is paused.
    pub(in crate::ingest) async fn is_paused(
        &self,
        route: &RouteConfig,
    ) -> Result<bool, StorageError> {
        if self.in_force.load().is_none() {
            self.refresh().await?;
        }
        Ok(self.of(&route.name).map_or(route.paused, |switch| switch.paused))
    }

    async fn read(&self) -> Result<(), StorageError> {
        let stored = self.storage.route_switches().await?;
        self.in_force.store(Some(Arc::new(stored.into_iter().collect())));
        Ok(())
    }
}
