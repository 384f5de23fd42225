//! What a commit expects of its adapter's state, and does to it, ready for the writer.

use crate::model::{StateRange, StateReads, StateVersion, StateWrite};
use crate::storage::StateChange;

/// What a commit expects of its adapter's state, and does to it.
#[derive(Debug)]
pub(super) struct PreparedState {
    /// `state_version` of the plugin.
    pub(super) version: u32,
    pub(super) reads: Vec<PreparedRange>,
    pub(super) writes: Vec<StateWrite>,
}

/// A range that was read, and the versions of the entries in it, in order.
#[derive(Debug)]
pub(super) struct PreparedRange {
    pub(super) range: StateRange,
    pub(super) versions: Vec<StateVersion>,
}

impl PreparedState {
    /// Absent where the call had nothing to do with state.
    pub(super) fn new(reads: &StateReads, change: StateChange) -> Option<Self> {
        let StateChange { version, writes } = change;
        if reads.is_empty() && writes.is_empty() {
            return None;
        }
        let reads = reads.ranges().map(|(range, entries)| {
            let versions = entries.map(|entry| entry.version).collect();
            PreparedRange { range, versions }
        });
        Some(Self { version, reads: reads.collect(), writes })
    }

    /// What it adds to a group, nearly.
    pub(super) fn bytes(&self) -> usize {
        let put = |write: &StateWrite| write.put.as_ref().map_or(0, |put| put.value.len());
        self.writes.iter().map(|write| write.key.len() + put(write)).sum()
    }
}
