//! What is handed to the queue, and what it hands out.

use std::sync::Arc;

use crate::model::{DestinationName, Event, LeasedDelivery, UnixMillis};

/// Bytes of events handed out by one call, beyond which it gives what it has: the rest is due still.
pub(in crate::storage::sqlite) const LEASE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A delivery on its way from its commit into the queue.
#[derive(Debug)]
pub(in crate::storage::sqlite) struct Handover {
    pub(in crate::storage::sqlite) id: i64,
    pub(in crate::storage::sqlite) destination: DestinationName,
    pub(in crate::storage::sqlite) due: UnixMillis,
    pub(in crate::storage::sqlite) event: Arc<Event>,
    pub(in crate::storage::sqlite) bytes: usize,
}

/// A delivery read from the table.
#[derive(Debug)]
pub(in crate::storage::sqlite) struct Loaded {
    pub(in crate::storage::sqlite) id: i64,
    pub(in crate::storage::sqlite) due: UnixMillis,
    pub(in crate::storage::sqlite) attempts: u32,
    /// Absent where its row cannot be read as an event: held until it is given up.
    pub(in crate::storage::sqlite) event: Option<Arc<Event>>,
    pub(in crate::storage::sqlite) intact: bool,
    pub(in crate::storage::sqlite) bytes: usize,
}

/// What one call is to be given, and what it was given so far.
#[derive(Debug, Default)]
pub(in crate::storage::sqlite) struct Leasing {
    pub(in crate::storage::sqlite) limit: usize,
    pub(in crate::storage::sqlite) leased: Vec<LeasedDelivery>,
    pub(super) bytes: usize,
}

/// What became of one `take`.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::storage::sqlite) enum Taken {
    /// All that there is, or all that was wanted.
    Enough,
    /// The table must be read before more can be leased in order.
    LoadFirst,
}

/// What to read from the table.
#[derive(Debug, Default)]
pub(in crate::storage::sqlite) struct LoadPlan {
    /// Held deliveries whose events are needed again.
    pub(in crate::storage::sqlite) again: Vec<i64>,
    /// Whether parked ones are due.
    pub(in crate::storage::sqlite) parked: bool,
}

impl Leasing {
    pub(in crate::storage::sqlite) fn of(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(super) const fn is_enough(&self) -> bool {
        self.leased.len() >= self.limit || self.bytes >= LEASE_BYTES_MAX
    }
}
