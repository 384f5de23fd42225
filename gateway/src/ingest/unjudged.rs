//! Refusals that no adapter had a say in. Anybody can have them, as often as they like, and scanners and
//! busy providers do: so a few of them are kept, and they have their own part of the ring.

use crate::model::{Diagnosis, UnixMillis};
use crate::telemetry::ingest::Budget;

/// Most of one kind, and of one route, that are kept of those that come in one second: enough to see
/// what goes on.
const KEPT_PER_SECOND: u64 = 2;

/// The kinds. One more is for everything else, which is wrong tokens in paths.
const KINDS: [Diagnosis; 9] = [
    Diagnosis::MALFORMED_REQUEST,
    Diagnosis::METHOD_NOT_ALLOWED,
    Diagnosis::BODY_TOO_LARGE,
    Diagnosis::BODY_TOO_SLOW,
    Diagnosis::ADDRESS_NOT_ALLOWED,
    Diagnosis::RATE_LIMITED,
    Diagnosis::PAUSED,
    Diagnosis::OVERLOADED,
    Diagnosis::STORAGE_UNAVAILABLE,
];

/// What is kept of them this second: of one route, or of what came to none.
#[derive(Debug)]
pub(super) struct Unjudged([Budget; KINDS.len() + 1]);

impl Default for Unjudged {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Budget::new(KEPT_PER_SECOND)))
    }
}

impl Unjudged {
    /// Whether a diagnosis says by itself that no adapter had a say.
    pub(super) fn is(diagnosis: &Diagnosis) -> bool {
        KINDS.contains(diagnosis)
    }

    /// Whether one more with this diagnosis is kept. All that a paused route is sent is: an operator
    /// chose that, and it pushes out no other route's.
    pub(super) fn keeps(&self, diagnosis: &Diagnosis, now: UnixMillis) -> bool {
        if *diagnosis == Diagnosis::PAUSED {
            return true;
        }
        let kind = KINDS.iter().position(|kind| kind == diagnosis).unwrap_or(KINDS.len());
        self.0.get(kind).is_some_and(|budget| budget.take(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_kind_but_paused_two_are_kept_in_a_second() {
        let unjudged = Unjudged::default();
        let others = [Diagnosis::SECRET_MISMATCH];
        for second in [UnixMillis(5_000), UnixMillis(6_000)] {
            for kind in KINDS.iter().chain(&others) {
                let kept = (0..10).filter(|_| unjudged.keeps(kind, second)).count();
                let all = if *kind == Diagnosis::PAUSED { 10 } else { 2 };
                assert_eq!(kept, all, "{kind}");
            }
        }
    }
}
