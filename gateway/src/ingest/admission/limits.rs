//! Rate limits: one for each client of a route, and one for the route as a whole.
//!
//! A limit is a bucket of as many places as its burst, which fill up again one by one: `50/min`
//! lets 50 requests in at once, and then one every 1.2 s. Times are those of a clock that never
//! jumps, whatever becomes of the wall's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, Reference as _};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{NotUntil, Quota, RateLimiter};

use super::super::client::network;
use super::bucket::{Rescale, Single};
use super::clients::Clients;
use crate::config::{LimitsConfig, Rate};

/// Time since the limiters were made.
#[derive(Clone, Debug)]
pub(in crate::ingest) struct Ticks(Instant);

impl Default for Ticks {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// What a request finds left of a limit that let it in, itself taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) rate: Rate,
    /// Requests that would be let in right now.
    pub(super) remaining: u32,
    /// When that many are the whole burst again, at the latest.
    pub(super) full_in: Duration,
}

/// A limit that is used up, until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsedUp {
    pub(super) rate: Rate,
    /// Never zero. Who waits so long is let in, unless another took the place.
    pub(super) wait: Duration,
}

/// The limits of one route, with what was used of them.
#[derive(Debug)]
pub(in crate::ingest) struct RouteLimits<C: Clock<Instant = Nanos> + Clone = Ticks> {
    pub(super) config: LimitsConfig,
    clock: C,
    client: Option<Limit<Shared<Clients<C>>, u64, C>>,
    route: Option<Limit<Shared<Single>, NotKeyed, C>>,
}

#[derive(Debug)]
struct Limit<S: StateStore<Key = K>, K, C: Clock<Instant = Nanos>> {
    rate: Rate,
    limiter: RateLimiter<K, S, C, StateInformationMiddleware>,
    store: S,
    /// When the limiter was made: its store counts from then.
    start: Nanos,
}

/// What a limiter stores its state in, held by us as well.
#[derive(Debug)]
struct Shared<S>(Arc<S>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: StateStore> StateStore for Shared<S> {
    type Key = S::Key;

    fn measure_and_replace<T, F, E>(&self, key: &S::Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

impl<C: Clock<Instant = Nanos> + Clone> RouteLimits<C> {
    /// `None` where there is no limit. `before`: the limits that these follow on; what was used of
    /// them is used of these.
    pub(super) fn new(config: &LimitsConfig, clock: &C, before: Option<&Self>) -> Option<Self> {
        if config.per_client.is_none() && config.per_route.is_none() {
            return None;
        }
        let now = clock.now();
        let client = config.per_client.map(|rate| {
            let before = before.and_then(|before| before.client.as_ref());
            let clients = before.map_or_else(
                || Clients::new(clock.clone()),
                |before| before.store.0.rescaled(before.to(rate, now)),
            );
            Limit::new(rate, Shared(Arc::new(clients)), clock)
        });
        let route = config.per_route.map(|rate| {
            let before = before.and_then(|before| before.route.as_ref());
            let full_at =
                before.map_or(0, |before| before.to(rate, now).apply(before.store.0.get()));
            Limit::new(rate, Shared(Arc::new(Single::new(full_at))), clock)
        });
        Some(Self { config: config.clone(), clock: clock.clone(), client, route })
    }

    /// Takes a request off the client's allowance. `None` where clients have none.
    pub(super) fn charge_client(&self, client: IpAddr) -> Option<Result<Left, UsedUp>> {
        let limit = self.client.as_ref()?;
        Some(limit.told(limit.limiter.check_key(&network(client)), &self.clock))
    }

    /// Takes a request off the route's allowance. `None` where it has none.
    pub(super) fn charge_route(&self) -> Option<Result<Left, UsedUp>> {
        let limit = self.route.as_ref()?;
        Some(limit.told(limit.limiter.check(), &self.clock))
    }
}

impl<S: StateStore<Key = K> + Clone, K, C: Clock<Instant = Nanos> + Clone> Limit<S, K, C> {
    fn new(rate: Rate, store: S, clock: &C) -> Self {
        let start = clock.now();
        // An interval is never zero: at most a million come in a second.
        let quota = Quota::with_period(rate.interval().max(Duration::from_nanos(1)))
            .unwrap_or_else(|| Quota::per_second(rate.burst))
            .allow_burst(rate.burst);
        let limiter = RateLimiter::new(quota, store.clone(), clock.clone());
        Self { rate, limiter, store, start }
    }

    /// From this limit to one of another rate that is made now.
    fn to(&self, rate: Rate, now: Nanos) -> Rescale {
        Rescale { from: self.rate, to: rate, start: now.duration_since(self.start).into() }
    }

    fn told(
        &self,
        decided: Result<StateSnapshot, NotUntil<Nanos>>,
        clock: &C,
    ) -> Result<Left, UsedUp> {
        let rate = self.rate;
        match decided {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = rate.burst.get().saturating_sub(remaining);
                Ok(Left { rate, remaining, full_in: rate.interval() * used })
            }
            Err(not_until) => {
                let wait = not_until.wait_time_from(clock.now()).max(Duration::from_nanos(1));
                Err(UsedUp { rate, wait })
            }
        }
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
