//! How connections end.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::occupants::Occupant;
use super::phase::Deadlines;
use crate::telemetry::Happening as _;
use crate::telemetry::ingest::ConnectionPanicked;

/// How long after the call to stop the listener still accepts, and a connection still takes
/// requests: those that were on their way are served and not reset.
pub(super) const LAST_CALL: Duration = Duration::from_millis(100);

/// What ends a connection, beside its peer.
pub(super) struct Ends {
    pub(super) deadlines: Deadlines,
    pub(super) stopping: CancellationToken,
    /// Told when it is to make room.
    pub(super) occupant: Arc<Occupant>,
}

/// Why a connection ended that made room.
pub(super) const DISPLACED: &str = "displaced";

/// Until a while after the call to stop.
pub(super) async fn last_call(stopping: &CancellationToken) {
    stopping.cancelled().await;
    sleep(LAST_CALL).await;
}

/// Tells of a task that panicked.
pub(super) fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        ConnectionPanicked { error: &error }.emit();
    }
}
