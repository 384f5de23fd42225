//! Bodies that did not come with their heads: how many of them one client may let us wait for, and
//! all clients together.
//!
//! A request holds a place among those in flight while its body is awaited, and it takes no
//! credentials to send a head. So a client has a share of those places, and a part of them is only
//! for requests that are whole: whoever sends those is served, however many others are slow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::client::network;
use crate::faults::Fault;

/// The part of the requests in flight whose bodies one client may owe: a provider's busiest hour
/// needs a few.
const CLIENT_PART: usize = 8;

/// That many it may owe however few requests may be in flight.
const CLIENT_MIN: usize = 8;

/// The part of the requests in flight that are none of these.
const WHOLE_PART: usize = 4;

/// The bodies that are waited for. Costs nothing for all others.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Bodies(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    /// By client, as limits know it. None is there with nothing.
    by_client: HashMap<u64, usize>,
}

/// What one client may have of them.
#[derive(Clone, Copy, Debug)]
pub(in crate::ingest) struct Share<'b> {
    bodies: &'b Bodies,
    client: IpAddr,
    requests_in_flight_max: usize,
}

/// A body that is waited for, until it is dropped.
#[derive(Debug)]
pub(in crate::ingest) struct Unfinished<'b> {
    bodies: &'b Bodies,
    client: u64,
}

impl<'b> Share<'b> {
    pub(in crate::ingest) const fn new(
        bodies: &'b Bodies,
        client: IpAddr,
        requests_in_flight_max: usize,
    ) -> Self {
        Self { bodies, client, requests_in_flight_max }
    }

    /// One more, if the client may have it.
    pub(in crate::ingest) fn take(self) -> Option<Unfinished<'b>> {
        let (client, max) = (network(self.client), self.requests_in_flight_max);
        let of_client_max = (max / CLIENT_PART).max(CLIENT_MIN);
        let unbounded = Fault::ShareNothing.is_on();
        let mut waiting = self.bodies.lock();
        let of_client = waiting.by_client.get(&client).copied().unwrap_or_default();
        let has_room = of_client < of_client_max && waiting.all < max - max / WHOLE_PART;
        if !has_room && !unbounded {
            return None;
        }
        waiting.all += 1;
        waiting.by_client.insert(client, of_client + 1);
        Some(Unfinished { bodies: self.bodies, client })
    }
}

impl Bodies {
    /// No panic can happen under the lock that leaves it inconsistent, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(in crate::ingest) fn waiting(&self) -> usize {
        let waiting = self.lock();
        assert_eq!(waiting.by_client.values().sum::<usize>(), waiting.all);
        waiting.all
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let mut waiting = self.bodies.lock();
        waiting.all -= 1;
        if let Some(of_client) = waiting.by_client.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                waiting.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken<'b>(bodies: &'b Bodies, client: &str, max: usize) -> Vec<Unfinished<'b>> {
        let share = Share::new(bodies, client.parse().unwrap(), max);
        (0..max).map_while(|_| share.take()).collect()
    }

    #[test]
    fn a_client_owes_an_eighth_and_all_together_three_quarters() {
        let bodies = Bodies::default();
        let clients: Vec<_> =
            (0..7).map(|n| taken(&bodies, &format!("192.0.2.{n}"), 512)).collect();
        let counts: Vec<_> = clients.iter().map(Vec::len).collect();
        assert_eq!(counts, [64, 64, 64, 64, 64, 64, 0]);
        drop(clients);
        assert_eq!(bodies.waiting(), 0);
        assert_eq!(taken(&bodies, "192.0.2.6", 512).len(), 64);
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_network_of_ipv6() {
        let bodies = Bodies::default();
        let _one = taken(&bodies, "2001:db8::1", 512);
        assert_eq!(taken(&bodies, "2001:db8::2", 512).len(), 0);
        assert_eq!(taken(&bodies, "2001:db8:0:1::1", 512).len(), 64);
        let _one = taken(&bodies, "192.0.2.1", 512);
        assert_eq!(taken(&bodies, "::ffff:192.0.2.1", 512).len(), 0);
    }

    #[test]
    fn where_few_requests_may_be_in_flight_some_may_be_unfinished_all_the_same() {
        for (max, of_one) in [(1, 1), (4, 3), (8, 6), (16, 8), (100, 12)] {
            assert_eq!(taken(&Bodies::default(), "192.0.2.1", max).len(), of_one, "{max}");
        }
    }
}
