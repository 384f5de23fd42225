//! Which deliveries are fresh: pending, held in memory, and found by no index.
//!
//! After a crash they are found by walking the table from the first that is still fresh; this keeps
//! that first one near the end.

use std::collections::VecDeque;

/// Deliveries between the first fresh one and the newest. Beyond it the oldest are parked, so that
/// one that hangs cannot make recovery walk the whole table.
const SPAN_MAX: usize = 65_536;

/// One flag a delivery from `floor` on: whether it is fresh.
#[derive(Debug)]
pub(super) struct Fresh {
    floor: i64,
    flags: VecDeque<bool>,
}

impl Fresh {
    /// Nothing is fresh, and the next delivery is `next`.
    pub(super) const fn starting_at(next: i64) -> Self {
        Self { floor: next, flags: VecDeque::new() }
    }

    /// Takes note of the next delivery in order.
    pub(super) fn push(&mut self, fresh: bool) {
        if fresh || !self.flags.is_empty() {
            self.flags.push_back(fresh);
        } else {
            self.floor += 1;
        }
    }

    /// `delivery` is fresh no longer.
    pub(super) fn settle(&mut self, delivery: i64) {
        let flag = usize::try_from(delivery - self.floor).ok();
        if let Some(flag) = flag.and_then(|at| self.flags.get_mut(at)) {
            *flag = false;
        }
        while self.flags.front() == Some(&false) {
            self.flags.pop_front();
            self.floor += 1;
        }
    }

    /// Every fresh delivery is at or above this one.
    pub(super) const fn floor(&self) -> i64 {
        self.floor
    }

    /// The fresh ones, oldest first, that must be parked to keep within the bound.
    pub(super) fn overdue(&self) -> Vec<i64> {
        let excess = self.flags.len().saturating_sub(SPAN_MAX);
        let excess = if excess == 0 { 0 } else { excess + SPAN_MAX / 4 };
        let fresh = self.flags.iter().take(excess).zip(self.floor..);
        fresh.filter_map(|(fresh, id)| fresh.then_some(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_first_fresh_delivery() {
        let mut fresh = Fresh::starting_at(10);
        fresh.push(false);
        assert_eq!(fresh.floor(), 11);
        for flag in [true, true, false, true] {
            fresh.push(flag);
        }
        fresh.settle(12);
        assert_eq!(fresh.floor(), 11, "11 is still fresh");
        fresh.settle(11);
        assert_eq!(fresh.floor(), 14, "12 was settled, 13 never fresh");
        fresh.settle(3);
        fresh.settle(14);
        assert_eq!(fresh.floor(), 15);
        fresh.settle(99);
        assert_eq!(fresh.floor(), 15);
    }

    #[test]
    fn one_that_hangs_is_asked_to_be_parked() {
        let mut fresh = Fresh::starting_at(1);
        fresh.push(true);
        for _ in 1..SPAN_MAX {
            fresh.push(false);
        }
        assert_eq!(fresh.overdue(), [] as [i64; 0]);
        fresh.push(true);
        assert_eq!(fresh.overdue(), [1]);
    }
}
