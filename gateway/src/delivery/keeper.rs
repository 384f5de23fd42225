//! Keeps one destination's worker at work through reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::batch::BatchWorker;
use super::destinations::{AdapterDestination, HttpDestination};
use super::lookups::Lookups;
use super::queue::Queue;
use super::worker::Worker;
use crate::config::{DestinationConfig, DestinationKind};
use crate::model::{Clock, DestinationName};
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::{DestinationNotStopped, DestinationUnusable};
use crate::telemetry::ingest::CallTimes;

/// How long an unusable destination is left before it is tried again: its fault may lie outside
/// the configuration, as when certificate authorities are not installed yet.
const UNUSABLE_PAUSE: Duration = Duration::from_secs(30);

/// Runs one worker at a time for the destination of that name.
///
/// A reload that changes the destination ends the worker and starts the next, after its last
/// attempt: two workers never write to one file. One that changes nothing for it leaves it at work,
/// except where the destination had answered 410: it gets another chance.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) current: Arc<ArcSwap<Snapshot>>,
    /// Adapter calls at once, shared with ingest.
    pub(super) calls: Arc<Semaphore>,
    /// Those of all destinations.
    pub(super) lookups: Arc<Lookups>,
    /// Tells when `current` was swapped.
    pub(super) generation: watch::Receiver<u64>,
    pub(super) name: DestinationName,
    /// Whether its worker has stopped because the destination is gone.
    pub(super) gone: Arc<AtomicBool>,
}

impl Keeper {
    /// Returns at `shutdown`, when the destination is no longer configured, or when storage is
    /// closed; in each case after the worker's last attempt.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            // Before the look: a swap after it must be noticed.
            self.generation.borrow_and_update();
            let mut told = self.generation.clone();
            self.gone.store(false, Ordering::Relaxed);
            DestinationNotStopped { destination: &self.name }.emit();
            let Some(config) = self.config() else { return };
            let stop = shutdown.child_token();
            let worker = self.work(config.clone(), stop.clone());
            tokio::pin!(worker);
            loop {
                tokio::select! {
                    biased;
                    () = &mut worker => {
                        // It ends by itself only where nothing can be done any more.
                        shutdown.cancelled().await;
                        return;
                    }
                    Ok(()) = told.changed() => {
                        if self.needs_another(&config) {
                            break;
                        }
                    }
                }
            }
            stop.cancel();
            worker.await;
        }
    }

    fn config(&self) -> Option<DestinationConfig> {
        self.current.load().config.destinations.get(&self.name).cloned()
    }

    fn needs_another(&self, config: &DestinationConfig) -> bool {
        let same = self.config().is_some_and(|next| next.is_same(config));
        !same || self.gone.load(Ordering::Relaxed)
    }

    async fn work(&self, config: DestinationConfig, stop: CancellationToken) {
        let queue =
            Queue::new(Arc::clone(&self.storage), Arc::clone(&self.clock), self.name.clone());
        match &config.kind {
            DestinationKind::File { path } => {
                let path = path.clone();
                BatchWorker::new(queue, path, &config).run(stop).await;
            }
            DestinationKind::Adapter { adapter } => {
                let destination = AdapterDestination {
                    storage: Arc::clone(&self.storage),
                    clock: Arc::clone(&self.clock),
                    current: Arc::clone(&self.current),
                    calls: Arc::clone(&self.calls),
                    destination: self.name.clone(),
                    adapter: adapter.clone(),
                    call_times: CallTimes::new(adapter.clone()),
                    timeout: config.timeout,
                };
                Worker::new(queue, Arc::new(destination), &config).run(stop).await;
            }
            DestinationKind::Http { .. } => {
                if let Some(destination) = self.prepare(&config, &stop).await {
                    let worker = Worker::new(queue, Arc::new(destination), &config);
                    worker.telling_gone(Arc::clone(&self.gone)).run(stop).await;
                }
            }
        }
    }

    /// Prepares the destination, again and again; `None` where it was stopped before.
    async fn prepare(
        &self,
        config: &DestinationConfig,
        stop: &CancellationToken,
    ) -> Option<HttpDestination> {
        while !stop.is_cancelled() {
            let (clock, lookups) = (Arc::clone(&self.clock), Arc::clone(&self.lookups));
            match HttpDestination::sharing(config, clock, lookups) {
                Ok(destination) => return Some(destination),
                Err(error) => DestinationUnusable { destination: &self.name, error: &error }.emit(),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(UNUSABLE_PAUSE) => {}
            }
        }
        None
    }
}
