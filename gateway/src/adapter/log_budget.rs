//! How much one adapter may write to the operator's log, all of its calls together.
//!
//! A call has a quota of its own ([`super::host`]), and calls are as many as requests: without this
//! whoever sends requests would decide how much is logged.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one adapter in one second. With 1 KiB each at most, some 8 GiB a day at worst.
pub(super) const LINES_PER_SECOND: u32 = 100;

/// Counts an adapter's lines by the second.
#[derive(Debug)]
pub(super) struct LogBudget {
    start: Instant,
    second: Mutex<Second>,
}

/// One second since the start, and the lines asked for in it.
#[derive(Debug, Default)]
struct Second {
    number: u64,
    lines: u32,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Written,
    /// One too many.
    Dropped {
        /// Whether it is the first of its second.
        is_first: bool,
    },
}

impl LogBudget {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), second: Mutex::default() }
    }

    /// Takes one line.
    pub(super) fn take(&self) -> Line {
        self.take_at(self.start.elapsed())
    }

    fn take_at(&self, since_start: Duration) -> Line {
        let now = since_start.as_secs();
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if now > second.number {
            *second = Second { number: now, lines: 0 };
        }
        second.lines = second.lines.saturating_add(1);
        match second.lines {
            0..=LINES_PER_SECOND => Line::Written,
            lines => Line::Dropped { is_first: lines == LINES_PER_SECOND + 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_lines_and_tells_once_that_there_were_more() {
        let budget = LogBudget::start();
        for second in [0, 1, 7] {
            let begun = Duration::from_secs(second);
            for line in 0..LINES_PER_SECOND {
                let at = begun + Duration::from_millis(u64::from(line));
                assert_eq!(budget.take_at(at), Line::Written, "{second} {line}");
            }
            let late = begun + Duration::from_millis(999);
            assert_eq!(budget.take_at(late), Line::Dropped { is_first: true });
            assert_eq!(budget.take_at(late), Line::Dropped { is_first: false });
        }
        // Another thread's line, taken a moment earlier.
        assert_eq!(budget.take_at(Duration::from_secs(6)), Line::Dropped { is_first: false });
    }
}
