//! What runs beside the traffic: retention, switches that were set elsewhere, and state that could
//! not be granted at the start.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::ingest::PauseSwitches;
use crate::snapshot::{Snapshot, claim_state};
use crate::storage::{Claiming, Storage};
use crate::telemetry::chain;

/// How often storage is asked to delete what is too old. Each sweep goes in small steps.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// What it works with.
pub(super) struct Upkeep {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) switches: Arc<PauseSwitches>,
    /// Whether adapters have been granted their state: a full disk may have kept the start from it.
    pub(super) claimed: bool,
}

impl Upkeep {
    /// Runs until `shutdown`.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is due at once, and start-up has better to do.
        ticks.tick().await;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // Giving up waiting is safe: each step is a transaction of its own.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.once() => {}
            }
        }
    }

    async fn once(&mut self) {
        if !self.claimed {
            self.claim().await;
        }
        if let Err(error) = self.switches.refresh().await {
            tracing::warn!(error = %chain(&error), "The switches of routes could not be read.");
        }
        let retention = self.snapshot.load().config.storage.retention;
        match self.storage.sweep(retention).await {
            Ok(0) => {}
            Ok(requests) => tracing::info!(requests, "Requests past their retention were deleted."),
            Err(error) => tracing::warn!(error = %chain(&error), "Retention could not be applied."),
        }
    }

    async fn claim(&mut self) {
        let snapshot = self.snapshot.load_full();
        match claim_state(&snapshot, &*self.storage, Claiming::Grant).await {
            Ok(Ok(())) => self.claimed = true,
            Ok(Err(problems)) => {
                tracing::error!(error = %problems, "Adapters were not granted their state.");
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "Adapters were not granted their state.");
            }
        }
    }
}
