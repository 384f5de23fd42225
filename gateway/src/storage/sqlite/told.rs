//! What the queue of deliveries is told of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use super::queue::{Handover, Turn};
use super::shared::Shared;
use crate::model::{DestinationName, UnixMillis};

/// What the queue of deliveries is told of a group, once it is on disk: an event that is not must
/// not be delivered.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) handovers: Vec<Handover>,
    pub(super) handover_bytes: usize,
    pub(super) parked: Vec<(DestinationName, Turn)>,
    pub(super) finished: Vec<(i64, Option<UnixMillis>)>,
    /// By destination, how many more are pending.
    pending: BTreeMap<DestinationName, i64>,
    pub(super) dead: i64,
}

impl Told {
    /// `by` more deliveries of `destination` are pending.
    pub(super) fn count(&mut self, destination: &DestinationName, by: i64) {
        if let Some(count) = self.pending.get_mut(destination) {
            *count += by;
        } else {
            self.pending.insert(destination.clone(), by);
        }
    }

    /// Events that the queue is given, and their bytes.
    pub(super) const fn handed_over(&self) -> (usize, usize) {
        (self.handovers.len(), self.handover_bytes)
    }

    /// Tells the queue of deliveries what is now on disk.
    pub(super) fn publish(self, shared: &Shared) {
        let mut nudged = BTreeSet::new();
        let mut nudge = |destination: &DestinationName| {
            if !nudged.contains(destination) {
                nudged.insert(destination.clone());
            }
        };
        {
            let mut queue = shared.queue();
            for handover in self.handovers {
                nudge(&handover.destination);
                queue.hand_over(handover);
            }
            for (destination, turn) in self.parked {
                nudge(&destination);
                queue.park(&destination, turn);
            }
            for (id, parked) in self.finished {
                if let Some(destination) = queue.finish(id, parked) {
                    nudge(&destination);
                }
            }
            for (destination, by) in &self.pending {
                queue.count(destination, *by);
            }
        }
        shared.pending.fetch_add(self.pending.values().sum(), Ordering::Relaxed);
        shared.dead.fetch_add(self.dead, Ordering::Relaxed);
        shared.nudges.tell(&nudged);
    }
}
