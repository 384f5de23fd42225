//! Waits for threads, within a bound.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two looks: a thread cannot be waited for with a bound.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Joins `threads`, all of them within `at_most`. Whether they have ended; those that have not are
/// left to the end of the process, which the log says.
pub(super) fn join_within(at_most: Duration, threads: Vec<JoinHandle<()>>) -> bool {
    let end = Instant::now() + at_most;
    while !threads.iter().all(JoinHandle::is_finished) && Instant::now() < end {
        thread::sleep(LOOK_EVERY);
    }
    let (ended, hanging): (Vec<_>, Vec<_>) = threads.into_iter().partition(JoinHandle::is_finished);
    for thread in ended {
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!(thread = name, "A thread of the store panicked.");
        }
    }
    for thread in &hanging {
        tracing::error!(
            thread = thread.thread().name().unwrap_or_default(),
            "A thread of the store does not end, perhaps because the disk hangs. It is left to the \
             end of the process."
        );
    }
    hanging.is_empty()
}
