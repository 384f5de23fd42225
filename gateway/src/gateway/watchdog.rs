//! Tells the service manager that the gateway is alive, for as long as it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::ingest::Listeners;
use crate::service_manager;
use crate::storage::Storage;

/// What has to be alive.
pub(super) struct Watchdog {
    pub(super) ingest: Listeners,
    pub(super) storage: Arc<dyn Storage>,
}

impl Watchdog {
    /// Runs until `shutdown`. Three times in each `period` it asks ingest and the writer of storage,
    /// and only where both answer in time is anything told: who hangs is restarted.
    pub(super) async fn run(self, period: Duration, shutdown: CancellationToken) {
        let pause = period / 3;
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let asked = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                asked = timeout(pause, self.ask()) => asked,
            };
            match asked {
                Ok(true) => service_manager::tell_alive(),
                Ok(false) => tracing::error!("Storage answers no more: the watchdog is not told."),
                Err(_) => {
                    tracing::error!("Ingest or storage hangs: the watchdog is not told.");
                }
            }
        }
    }

    async fn ask(&self) -> bool {
        let (_, storage) = tokio::join!(self.ingest.is_alive(), self.storage.answers());
        storage.is_ok()
    }
}
