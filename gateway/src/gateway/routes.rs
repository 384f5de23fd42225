//! The routes in force as the admin side wants to see and to switch them.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::admin::{RouteSummary, RouteSwitchView, Routes, Switch};
use crate::config::{RouteConfig, RoutePath};
use crate::ingest::PauseSwitches;
use crate::model::{Clock, RouteName, RouteSwitch};
use crate::snapshot::Snapshot;
use crate::storage::StorageFuture;
use crate::telemetry::Happening as _;
use crate::telemetry::operators::RouteSwitched;

/// What [`Routes`] answers from.
#[derive(Debug)]
pub(super) struct RoutesInForce {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) switches: Arc<PauseSwitches>,
    pub(super) clock: Arc<dyn Clock>,
}

impl RoutesInForce {
    fn summary(&self, route: &RouteConfig) -> RouteSummary {
        let switch = self.switches.of(&route.name);
        RouteSummary {
            name: route.name.clone(),
            path: match &route.path {
                RoutePath::Exact(path) => path.clone(),
                RoutePath::Token { prefix, suffix } => format!("{prefix}{{token}}{suffix}"),
            },
            adapter: route.adapter.clone(),
            paused: switch.map_or(route.paused, |switch| switch.paused),
            paused_in_config: route.paused,
            switch: switch.map(|RouteSwitch { paused, since }| RouteSwitchView { paused, since }),
        }
    }
}

impl Routes for RoutesInForce {
    fn list(&self) -> Vec<RouteSummary> {
        let config = Arc::clone(&self.snapshot.load().config);
        config.routes.values().map(|route| self.summary(route)).collect()
    }

    fn switch(&self, name: RouteName, to: Switch) -> StorageFuture<'_, Option<RouteSummary>> {
        Box::pin(async move {
            let config = Arc::clone(&self.snapshot.load().config);
            let Some(route) = config.routes.get(&name) else { return Ok(None) };
            let since = self.clock.now();
            let switch = match to {
                Switch::Pause => Some(RouteSwitch { paused: true, since }),
                Switch::Resume => Some(RouteSwitch { paused: false, since }),
                Switch::FollowConfig => None,
            };
            self.switches.set(&name, switch).await?;
            let summary = self.summary(route);
            RouteSwitched { route: &name, to: to.as_str(), paused: summary.paused }.emit();
            Ok(Some(summary))
        })
    }
}
