//! The worker of the file destination: many deliveries, one write, one record.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{AttemptError, Ticket, Timing, conclude};
use super::destinations::FileDestination;
use super::queue::{Found, Queue};
use super::report::{self, Failures};
use super::retry::RetrySchedule;
use crate::config::DestinationConfig;
use crate::model::{AttemptRecord, LeasedDelivery};
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::BatchDelivered;

/// Deliveries in one batch at most. Beyond a thousand, the cost of the flush is spread so thin that
/// more would only delay the first.
const BATCH_MAX: usize = 1_024;

/// Deliveries in one batch at least, however large their events.
const BATCH_MIN: usize = 16;

/// Bytes of events that a batch aims for: what bounds the memory, since events may be 1 MiB each.
const BATCH_BYTES: usize = 4 << 20;

/// How long deliveries gather before a batch that would be small. At most 40 flushes a second
/// leave the disk to the commits that providers wait for.
const GATHER: Duration = Duration::from_millis(25);

/// Lease of a batch: a flush on a failing disk may take long.
const LEASE: Duration = Duration::from_secs(60);

/// Pause after a failed write. A write that fails would fail for every event: until one succeeds, one
/// delivery after the other is tried, in pauses that double up to [`FAILED_PAUSE_MAX`]. So a disk that
/// is full for days does not burn through the schedule of everything that waits.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// How long after it is mended a file may be left alone.
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often recording is tried at shutdown before it is left to the leases' end.
const LAST_RECORD_TRIES: u32 = 3;

/// Appends whatever is due.
#[derive(Debug)]
pub(super) struct BatchWorker {
    queue: Queue,
    schedule: RetrySchedule,
    path: PathBuf,
    /// Of one batch, where somebody has to read it.
    timeout: Duration,
    file: FileDestination,
    /// Deliveries to ask for next.
    limit: usize,
    /// Pause after the next write that fails.
    failed_pause: Duration,
    /// Attempts that storage has not recorded yet: at most one batch.
    ended: Vec<AttemptRecord>,
    failures: Failures,
}

impl BatchWorker {
    pub(super) fn new(queue: Queue, path: PathBuf, config: &DestinationConfig) -> Self {
        let timeout = config.timeout;
        let file = FileDestination::new(queue.destination.clone(), path.clone(), timeout);
        let schedule = RetrySchedule::from(&config.retry);
        Self {
            queue,
            schedule,
            path,
            timeout,
            file,
            limit: BATCH_MIN,
            failed_pause: FAILED_PAUSE,
            ended: Vec::new(),
            failures: Failures::default(),
        }
    }

    /// Runs until `stop`; a batch under way is finished and recorded.
    ///
    /// Returns early only where storage is closed for good. Dropping the returned future leaves a
    /// write that was begun to finish; it is not recorded, and comes again.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let ended = std::mem::take(&mut self.ended);
            let (unrecorded, found) = self.queue.turn(ended, self.limit, LEASE).await;
            self.ended = unrecorded;
            let Found::Leased { deliveries, more } = found else { break };
            while !self.ended.is_empty() && !stop.is_cancelled() {
                pause(FAILED_PAUSE, &stop).await;
                self.record().await;
            }
            if deliveries.is_empty() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.queue.due() => {}
                }
            } else if !self.write(deliveries).await {
                self.limit = 1;
                let failed_pause = self.failed_pause;
                self.failed_pause = failed_pause.saturating_mul(2).min(FAILED_PAUSE_MAX);
                // What failed is recorded first.
                self.record().await;
                pause(failed_pause, &stop).await;
            } else {
                self.failed_pause = FAILED_PAUSE;
                if !more {
                    pause(GATHER, &stop).await;
                }
            }
        }
        self.finish().await;
    }

    async fn finish(&mut self) {
        for _ in 0..LAST_RECORD_TRIES {
            self.record().await;
            if self.ended.is_empty() {
                return;
            }
            tokio::time::sleep(FAILED_PAUSE).await;
        }
    }

    async fn record(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        self.ended = self.queue.record(ended).await;
    }

    /// Writes one batch and notes how each delivery ended. Whether the file took it.
    async fn write(&mut self, leased: Vec<LeasedDelivery>) -> bool {
        let tickets: Vec<_> = leased.iter().map(|one| (Ticket::from(one), one.intact)).collect();
        let bytes = leased.iter().map(|one| one.event.data.len()).sum();
        self.limit = next_limit(self.limit, leased.len(), bytes);
        let started_at = self.queue.clock.now();
        let started = Instant::now();
        let (name, path) = (self.queue.destination.clone(), self.path.clone());
        let fresh = FileDestination::new(name, path, self.timeout);
        let mut file = std::mem::replace(&mut self.file, fresh);
        let written = tokio::task::spawn_blocking(move || {
            let intact = leased.iter().filter(|one| one.intact).map(|one| &one.event);
            let result = file.append(intact);
            (file, result)
        });
        let result = match written.await {
            Ok((file, result)) => {
                self.file = file;
                result.map_err(AttemptError::Io)
            }
            Err(_) => Err(AttemptError::Panicked),
        };
        self.conclude(tickets, Timing { started_at, took: started.elapsed() }, &result);
        result.is_ok()
    }

    fn conclude(
        &mut self,
        tickets: Vec<(Ticket, bool)>,
        timing: Timing,
        result: &Result<(), AttemptError>,
    ) {
        let mut delivered = Vec::with_capacity(tickets.len());
        for (ticket, intact) in tickets {
            let result =
                if intact { result.as_ref().copied() } else { Err(&AttemptError::Corrupt) };
            let destination = &self.queue.destination;
            let random = super::random_unit();
            let record = conclude(ticket, destination, &self.schedule, (timing, result), random);
            if result.is_ok() {
                delivered.push(record.at.after(record.took).since(ticket.received_at));
            } else {
                report::attempt(ticket, &record, result, &mut self.failures);
            }
            self.ended.push(record);
        }
        if !delivered.is_empty() {
            BatchDelivered {
                destination: &self.queue.destination,
                took: timing.took,
                since_receipt: delivered,
            }
            .emit();
        }
    }
}

async fn pause(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}

/// How many deliveries to ask for, after a batch of `deliveries` with `bytes` of events: as many
/// as [`BATCH_BYTES`] would hold, growing twofold at most.
fn next_limit(limit: usize, deliveries: usize, bytes: usize) -> usize {
    let fitting = BATCH_BYTES.saturating_mul(deliveries) / bytes.max(1);
    fitting.min(limit.saturating_mul(2)).clamp(BATCH_MIN, BATCH_MAX)
}

#[cfg(test)]
mod tests;
