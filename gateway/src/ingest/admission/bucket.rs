//! One bucket of a limit.

use std::sync::atomic::{AtomicU64, Ordering};

use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};

use crate::config::Rate;

/// The state of one bucket: when it will be full again, in nanoseconds since its limiter was made;
/// 0 where it was never used.
#[derive(Debug, Default)]
pub(super) struct Single(AtomicU64);

impl Single {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) const fn new(full_at: u64) -> Self {
        Self(AtomicU64::new(full_at))
    }
}

impl StateStore for Single {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            let (decided, after) = decide((before != 0).then(|| before.into()))?;
            let swapped = self.0.compare_exchange_weak(
                before,
                after.into(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swapped {
                Ok(_) => return Ok(decided),
                Err(now) => before = now,
            }
        }
    }
}

/// How what was used of one rate counts under another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rescale {
    pub(super) from: Rate,
    pub(super) to: Rate,
    /// Of the new limiter, in the old one's time.
    pub(super) start: u64,
}

impl Rescale {
    /// When a bucket is full again: as many requests are used up as before, at most the new burst.
    pub(super) fn apply(self, full_at: u64) -> u64 {
        let used_up = u128::from(full_at.saturating_sub(self.start));
        let [from, to] = [self.from, self.to].map(|rate| rate.interval().as_nanos().max(1));
        let full = to * u128::from(self.to.burst.get());
        u64::try_from((used_up * to / from).min(full)).unwrap_or(u64::MAX)
    }
}
