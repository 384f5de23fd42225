//! What the person at the terminal sees: each step with the time since the start.

use std::time::{Duration, Instant};

/// Announces steps.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
}

impl Progress {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Says what begins now.
    pub(crate) fn step(&self, what: &str) {
        println!("[{}] {what}", clock(self.started.elapsed()));
    }

    /// Adds something to the step under way.
    #[expect(clippy::unused_self, reason = "a detail belongs to the steps of one progress")]
    pub(crate) fn detail(&self, what: &str) {
        println!("        {what}");
    }
}

/// Minutes and seconds, as ` 2:05`.
pub(crate) fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:>2}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_counts_minutes_and_seconds() {
        for (seconds, expected) in [(0, " 0:00"), (59, " 0:59"), (125, " 2:05"), (6_000, "100:00")]
        {
            assert_eq!(clock(Duration::from_secs(seconds)), expected);
        }
    }
}
