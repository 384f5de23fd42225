//! How large the steps of a sweep are, and how far apart.

use std::time::Duration;

/// How long a step may take, during which commits wait; one that took longer is followed by a smaller
/// one. A few times what a sync takes, or else syncs would be most of the work.
const STEP_MAX: Duration = Duration::from_millis(8);

/// What took less is followed by a larger one.
const STEP_MIN: Duration = Duration::from_millis(2);

/// How many times smaller a step can become.
const SMALLER_MAX: u16 = 16;

/// How long a sweep waits after a step that took long, by what it took: commits have three quarters of
/// the writer's time, however much is to be deleted.
const PAUSE_FACTOR: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub(in crate::storage::sqlite) struct Pace {
    /// Steps are so many times smaller than they may be.
    smaller: u16,
    /// How long to wait before the next step.
    pub(in crate::storage::sqlite) pause: Duration,
}

impl Default for Pace {
    /// Steps as small as they can be, one after the other.
    fn default() -> Self {
        Self { smaller: SMALLER_MAX, pause: Duration::ZERO }
    }
}

impl Pace {
    /// How much of what a step may do at most it is to do.
    pub(super) fn size(&self, most: u16) -> usize {
        usize::from((most / self.smaller).max(1))
    }

    /// Learns from how long a step took.
    pub(super) fn learn(&mut self, took: Duration) {
        if took > STEP_MAX {
            self.smaller = (self.smaller * 2).min(SMALLER_MAX);
        } else if took < STEP_MIN {
            self.smaller = (self.smaller / 2).max(1);
        }
        self.pause = if took < STEP_MIN { Duration::ZERO } else { took * PAUSE_FACTOR };
    }
}
