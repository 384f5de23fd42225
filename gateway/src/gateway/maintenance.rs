//! What runs beside the traffic: retention.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::telemetry::chain;

/// How often storage is asked to delete what is too old. Each sweep goes in small steps.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Runs until `shutdown`.
pub(super) async fn run(
    storage: Arc<dyn Storage>,
    current: Arc<ArcSwap<Snapshot>>,
    shutdown: CancellationToken,
) {
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
        let retention = current.load().config.storage.retention;
        // Giving up waiting is safe: each step is a transaction of its own.
        let swept = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            swept = storage.sweep(retention) => swept,
        };
        match swept {
            Ok(0) => {}
            Ok(requests) => tracing::info!(requests, "Requests past their retention were deleted."),
            Err(error) => tracing::warn!(error = %chain(&error), "Retention could not be applied."),
        }
    }
}
