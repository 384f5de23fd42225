//! How many bytes of commits wait for the writer.
//!
//! Their number says little of memory: who gave up waiting leaves a commit in the queue with its body
//! and events, and while a disk hangs others come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::encode::{Prepared, PreparedEvent};
use super::state_change::PreparedState;

/// Bytes of all commits that wait.
#[derive(Debug)]
pub(super) struct Weights {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// Bytes of one commit, given back when its job begins.
#[derive(Debug)]
pub(super) struct Weight {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Weights {
    pub(super) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// Takes room for so many bytes where there is any. A commit that is larger than all of it has
    /// to be the only one.
    pub(super) fn take(&self, bytes: usize) -> Option<Weight> {
        let fits = |taken: usize| {
            let all = taken.saturating_add(bytes);
            (taken == 0 || all <= self.max).then_some(all)
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Weight { taken: Arc::clone(&self.taken), bytes })
    }
}

impl Prepared {
    /// What it takes in memory and adds to a group, nearly.
    pub(super) fn bytes(&self) -> usize {
        let events = self.events.iter().map(PreparedEvent::bytes).sum::<usize>();
        let state = self.state.as_ref().map_or(0, PreparedState::bytes);
        let read = self.state_reads.as_ref().map_or(0, Vec::len);
        self.body.len() + self.record_json.len() + events + state + read
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_all_room_has_to_be_the_only_one() {
        let weights = Weights::new(10);
        let six = weights.take(6).unwrap();
        assert!(weights.take(5).is_none() && weights.take(usize::MAX).is_none());
        let four = weights.take(4).unwrap();
        drop((six, four));
        let large = weights.take(11).unwrap();
        assert!(weights.take(1).is_none());
        drop(large);
        assert!(weights.take(10).is_some());
    }
}
