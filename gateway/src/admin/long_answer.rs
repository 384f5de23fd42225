//! How long a connection may live, and the answers that may take longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One connection, from its first byte to its last. A stuck reader must not hold its place for
/// ever; whoever is served longer connects again.
pub(super) const CONNECTION_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The same, where a backup is served or state imported: what a large store takes on a slow line.
const LONG_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How often it is looked whether a long answer is still under way.
const LONG_LOOK: Duration = Duration::from_secs(1);

/// Whether an answer of a connection may take long, and is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct LongAnswer(Arc<AtomicBool>);

/// A long answer is under way until this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(LongAnswer);

impl LongAnswer {
    pub(super) fn begin(self) -> UnderWay {
        self.0.store(true, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Ends when the connection has lived long enough.
    pub(super) async fn lifetime(&self) {
        tokio::time::sleep(CONNECTION_LIFETIME).await;
        let longer = async {
            while self.0.load(Ordering::Relaxed) {
                tokio::time::sleep(LONG_LOOK).await;
            }
        };
        // Either way it has.
        drop(tokio::time::timeout(LONG_LIFETIME, longer).await);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}
