//! The worker of a destination that takes one event an attempt.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{AttemptError, Ticket, Timing, conclude};
use super::destinations::{Carried, Carry};
use super::queue::{Found, Queue};
use super::report::{self, Failures};
use super::retry::RetrySchedule;
use crate::config::DestinationConfig;
use crate::model::{AttemptRecord, DeadLetterReason, LeasedDelivery, UnixMillis};
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::DestinationGone;

/// How much longer than an attempt a lease lasts: time to record how it ended. A lease that ends
/// too soon costs a second attempt; one that lasts too long delays the next after a crash.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Pause before storage is asked again to record what it refused to.
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// How often recording is tried at shutdown before it is left to the leases' end.
const LAST_RECORD_TRIES: u32 = 3;

/// How long the first attempt of a destination that may be gone goes alone: should it be, the others
/// are not spent on finding that out. One that answers at all has done so by then.
const FIRST_ALONE: Duration = Duration::from_secs(1);

/// What an attempt's task returns.
type Ended = (Timing, Result<Carried, AttemptError>);

/// Keeps up to `concurrency` attempts under way while anything is due.
#[derive(Debug)]
pub(super) struct Worker {
    queue: Queue,
    carrier: Arc<dyn Carry>,
    schedule: RetrySchedule,
    concurrency: usize,
    lease: Duration,
    attempts: JoinSet<Ended>,
    under_way: HashMap<Id, (Ticket, UnixMillis)>,
    /// Attempts that storage has not recorded yet.
    ended: Vec<AttemptRecord>,
    /// The destination answered 410.
    gone: Arc<AtomicBool>,
    /// No attempt has ended yet: until then, one is enough.
    alone_until: Option<Instant>,
    failures: Failures,
}

impl Worker {
    pub(super) fn new(queue: Queue, carrier: Arc<dyn Carry>, config: &DestinationConfig) -> Self {
        Self {
            queue,
            carrier,
            schedule: RetrySchedule::from(&config.retry),
            concurrency: config.concurrency.max(1),
            lease: config.timeout.saturating_add(LEASE_MARGIN),
            attempts: JoinSet::new(),
            under_way: HashMap::new(),
            ended: Vec::new(),
            gone: Arc::default(),
            alone_until: None,
            failures: Failures::default(),
        }
    }

    /// Tells by `gone` when the destination has answered 410.
    pub(super) fn telling_gone(self, gone: Arc<AtomicBool>) -> Self {
        Self { gone, alone_until: Some(Instant::now() + FIRST_ALONE), ..self }
    }

    /// Runs until `stop`, then finishes and records the attempts under way.
    ///
    /// Returns early only where storage is closed for good. Dropping the returned future aborts
    /// the attempts; their leases end and they are made again.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut more = true;
        loop {
            self.record().await;
            if more && self.room() > 0 && !stop.is_cancelled() {
                match self.lease().await {
                    Some(found_more) => more = found_more,
                    None => break,
                }
            }
            if more && self.room() > 0 && !stop.is_cancelled() {
                continue;
            }
            let idle = !more && self.room() > 0;
            let alone_until = self.alone_until;
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.attempts.join_next_with_id() => self.end(ended),
                () = self.queue.due(), if idle => more = true,
                () = until(alone_until), if alone_until.is_some() => self.alone_until = None,
                () = tokio::time::sleep(RECORD_PAUSE), if !self.ended.is_empty() => {}
            }
        }
        self.finish().await;
    }

    fn room(&self) -> usize {
        if self.gone.load(Ordering::Relaxed) {
            return 0;
        }
        let most = if self.alone_until.is_some() { 1 } else { self.concurrency };
        most.saturating_sub(self.attempts.len() + self.ended.len())
    }

    /// Starts attempts for what is due. Whether more may be; `None` where storage is closed.
    async fn lease(&mut self) -> Option<bool> {
        match self.queue.lease(self.room(), self.lease).await {
            Found::Leased { deliveries, more } => {
                for leased in deliveries {
                    self.start(leased);
                }
                Some(more)
            }
            Found::Closed => None,
        }
    }

    fn start(&mut self, leased: LeasedDelivery) {
        let ticket = Ticket::from(&leased);
        let started_at = self.queue.clock.now();
        if !leased.intact {
            let timing = Timing { started_at, took: Duration::ZERO };
            self.conclude(ticket, timing, &Err(AttemptError::Corrupt));
            return;
        }
        let carrier = Arc::clone(&self.carrier);
        let handle = self.attempts.spawn(async move {
            let started = Instant::now();
            let result = carrier.carry(&leased).await;
            (Timing { started_at, took: started.elapsed() }, result)
        });
        self.under_way.insert(handle.id(), (ticket, started_at));
    }

    /// Takes in one ended attempt, and all others that have ended by now: one record for many.
    fn end(&mut self, ended: Result<(Id, Ended), JoinError>) {
        self.alone_until = None;
        let mut next = Some(ended);
        while let Some(ended) = next {
            let (id, ended) = match ended {
                Ok((id, ended)) => (id, Some(ended)),
                Err(error) => (error.id(), None),
            };
            if let Some((ticket, started_at)) = self.under_way.remove(&id) {
                let (timing, result) = ended.unwrap_or_else(|| {
                    let took = self.queue.clock.now().since(started_at);
                    (Timing { started_at, took }, Err(AttemptError::Panicked))
                });
                self.conclude(ticket, timing, &result);
            }
            next = self.attempts.try_join_next_with_id();
        }
    }

    fn conclude(&mut self, ticket: Ticket, timing: Timing, result: &Result<Carried, AttemptError>) {
        if matches!(result, Ok(Carried::Left)) {
            return;
        }
        let is_recorded = matches!(result, Ok(Carried::Recorded));
        // The first one to hear it is what stops the destination; the others wait like all the rest.
        let again = AttemptError::Refused { status: StatusCode::GONE, retry_after: None };
        let result = match result {
            Err(AttemptError::Gone) if self.gone.load(Ordering::Relaxed) => Err(&again),
            result => result.as_ref().map(drop),
        };
        let destination = &self.queue.destination;
        let random = super::random_unit();
        let record = conclude(ticket, destination, &self.schedule, (timing, result), random);
        report::attempt(ticket, &record, result, &mut self.failures);
        if record.reason == Some(DeadLetterReason::Gone) {
            self.gone.store(true, Ordering::Relaxed);
            DestinationGone { destination }.emit();
        }
        if !is_recorded {
            self.ended.push(record);
        }
    }

    async fn record(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        self.ended = self.queue.record(ended).await;
    }

    async fn finish(&mut self) {
        while let Some(ended) = self.attempts.join_next_with_id().await {
            self.end(ended);
        }
        for _ in 0..LAST_RECORD_TRIES {
            self.record().await;
            if self.ended.is_empty() {
                return;
            }
            tokio::time::sleep(RECORD_PAUSE).await;
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
