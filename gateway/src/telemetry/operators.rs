//! Happenings that an operator asked for.

use metrics::counter;

use super::Happening;
use crate::model::{RequestId, RouteName};

/// An operator set the switch of a route, or took it away.
#[derive(Debug)]
pub struct RouteSwitched<'a> {
    pub route: &'a RouteName,
    /// `pause`, `resume` or `follow-config`.
    pub to: &'static str,
    /// What the route is now.
    pub paused: bool,
}

impl Happening for RouteSwitched<'_> {
    fn emit(self) {
        let (route, to, paused) = (self.route.as_str(), self.to, self.paused);
        tracing::info!(route, to, paused, "A route was switched.");
        counter!("sluice_route_switches_total", "route" => route.to_owned(), "to" => to)
            .increment(1);
    }
}

/// A refused request was verified again.
#[derive(Debug)]
pub struct VerifiedAgain<'a> {
    pub id: RequestId,
    pub route: &'a RouteName,
    /// A disposition; `rejected`: it is refused still.
    pub disposition: &'static str,
}

impl Happening for VerifiedAgain<'_> {
    fn emit(self) {
        let (route, disposition) = (self.route.as_str(), self.disposition);
        tracing::info!(request = %self.id, route, disposition, "A request was verified again.");
        counter!(
            "sluice_verified_again_total",
            "route" => route.to_owned(), "disposition" => disposition
        )
        .increment(1);
    }
}
