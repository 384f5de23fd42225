//! When changed files may be applied. Knows neither clock nor files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::config::Fingerprint;

/// How long the bytes of all inputs must have stayed the same before they are applied. Tools that
/// write a file in steps make them within milliseconds; an operator does not notice the wait.
pub const REST: Duration = Duration::from_millis(250);

/// How long files may go on changing before the operator is told that nothing is applied.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a watcher saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Bytes were written to a file, which may still be open.
    Written(PathBuf),
    /// A file that was open for writing was closed.
    Closed(PathBuf),
    /// The name now stands for something else, or for nothing: created, renamed, removed.
    Replaced(PathBuf),
    /// Something else about a file changed, as who may read it.
    Touched(PathBuf),
    /// Something, perhaps everything: the watcher lost count.
    Lost,
}

/// Follows the inputs from the moment they begin to change until they have come to rest.
#[derive(Debug)]
pub struct Settling {
    /// What was applied or refused last.
    done: Fingerprint,
    /// What the inputs held at the last look.
    seen: Fingerprint,
    /// When that was seen for the first time.
    since: Instant,
    /// When they began to change; absent while they are at rest.
    restless_since: Option<Instant>,
    told: bool,
    /// Written and not closed since.
    open: BTreeSet<PathBuf>,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is new.
    Still,
    /// Look again then, or when something is seen before.
    Wait(Instant),
    /// These bytes are to be applied.
    Settled(Fingerprint),
}

impl Settling {
    /// Inputs of which `done` was applied.
    #[must_use]
    pub const fn new(done: Fingerprint, now: Instant) -> Self {
        Self {
            done,
            seen: done,
            since: now,
            restless_since: None,
            told: false,
            open: BTreeSet::new(),
        }
    }

    /// Notes what the watcher saw. It decides nothing but whether a file is being written: what
    /// changed is found by looking.
    pub fn note(&mut self, seen: Seen) {
        match seen {
            Seen::Written(path) => {
                self.open.insert(path);
            }
            Seen::Closed(path) | Seen::Replaced(path) => {
                self.open.remove(&path);
            }
            Seen::Touched(_) => {}
            // Whether one of them was closed is not known any more.
            Seen::Lost => self.open.clear(),
        }
    }

    /// Takes up what the inputs hold at `now`.
    pub fn look(&mut self, fingerprint: Fingerprint, now: Instant) -> Verdict {
        if fingerprint != self.seen {
            self.seen = fingerprint;
            self.since = now;
        }
        if fingerprint == self.done && self.open.is_empty() {
            self.rest();
            return Verdict::Still;
        }
        self.restless_since.get_or_insert(now);
        let rested = self.since + REST;
        if now < rested {
            Verdict::Wait(rested)
        } else if self.open.is_empty() {
            Verdict::Settled(fingerprint)
        } else {
            Verdict::Wait(now + REST)
        }
    }

    /// These bytes were applied, or refused: they are not tried again until they change.
    pub fn done(&mut self, fingerprint: Fingerprint) {
        self.done = fingerprint;
        self.rest();
    }

    fn rest(&mut self) {
        self.restless_since = None;
        self.told = false;
    }

    /// How long the inputs have not come to rest, where that is worth telling; once.
    pub fn overdue(&mut self, now: Instant) -> Option<Duration> {
        let restless = now.saturating_duration_since(self.restless_since?);
        if self.told || restless < PATIENCE {
            return None;
        }
        self.told = true;
        Some(restless)
    }
}

#[cfg(test)]
mod tests;
