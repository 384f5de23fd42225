//! The limits of all routes. They belong to no snapshot: what was used stays used when the
//! configuration is taken up anew.

use std::collections::HashMap;
use std::sync::Arc;

use super::limits::{RouteLimits, Ticks};
use crate::config::RouteConfig;
use crate::model::RouteName;

/// By route, of those that have limits.
pub(in crate::ingest) type LimitsByRoute = HashMap<RouteName, Arc<RouteLimits>>;

/// The limits in force.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Limiters {
    clock: Ticks,
    in_force: LimitsByRoute,
}

impl Limiters {
    /// The limits of these routes. Where a route's are what they were, they are the same ones;
    /// where they are others, what was used of the old ones counts for them.
    pub(in crate::ingest) fn take_up<'r>(
        &mut self,
        routes: impl Iterator<Item = &'r RouteConfig>,
    ) -> LimitsByRoute {
        let limits = routes.filter_map(|route| {
            let before = self.in_force.get(&route.name);
            let limits = match before.filter(|before| before.config == route.limits) {
                Some(before) => Arc::clone(before),
                None => {
                    let before = before.map(|before| &**before);
                    Arc::new(RouteLimits::new(&route.limits, &self.clock, before)?)
                }
            };
            Some((route.name.clone(), limits))
        });
        let limits: LimitsByRoute = limits.collect();
        self.in_force.clone_from(&limits);
        limits
    }
}
