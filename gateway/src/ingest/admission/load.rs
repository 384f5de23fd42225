//! When calls come faster than they can be made: who comes too many is told at once, and not after
//! having waited in vain.
//!
//! Whoever is admitted waits no longer than [`WAIT_MAX`], about, because no more are let wait than
//! can be called in that time. So the queue stays as short under any overload as at its beginning,
//! every call that is made is in time for its answer, and the excess costs next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::faults::Fault;

/// How long a request may have to wait for its call. Providers give up after 5 s at the earliest; a
/// burst of a second's work is taken whole.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Calls over which the average goes, as a power of two: some ten milliseconds of a busy gateway.
const AVERAGE_SHIFT: u32 = 5;

/// The calls that run, and those that wait for their turn.
#[derive(Debug)]
pub(in crate::ingest) struct Load {
    /// Delivery's calls take their turns here as well.
    calls: Arc<Semaphore>,
    /// Calls that may run at once.
    slots: usize,
    waiting: AtomicUsize,
    /// How long a call has its turn, in nanoseconds: a moving average. 0: none ended yet.
    average: AtomicU64,
}

/// One call's turn, until it is dropped.
#[derive(Debug)]
pub(in crate::ingest) struct Turn<'l> {
    load: &'l Load,
    began: Instant,
    _permit: SemaphorePermit<'l>,
}

/// Waits for a turn, until it is dropped.
struct Waiting<'l>(&'l Load);

impl Load {
    /// Made while no call runs.
    pub(in crate::ingest) fn new(calls: Arc<Semaphore>) -> Self {
        let slots = calls.available_permits().max(1);
        Self { calls, slots, waiting: AtomicUsize::new(0), average: AtomicU64::new(0) }
    }

    /// A turn, if it is free. Cancel safe, as is [`Self::turn`].
    pub(in crate::ingest) fn try_turn(&self) -> Option<Turn<'_>> {
        let permit = self.calls.try_acquire().ok()?;
        Some(Turn { load: self, began: Instant::now(), _permit: permit })
    }

    /// Waits for a turn. The error says why there is none: at once where too many wait already.
    pub(in crate::ingest) async fn turn(
        &self,
        deadline: Instant,
    ) -> Result<Turn<'_>, &'static str> {
        if let Some(turn) = self.try_turn() {
            return Ok(turn);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        let wait = self.wait(before + 1);
        let too_long = wait > WAIT_MAX || Instant::now() + wait > deadline;
        if too_long && !Fault::QueueWithoutBound.is_on() {
            return Err("more calls wait than can be made in time");
        }
        let permit = timeout_at(deadline, self.calls.acquire()).await;
        drop(waiting);
        match permit {
            Ok(Ok(permit)) => Ok(Turn { load: self, began: Instant::now(), _permit: permit }),
            Ok(Err(_)) | Err(_) => Err("no adapter call was free before the deadline"),
        }
    }

    /// How long the last of so many will wait.
    fn wait(&self, waiting: usize) -> Duration {
        let average = self.average.load(Ordering::Relaxed);
        let [waiting, slots] =
            [waiting, self.slots].map(|it| u64::try_from(it).unwrap_or(u64::MAX));
        Duration::from_nanos(average.saturating_mul(waiting) / slots)
    }

    /// Two that end at once may forget one of them: it is an average.
    fn ended(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let before = self.average.load(Ordering::Relaxed);
        let after = if before == 0 {
            took
        } else {
            before - (before >> AVERAGE_SHIFT) + (took >> AVERAGE_SHIFT)
        };
        self.average.store(after, Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.load.ended(self.began.elapsed());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(slots: usize, call: Duration) -> Load {
        let load = Load::new(Arc::new(Semaphore::new(slots)));
        load.ended(call);
        load
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_can_be_called_in_a_second() {
        // Two at once, 100 ms each: 20 a second.
        let load = Arc::new(load(2, Duration::from_millis(100)));
        let far = Instant::now() + Duration::from_secs(3_600);
        let running = [load.turn(far).await.unwrap(), load.turn(far).await.unwrap()];
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..30 {
            let load = Arc::clone(&load);
            waiting.spawn(async move { load.turn(far).await.is_ok() });
        }
        // All that are turned away are turned away in no time.
        let began = Instant::now();
        for _ in 0..10 {
            assert!(!waiting.join_next().await.unwrap().unwrap());
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(load.waiting.load(Ordering::Relaxed), 20);
        drop(running);
        while let Some(had_its_turn) = waiting.join_next().await {
            assert!(had_its_turn.unwrap());
        }
        assert_eq!(load.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_be_late_does_not_wait() {
        let load = load(1, Duration::from_millis(300));
        let running = load.turn(Instant::now() + WAIT_MAX).await.unwrap();
        let soon = Instant::now() + Duration::from_millis(200);
        assert_eq!(load.turn(soon).await.unwrap_err(), "more calls wait than can be made in time");
        // What is not known to be late waits until it is.
        load.average.store(0, Ordering::Relaxed);
        let late = load.turn(soon).await.unwrap_err();
        assert_eq!(late, "no adapter call was free before the deadline");
        assert_eq!(Instant::now(), soon);
        drop(running);
        assert!(load.turn(soon).await.is_ok());
    }

    #[test]
    fn the_average_follows_what_calls_take() {
        let load = load(1, Duration::from_millis(1));
        for _ in 0..200 {
            load.ended(Duration::from_millis(5));
        }
        let average = Duration::from_nanos(load.average.load(Ordering::Relaxed));
        assert!((4_900..=5_000).contains(&average.as_micros()), "{average:?}");
    }
}
