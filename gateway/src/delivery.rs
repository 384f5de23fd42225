//! From a stored event to a destination, at least once.
//!
//! The actors: a *service* keeps one worker a configured destination and follows the
//! configuration; a *worker* leases what is due, makes attempts and records how each ended; a
//! *destination* (`destinations/`) knows one protocol; the *schedule* (`retry`) decides, without
//! clock or storage, what follows a failure; *retirement* gives up what is owed to destinations that
//! are configured no longer, after a while.
//!
//! Workers are reconcilers over the table of deliveries. They remember nothing between two looks,
//! so a crash loses nothing: what was leased comes back when its lease ends. A nudge saves latency
//! and is never needed. Leases and fences keep attempts apart; they are not needed for correctness
//! either, since a destination must expect an event twice and can tell by its id. One destination
//! gets each event exactly once: another adapter, whose state lies in the same store, so that the
//! attempt's record and what the adapter makes of the event are one commit.
//!
//! Invariants: an event whose SHA-256 does not hold is never sent; no redirect is followed and no
//! proxy of the environment used; a name is dialled only at addresses that were judged; nothing is
//! sent unsigned where a signing secret is configured; no URL, payload or secret is logged.

mod address;
mod attempt;
mod batch;
pub mod cloudevent;
mod destinations;
mod keeper;
mod lookups;
mod queue;
mod report;
mod resolver;
mod retirement;
pub mod retry;
pub mod signature;
#[cfg(test)]
pub(crate) mod testing;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

pub use attempt::{AttemptError, Verdict};
pub use destinations::{HttpDestination, InvalidDestination};

use self::lookups::Lookups;
use self::retirement::Retirement;
use crate::model::{Clock, DestinationName};
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::WorkerPanicked;

/// Delivers what is due to every destination of the configuration in force.
#[derive(Debug)]
pub struct DeliveryService {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    current: Arc<ArcSwap<Snapshot>>,
    swapped: Arc<Notify>,
    calls: Arc<Semaphore>,
    lookups: Arc<Lookups>,
}

impl DeliveryService {
    /// `swapped`: notified of one after each swap of `current`. `calls`: bounds the adapter calls at
    /// once, those of ingest among them.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        current: Arc<ArcSwap<Snapshot>>,
        swapped: Arc<Notify>,
        calls: Arc<Semaphore>,
    ) -> Self {
        Self { storage, clock, current, swapped, calls, lookups: Arc::default() }
    }

    /// Runs until `shutdown`, then stops leasing and returns when the attempts under way have
    /// ended (each within its destination's timeout) and are recorded.
    ///
    /// Dropping the returned future aborts them; their leases end and they are made again.
    pub async fn run(self, shutdown: CancellationToken) {
        let (generation, told) = watch::channel(self.current.load().generation);
        // Side by side: a reload is taken up however much there is to retire.
        let retirement = Retirement::new(Arc::clone(&self.storage), Arc::clone(&self.current));
        tokio::join!(self.keep(generation, &shutdown), retirement.run(told, &shutdown));
    }

    /// Sees to it that every configured destination has a keeper, and that each hears of reloads.
    async fn keep(&self, generation: watch::Sender<u64>, shutdown: &CancellationToken) {
        let mut keepers = JoinSet::new();
        let mut kept: HashMap<Id, DestinationName> = HashMap::new();
        while !shutdown.is_cancelled() {
            let snapshot = self.current.load_full();
            generation.send_if_modified(|told| {
                std::mem::replace(told, snapshot.generation) != snapshot.generation
            });
            for name in snapshot.config.destinations.keys() {
                if !kept.values().any(|kept| kept == name) {
                    let keeper = self.keeper(name.clone(), generation.subscribe());
                    let handle = keepers.spawn(keeper.run(shutdown.clone()));
                    kept.insert(handle.id(), name.clone());
                }
            }
            // Not held while waiting: a snapshot that serves no more is to be freed.
            drop(snapshot);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                Some(ended) = keepers.join_next_with_id() => forget(ended, &mut kept),
                () = self.swapped.notified() => {}
            }
        }
        while let Some(ended) = keepers.join_next_with_id().await {
            forget(ended, &mut kept);
        }
    }

    fn keeper(&self, name: DestinationName, generation: watch::Receiver<u64>) -> keeper::Keeper {
        keeper::Keeper {
            storage: Arc::clone(&self.storage),
            clock: Arc::clone(&self.clock),
            current: Arc::clone(&self.current),
            calls: Arc::clone(&self.calls),
            lookups: Arc::clone(&self.lookups),
            generation,
            name,
            gone: Arc::default(),
        }
    }
}

/// Takes in a keeper's end: it is started again at the next look if its destination is configured.
fn forget(
    ended: Result<(Id, ()), tokio::task::JoinError>,
    kept: &mut HashMap<Id, DestinationName>,
) {
    let (id, panicked) = match ended {
        Ok((id, ())) => (id, false),
        Err(error) => (error.id(), error.is_panic()),
    };
    if let Some(destination) = kept.remove(&id)
        && panicked
    {
        WorkerPanicked { destination: &destination }.emit();
    }
}

/// A number from 0.0 to 1.0 for jitter: spread evenly, of no cryptographic use.
fn random_unit() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};

    // Each state has keys of its own, seeded by the system once a thread.
    let random = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
