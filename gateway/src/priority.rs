//! Threads that give way to those that serve requests.

use thread_priority::{ThreadPriority, ThreadPriorityValue};

/// Nice 5 of -20 to 19: beside a thread that serves requests, one such gets a quarter of a core;
/// where none is busy, all of one. Lower, and what it does would wait too long under full load.
const PRIORITY: u8 = 35;

/// Lowers the priority of the calling thread.
pub(crate) fn step_back() {
    let lower = ThreadPriorityValue::try_from(PRIORITY).map(ThreadPriority::Crossplatform);
    // Where the system refuses, because the whole process is lower already, that will do.
    if let Ok(lower) = lower
        && let Err(error) = lower.set_for_current()
    {
        tracing::debug!(?error, "A thread keeps the priority of its process.");
    }
}
