//! One destination's end of the table of deliveries.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{AttemptRecord, Clock, DestinationName, LeasedDelivery};
use crate::storage::{Storage, StorageError};
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::StorageRefused;

/// Longest wait without looking: what bounds the delay when a nudge was missed.
const POLL_MAX: Duration = Duration::from_secs(10);

/// Shortest wait after a look that found nothing, so that a delivery that is due but leased by
/// somebody else is looked for 20 times a second and not in a tight loop.
const POLL_MIN: Duration = Duration::from_millis(50);

/// Wait after storage refused: long enough not to add to its trouble.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What one destination is owed. Everything here is a question to storage: nothing is remembered,
/// so nothing can be lost.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) destination: DestinationName,
    nudges: watch::Receiver<u64>,
}

/// What a look at the table found.
#[derive(Debug)]
pub(super) enum Found {
    /// Leased; `more` where others may be due as well.
    Leased { deliveries: Vec<LeasedDelivery>, more: bool },
    /// Storage is closed, or failed for good: nothing will ever be found again.
    Closed,
}

impl Queue {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        destination: DestinationName,
    ) -> Self {
        let nudges = storage.nudges(&destination);
        Self { storage, clock, destination, nudges }
    }

    /// Leases up to `limit` due deliveries for `lease`. Where storage refuses for now, waits a
    /// little and finds none.
    pub(super) async fn lease(&mut self, limit: usize, lease: Duration) -> Found {
        let (_, found) = self.turn(Vec::new(), limit, lease).await;
        found
    }

    /// [`Self::record`] and [`Self::lease`] at once, so that both share one commit.
    pub(super) async fn turn(
        &mut self,
        ended: Vec<AttemptRecord>,
        limit: usize,
        lease: Duration,
    ) -> (Vec<AttemptRecord>, Found) {
        // Before the look, not after: a nudge that comes during it must wake the next wait.
        self.nudges.borrow_and_update();
        let leased = self.storage.lease(&self.destination, limit, lease);
        let (unrecorded, leased) = tokio::join!(self.record(ended), leased);
        let found = match leased {
            Ok(deliveries) => {
                let more = deliveries.len() >= limit;
                Found::Leased { deliveries, more }
            }
            Err(error) if is_final(&error) => Found::Closed,
            Err(error) => {
                StorageRefused { destination: &self.destination, error: &error }.emit();
                tokio::time::sleep(REFUSED_PAUSE).await;
                Found::Leased { deliveries: Vec::new(), more: false }
            }
        };
        (unrecorded, found)
    }

    /// Waits until something may be due. Cancel safe: it only looks.
    pub(super) async fn due(&mut self) {
        let wait = match self.storage.next_due(&self.destination).await {
            Ok(Some(at)) => at.since(self.clock.now()).clamp(POLL_MIN, POLL_MAX),
            Ok(None) => POLL_MAX,
            Err(_) => REFUSED_PAUSE,
        };
        tokio::select! {
            biased;
            // The sender is gone with its storage: what is left is the wait.
            Ok(()) = self.nudges.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Records attempts. What could not be recorded is handed back, to be tried again: until then
    /// nobody else attempts it, and after its lease the fence refuses it.
    pub(super) async fn record(&self, attempts: Vec<AttemptRecord>) -> Vec<AttemptRecord> {
        if attempts.is_empty() {
            return attempts;
        }
        match self.storage.record(attempts.clone()).await {
            Ok(_) => Vec::new(),
            Err(error) if is_final(&error) => Vec::new(),
            Err(error) => {
                StorageRefused { destination: &self.destination, error: &error }.emit();
                attempts
            }
        }
    }
}

const fn is_final(error: &StorageError) -> bool {
    match error {
        StorageError::Fatal { .. } | StorageError::Closed => true,
        StorageError::Full | StorageError::Busy | StorageError::Failed { .. } => false,
    }
}
