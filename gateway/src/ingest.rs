//! From a connection to an answer.
//!
//! A request passes, in this order: the connection's deadlines (`connection`, `phase`), the bound
//! of requests in flight, the strict layer (`strict`), its route (`route`), admission (`admission`),
//! the size and reading of its body (`body`, within the client's share), masking, the adapter call
//! and the commit (`call`). Every step can end it, and where it ends decides what the sender gets
//! (`answer`) and what the operator sees (`refused`, `telemetry::ingest`).
//!
//! Invariants:
//! - 2xx is answered only after the commit it reports, or with the paused answer of a route.
//! - An outcome is stored only if the host itself found the request verified.
//! - A request uses one snapshot from its head to its answer.
//! - An unknown path and a wrong path token are answered with the same bytes.
//! - A sender is told a status; never why, and nothing of what is inside.
//! - Every connection, body, queue and wait has a bound, and no task outlives [`Ingest::run`].
//! - Nothing here knows of destinations beyond their names.

mod admission;
mod again;
mod answer;
mod body;
mod bound;
mod call;
mod client;
mod connection;
mod descriptors;
mod diagnose;
mod door;
mod ends;
mod handler;
mod head;
mod http2;
mod listener;
mod occupants;
mod phase;
mod refused;
mod route;
mod settle;
mod socket;
mod strict;
mod supervise;
mod unjudged;
mod wire;

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

pub use self::admission::PauseSwitches;
use self::admission::{Bodies, Load};
pub use self::again::{Again, Reverifier};
use self::bound::{Bound, Count};
use self::descriptors::connections_max;
pub(crate) use self::descriptors::raise_limit;
pub(crate) use self::door::set_access;
pub use self::listener::Listener;
use self::occupants::Occupants;
pub use self::refused::{
    RING_BODY_BYTES_MAX, RING_BYTES_MAX, RING_ENTRIES_MAX, RefusedFilter, RefusedRequest,
    RefusedRing,
};
use self::route::Routing;
use self::supervise::Ask;
pub use self::supervise::Listeners;
use self::unjudged::Unjudged;
use crate::config::IngestConfig;
use crate::model::Clock;
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::telemetry::ingest::{Budget, Gauges, RequestMeter, RequestTimes};

/// What ingest works with.
#[derive(Debug)]
pub struct Parts {
    /// Swapped at a reload. A connection keeps the deadlines that it began with; all else follows
    /// the current one.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub storage: Arc<dyn Storage>,
    pub clock: Arc<dyn Clock>,
    pub ring: Arc<RefusedRing>,
    pub switches: Arc<PauseSwitches>,
    /// Bounds the adapter calls at once ([`crate::adapter::SandboxLimits::calls_in_flight_max`]), those
    /// of delivery among them.
    pub calls: Arc<Semaphore>,
}

/// The listeners for providers with all that they need, before they run.
#[derive(Debug)]
pub struct Ingest {
    first: Vec<Listener>,
    shared: Arc<Shared>,
    set: Listeners,
    asks: mpsc::Receiver<Ask>,
}

/// What a drain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had not ended by the deadline and were cut off.
    pub connections_left: usize,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    routing: Routing,
    source: Arc<ArcSwap<Snapshot>>,
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    ring: Arc<RefusedRing>,
    switches: Arc<PauseSwitches>,
    connections: Arc<Bound>,
    occupants: Arc<Occupants>,
    in_flight: Count,
    /// Those in flight whose bodies are awaited.
    bodies: Bodies,
    load: Load,
    protocol: http1::Builder,
    gauges: Gauges,
    request_times: RequestTimes,
    /// Of requests without a route.
    unrouted: RequestMeter,
    log_budget: Budget,
    /// Of what came to no route.
    unjudged: Unjudged,
    /// Of signatures that other routes' keys are tried on.
    trials: Budget,
    signatures: diagnose::Signatures,
}

impl Ingest {
    /// Puts the parts together. The recorder of metrics must have been installed before.
    #[must_use]
    pub fn new(first: Vec<Listener>, parts: Parts) -> Self {
        let Parts { snapshot, storage, clock, ring, switches, calls } = parts;
        let connections =
            Bound::new(connections_max(snapshot.load().config.ingest.connections_max));
        let shared = Shared {
            routing: Routing::new(Arc::clone(&snapshot)),
            source: snapshot,
            storage,
            clock,
            ring,
            switches,
            connections: Arc::new(connections),
            occupants: Arc::default(),
            in_flight: Count::default(),
            bodies: Bodies::default(),
            load: Load::new(calls),
            protocol: connection::protocol(),
            gauges: Gauges::default(),
            request_times: RequestTimes::default(),
            unrouted: RequestMeter::new(None),
            log_budget: Budget::lines(),
            unjudged: Unjudged::default(),
            trials: Budget::new(diagnose::TRIALS_PER_SECOND),
            signatures: diagnose::Signatures::default(),
        };
        let (set, asks) = Listeners::new();
        Self { first, shared: Arc::new(shared), set, asks }
    }

    /// What changes the listeners while they run.
    #[must_use]
    pub fn listeners(&self) -> Listeners {
        self.set.clone()
    }

    /// What verifies refused requests again, by calls on the current runtime.
    #[must_use]
    pub fn reverifier(&self) -> Reverifier {
        Reverifier::new(Arc::clone(&self.shared), tokio::runtime::Handle::current())
    }

    /// Serves until `shutdown`, then finishes what was started, at most for `ingest.drain`.
    ///
    /// Everything it started has ended when it returns. Dropping it cuts all connections off; a
    /// commit that storage was given is finished all the same.
    pub async fn run(self, shutdown: CancellationToken) -> Drained {
        supervise::run(self, shutdown).await
    }
}

impl Shared {
    fn ingest_config(&self) -> IngestConfig {
        self.source.load().config.ingest.clone()
    }

    /// Lets go of the snapshot before the current one, and takes up its bounds.
    fn take_up(&self) {
        self.routing.current();
        let configured = self.source.load().config.ingest.connections_max;
        self.connections.resize(connections_max(configured));
    }
}
