//! What the writer is asked to do.

use tokio::sync::OwnedSemaphorePermit;

use super::encode::Prepared;
use super::members::{Reply, Served};
use super::weights::Weight;
use crate::model::{AdapterName, AttemptRecord};
use crate::storage::LaneId;

/// A place in the queue, given back when its job begins.
pub(super) type Place = OwnedSemaphorePermit;

/// What the writer is asked to do. `T`: what it is to run between groups.
pub(super) enum Job<T> {
    /// Answered by nothing where it is an attempt whose fence is stale.
    Commit(Box<Prepared>, Reply<Served>, (Place, Weight)),
    Record(Vec<AttemptRecord>, Reply<usize>, Place),
    Task(T, Place),
    /// Answered when the lane is held, by its place in the queue.
    Lane(AdapterName, LaneId, Reply<Place>, Place),
    /// Held no longer, or waited for no longer.
    LaneEnds(AdapterName, LaneId),
    Close,
}

impl<T> Job<T> {
    /// Whether somebody waits for it who does not wait for the disk: who is next in a lane.
    pub(super) fn hurries(&self) -> bool {
        match self {
            Self::Commit(commit, ..) => commit.lane.is_some(),
            Self::Lane(..) => true,
            Self::Record(..) | Self::Task(..) | Self::LaneEnds(..) | Self::Close => false,
        }
    }
}
