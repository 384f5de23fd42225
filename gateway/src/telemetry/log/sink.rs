//! Where log lines go: into memory, and from there to standard error by a thread of its own.
//!
//! A pipe that nobody empties, or a full disk that standard error leads to, must cost lines and
//! nothing else: whoever logs neither waits for standard error nor learns what it came to.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use metrics::{counter, describe_counter};
use tracing_subscriber::fmt::MakeWriter;

use crate::faults::Fault;

/// Lines that could not be written.
const LINES_LOST_TOTAL: &str = "sluice_log_lines_lost_total";

/// Bytes of lines that may wait for standard error: a second or two of the busiest log.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How long the end of the process may wait until what was logged is written.
const END_MAX: Duration = Duration::from_secs(2);

/// Describes what is counted here.
pub(crate) fn describe() {
    describe_counter!(LINES_LOST_TOTAL, "Log lines that standard error did not take.");
}

/// Takes lines. Never fails, and never waits.
#[derive(Clone, Debug)]
pub(super) struct Sink(Arc<Shared>);

/// The thread that writes. Dropping it writes what was logged, and waits for that for a while.
#[derive(Debug)]
pub struct LogEnd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// Lines lost since that was last told in the log.
    lost: u64,
    /// No more lines come.
    ending: bool,
    /// The thread has written everything and ends.
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `line`, or counts it where too much waits already.
    fn take(&self, line: &[u8]) {
        let mut state = self.state();
        if line.len() > WAITING_BYTES_MAX.saturating_sub(state.waiting.len()) {
            state.lost += 1;
            drop(state);
            counter!(LINES_LOST_TOTAL).increment(1);
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for lines and puts them into `batch`, which is empty. Whether there are any: there are
    /// none at the end.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        let waits = |state: &mut State| state.waiting.is_empty() && !state.ending;
        let mut state =
            self.changed.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(batch, &mut state.waiting);
        !batch.is_empty()
    }

    fn write_what_comes(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        while self.next(&mut batch) {
            if out.write_all(&batch).is_err() {
                // Some of it may have been written; which line is the first that was not is unknown.
                let lines = batch.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.state().lost += lines;
                counter!(LINES_LOST_TOTAL).increment(lines);
            } else {
                let lost = std::mem::take(&mut self.state().lost);
                if lost > 0 {
                    tracing::warn!(lines = lost, "Standard error did not take all log lines.");
                }
            }
            batch.clear();
        }
        self.state().ended = true;
        self.changed.notify_all();
    }
}

impl Sink {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Self, LogEnd)> {
        let shared = Arc::new(Shared::default());
        let writing = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writing.write_what_comes(out))?;
        Ok((Self(Arc::clone(&shared)), LogEnd { shared, thread: Some(thread) }))
    }
}

impl Drop for LogEnd {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ending = true;
        self.shared.changed.notify_all();
        let waits = |state: &mut State| !state.ended;
        let (state, waited) = self
            .shared
            .changed
            .wait_timeout_while(state, END_MAX, waits)
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        // A thread that hangs in standard error is left to the end of the process.
        if !waited.timed_out()
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(&self.0)
    }
}

/// Takes one line.
pub(super) struct Line<'s>(&'s Shared);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if Fault::LogOnTheSpot.is_on() {
            return io::stderr().write(line);
        }
        self.0.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes what it is given once the test lets it, and says so.
    struct Slow {
        go: Receiver<io::Result<()>>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().unwrap_or(Ok(()))?;
            // The test may have ended.
            drop(self.taken.send(bytes.to_vec()));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Slow, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let (let_go, go) = channel();
        let (taken, told) = channel();
        (Slow { go, taken }, let_go, told)
    }

    #[test]
    fn lines_are_written_in_order_and_the_end_waits_for_them() {
        let (out, let_go, told) = slow();
        drop(let_go);
        let (sink, end) = Sink::start(out).unwrap();
        for n in 0..100 {
            writeln!(sink.make_writer(), "line {n}").unwrap();
        }
        drop(end);
        let written = told.iter().flatten().collect::<Vec<u8>>();
        let wanted: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(String::from_utf8(written).unwrap(), wanted);
    }

    #[test]
    fn what_is_not_taken_is_bounded_and_counted_and_nobody_waits() {
        let (out, let_go, told) = slow();
        let (sink, end) = Sink::start(out).unwrap();
        let line = [b"x".repeat(1_023), b"\n".to_vec()].concat();
        sink.0.take(&line);
        // Until the thread hangs with the first.
        while !sink.0.state().waiting.is_empty() {
            thread::yield_now();
        }
        for _ in 0..2_000 {
            sink.0.take(&line);
        }
        assert_eq!(sink.0.state().waiting.len(), WAITING_BYTES_MAX);
        assert_eq!(sink.0.state().lost, 2_000 - 1_024);
        // An error loses the batch, and what comes after it is written.
        let_go.send(Err(io::Error::other("a full disk"))).unwrap();
        let_go.send(Ok(())).unwrap();
        assert_eq!(told.recv().unwrap().len(), WAITING_BYTES_MAX);
        drop(let_go);
        sink.0.take(b"after\n");
        drop(end);
        assert_eq!(told.iter().last().unwrap(), b"after\n");
        assert_eq!(sink.0.state().lost, 0, "it was told");
    }

    #[test]
    fn a_sink_that_hangs_does_not_keep_the_process_from_ending() {
        let (out, let_go, _told) = slow();
        let (sink, end) = Sink::start(out).unwrap();
        sink.0.take(b"line\n");
        drop(end);
        drop(let_go);
    }
}
