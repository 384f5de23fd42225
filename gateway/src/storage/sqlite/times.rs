//! Two clocks: the wall's, which may jump, and one that runs evenly.
//!
//! What is written about the past (when a request arrived, when an attempt was made) and windows of
//! keys go by the wall clock. What is waited for (when a delivery is due, when a lease ends) goes by
//! the even one, so that a corrected clock neither holds deliveries up nor ends leases early.
//!
//! The even clock of a store goes on over its restarts: what is in the table is due by it. Both clocks
//! are noted together, every minute and at a stop; the next process goes on from there by as much as
//! the wall clock has gone since, and from that very moment where it was put back. So the even clock
//! may be far from the wall's for good.

use std::time::{Duration, Instant};

use crate::model::{Clock, UnixMillis};

/// How often commits note the clocks: where the wall's is put back right before a crash, what waits is
/// late by no more than this, and a row a minute costs nothing.
pub(super) const NOTE_CLOCKS_EVERY: Duration = Duration::from_secs(60);

/// Runs evenly from the wall's time at its making.
#[derive(Clone, Copy, Debug)]
pub(super) struct EvenClock {
    wall: UnixMillis,
    at: Instant,
}

impl EvenClock {
    pub(super) fn starting_at(wall: UnixMillis) -> Self {
        Self { wall, at: Instant::now() }
    }
}

impl Clock for EvenClock {
    fn now(&self) -> UnixMillis {
        self.wall.after(self.at.elapsed())
    }
}

/// One moment, as both clocks show it. The world outside names times of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) wall: UnixMillis,
    pub(super) even: UnixMillis,
}

impl Moment {
    /// What the even clock shows once the wall clock, from here, has come to `wall`. It never goes
    /// back.
    pub(super) fn even_since(self, wall: UnixMillis) -> UnixMillis {
        self.even.after(wall.since(self.wall))
    }

    /// What the wall clock will show when the even clock, running on from here, shows `even`.
    pub(super) const fn wall_at(self, even: UnixMillis) -> UnixMillis {
        UnixMillis(even.0.saturating_add(self.wall.0).saturating_sub(self.even.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_as_far_from_now_on_either_clock() {
        for (wall, even) in [(1_000, 1_000), (1_000, 5_000), (5_000, 1_000)] {
            let moment = Moment { wall: UnixMillis(wall), even: UnixMillis(even) };
            assert_eq!(moment.wall_at(UnixMillis(even + 7)), UnixMillis(wall + 7));
            assert_eq!(moment.wall_at(UnixMillis(even - 7)), UnixMillis(wall - 7));
            assert_eq!(moment.even_since(UnixMillis(wall + 7)), UnixMillis(even + 7));
            assert_eq!(moment.even_since(UnixMillis(wall - 7)), UnixMillis(even));
        }
    }
}
