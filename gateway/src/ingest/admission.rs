//! Who is let in: what stands between a request's route and its adapter.
//!
//! In this order, once the path is known to be right: the route's allow-list, the client's limit,
//! which is charged, and the switch that pauses the route. The route's own limit comes after the
//! call, and only what was found verified is charged to it: so a stranger with a wrong secret can
//! use up what is theirs, and never what is the provider's.
//!
//! Before all of that stands the bound of requests in flight, before a body that did not come with
//! its head the client's share of them (`bodies`), and before the call its turn (`load`).
//!
//! Nothing here knows an adapter, and only the switches know storage. What is set or counted here
//! belongs to no snapshot, so a reload loses none of it. A route without limits costs one look at
//! an empty option.

mod bodies;
mod bucket;
mod clients;
mod limiters;
mod limits;
mod load;
mod pause;

use std::sync::OnceLock;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderValue, StatusCode};

pub(super) use bodies::{Bodies, Share, Unfinished};
pub(super) use limiters::{Limiters, LimitsByRoute};
pub(super) use limits::RouteLimits;
use limits::{Left, UsedUp};
pub(super) use load::{Load, Turn};
pub use pause::PauseSwitches;

use super::answer::{HttpAnswer, Refusal};
use super::client::ClientAddress;
use crate::config::{Rate, RouteConfig};
use crate::model::Diagnosis;

/// The names of the limits in answers: `draft-ietf-httpapi-ratelimit-headers`.
const CLIENT_POLICY: &str = "client";
const ROUTE_POLICY: &str = "route";

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Whether a request goes on to its adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Open,
    Paused,
}

/// One request's dealings with the limits of its route.
#[derive(Debug)]
pub(super) struct Charged<'r> {
    limits: Option<&'r RouteLimits>,
    client: Option<Result<Left, UsedUp>>,
    /// Set once it is charged to the route: a call that runs again is not charged again.
    route: OnceLock<Option<Result<Left, UsedUp>>>,
}

/// Lets a request in, or not.
pub(super) async fn admit<'r>(
    route: &RouteConfig,
    limits: Option<&'r RouteLimits>,
    client: ClientAddress,
    switches: &PauseSwitches,
) -> (Charged<'r>, Result<Entry, Refusal>) {
    let mut charged = Charged { limits, client: None, route: OnceLock::new() };
    if !route.allow_from.allows(client.ip()) {
        let detail = "the client's address is not in the route's `allow_from`";
        let refusal = Refusal::new(StatusCode::FORBIDDEN, Diagnosis::ADDRESS_NOT_ALLOWED, detail);
        return (charged, Err(refusal));
    }
    charged.client = limits.and_then(|limits| limits.charge_client(client.ip()));
    if let Some(Err(used_up)) = charged.client {
        return (charged, Err(too_many(used_up, "the client's limit")));
    }
    let entry = match switches.is_paused(route).await {
        Ok(false) => Ok(Entry::Open),
        Ok(true) => Ok(Entry::Paused),
        Err(error) => Err(Refusal::storage(&error)),
    };
    (charged, entry)
}

impl Charged<'_> {
    /// Of a request that no limit applies to.
    pub(super) const fn not() -> Self {
        Self { limits: None, client: None, route: OnceLock::new() }
    }

    /// Charges the request to its route, once it is known to be verified.
    pub(super) fn charge_route(&self) -> Result<(), Refusal> {
        let charged = self.route.get_or_init(|| self.limits.and_then(RouteLimits::charge_route));
        match charged {
            Some(Err(used_up)) => Err(too_many(*used_up, "the route's limit")),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Tells the sender of the limits, where the route says so.
    pub(super) fn tell(&self, mut answer: HttpAnswer) -> HttpAnswer {
        let Some(limits) = self.limits.filter(|limits| limits.config.headers) else {
            return answer;
        };
        let route = self.route.get().copied().flatten();
        let told = [(CLIENT_POLICY, self.client), (ROUTE_POLICY, route)];
        let left = told.into_iter().filter_map(|(name, told)| Some(item(name, told?)));
        let policies =
            [(CLIENT_POLICY, limits.config.per_client), (ROUTE_POLICY, limits.config.per_route)];
        let policies = policies.into_iter().filter_map(|(name, rate)| Some(policy(name, rate?)));
        let lists =
            [(RATE_LIMIT_POLICY, policies.collect::<Vec<_>>()), (RATE_LIMIT, left.collect())];
        for (name, items) in lists {
            if let Ok(value) = HeaderValue::try_from(items.join(", "))
                && !items.is_empty()
            {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }
}

fn too_many(UsedUp { rate, wait }: UsedUp, what: &str) -> Refusal {
    let detail = format!("{what} of {rate} is used up");
    let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Diagnosis::RATE_LIMITED, detail);
    Refusal { retry_after: Some(u32::try_from(seconds(wait)).unwrap_or(u32::MAX)), ..refusal }
}

fn policy(name: &str, rate: Rate) -> String {
    format!("\"{name}\";q={};w={}", rate.burst, seconds(rate.window()))
}

fn item(name: &str, told: Result<Left, UsedUp>) -> String {
    match told {
        Ok(left) => format!("\"{name}\";r={};t={}", left.remaining, seconds(left.full_in)),
        Err(used_up) => format!("\"{name}\";r=0;t={}", seconds(used_up.wait)),
    }
}

/// Whole seconds, rounded up: after fewer it would be too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
