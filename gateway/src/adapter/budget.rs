//! The time of a call: its deadline is of the processor's time, because a call that others keep from
//! the processor is not what a deadline is there to end.

use std::fs;
use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use super::ticker::{TICK, ticks};

/// How many times its deadline a call may take by the wall, however little of it it ran. A call of
/// 100 ms on a machine that is busy with other things is ended after a second: below what a provider
/// waits, and with what a processor shared among ten leaves to each.
const WALL_DEADLINES: u32 = 10;

/// Ticks to the first look. Nearly every call has ended by then and costs nothing here.
pub(super) const FIRST_LOOK: u64 = 1;

/// Looks after a running call whenever its epoch's deadline passes.
#[derive(Debug)]
pub(super) struct Budget {
    deadline: Duration,
    first: Option<Look>,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// The processor time of its thread; unknown where the system does not tell.
    ran: Option<Duration>,
}

impl Budget {
    pub(super) const fn new(deadline: Duration) -> Self {
        Self { deadline, first: None }
    }

    /// Whether the call that runs on this thread may go on, and until the next look.
    pub(super) fn look(&mut self) -> UpdateDeadline {
        self.look_at(Look { at: Instant::now(), ran: thread_time() })
    }

    fn look_at(&mut self, now: Look) -> UpdateDeadline {
        // Up to the first look it may have run for a tick.
        let deadline = self.deadline.saturating_sub(TICK);
        let Some(first) = self.first else {
            self.first = Some(now);
            return UpdateDeadline::Continue(ticks(deadline));
        };
        let passed = now.at.saturating_duration_since(first.at);
        let ran = match (now.ran, first.ran) {
            (Some(now), Some(first)) => now.saturating_sub(first),
            _ => passed,
        };
        let left = deadline.saturating_sub(ran);
        // What a tick cannot tell apart is over.
        if left < TICK || passed >= self.deadline.saturating_mul(WALL_DEADLINES) {
            return UpdateDeadline::Interrupt;
        }
        UpdateDeadline::Continue(ticks(left))
    }
}

/// How long this thread has run, as the scheduler counts it.
fn thread_time() -> Option<Duration> {
    let counted = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    counted.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_millis(100);

    /// Looks at a call that runs for this share of the time; says when it is ended.
    fn ended_after(share: f64, known: bool) -> Duration {
        let began = Instant::now();
        let mut budget = Budget::new(DEADLINE);
        let mut passed = TICK;
        loop {
            let ran = known.then(|| passed.mul_f64(share));
            let UpdateDeadline::Continue(ticks) = budget.look_at(Look { at: began + passed, ran })
            else {
                return passed;
            };
            passed += TICK * u32::try_from(ticks).unwrap();
        }
    }

    #[test]
    fn a_call_that_runs_all_the_time_is_ended_at_its_deadline() {
        for known in [true, false] {
            let ended = ended_after(1.0, known);
            assert!(ended >= DEADLINE && ended <= DEADLINE + TICK * 2, "{known}: {ended:?}");
        }
    }

    #[test]
    fn a_call_that_others_keep_from_the_processor_has_longer() {
        let half = ended_after(0.5, true);
        assert!(half >= DEADLINE * 18 / 10 && half <= DEADLINE * 2 + TICK * 2, "{half:?}");
    }

    #[test]
    fn a_call_that_never_runs_is_ended_all_the_same() {
        let wall = DEADLINE * WALL_DEADLINES;
        let ended = ended_after(0.0, true);
        assert!(ended >= wall && ended <= wall + DEADLINE + TICK * 2, "{ended:?}");
        // The control: where the time that it ran is not known, the wall's counts.
        assert!(ended_after(0.0, false) <= DEADLINE + TICK * 2);
    }

    #[test]
    fn a_thread_is_told_how_long_it_has_run() {
        let before = thread_time().unwrap();
        let began = Instant::now();
        while thread_time().unwrap() < before + Duration::from_millis(20) {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        // The control: a thread that waits does not run.
        let before = thread_time().unwrap();
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        receiver.recv_timeout(Duration::from_millis(50)).unwrap_err();
        assert!(thread_time().unwrap() < before + Duration::from_millis(40));
    }
}
