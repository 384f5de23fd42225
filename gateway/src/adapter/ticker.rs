//! The thread that makes time pass in the sandbox.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// How often running code looks whether its deadline has passed. A call may overrun its deadline
/// by this much; a hundred wake-ups a second are not to be seen in any profile.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Advances an engine's epoch every [`TICK`] until it is dropped; dropping waits for the thread.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// # Errors
    ///
    /// Where no thread can be started.
    pub(super) fn start(engine: Engine) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("sandbox-ticker".to_owned()).spawn(move || {
            let start = Instant::now();
            let mut ticks: u128 = 0;
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                // Counted against the clock: on a busy machine this thread wakes late, and
                // deadlines must not stretch with it.
                let due = start.elapsed().as_millis() / TICK.as_millis();
                for _ in ticks..due {
                    engine.increment_epoch();
                }
                ticks = due;
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The sandbox's ticker thread had panicked.");
        }
    }
}

/// The number of ticks after which at least `budget` has passed. One more than fit into it, since
/// the first may be due at once.
pub(super) fn ticks(budget: Duration) -> u64 {
    let ticks = budget.as_millis().div_ceil(TICK.as_millis());
    u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_shorter_than_its_budget() {
        for (millis, expected) in [(0, 1), (1, 2), (10, 2), (11, 3), (100, 11)] {
            assert_eq!(ticks(Duration::from_millis(millis)), expected, "{millis} ms");
        }
    }
}
