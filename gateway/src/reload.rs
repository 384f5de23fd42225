//! Reloading: from a change on disk, a signal or an operator's word to the next generation.
//!
//! The next snapshot is built whole beside the one that serves, and swapped in at once; where
//! anything is wrong with it, nothing changes. What is here: when files have come to rest
//! ([`settle`]) and how they are watched ([`watch`]), what a reload changes ([`diff()`]), what became
//! of it ([`History`]), and how one is asked for ([`Reloads`]). The gateway's composition carries
//! it out, because it alone knows all parts.
//!
//! Invariants: a watch saves time and is never needed; bytes are applied only if they were the
//! same before and after they were read; no value that may be confidential is told.

mod diff;
mod history;
pub mod settle;
pub mod watch;

use std::sync::Arc;

use serde::{Serialize, Serializer};
use tokio::sync::{mpsc, oneshot};

pub use diff::{Change, Fate, KeyChange, diff};
pub use history::{History, RECORDS_MAX};

use crate::config::{Fingerprint, Problem};
use crate::model::UnixMillis;

/// Reloads that wait for the one under way. Each takes up all that was changed before it, so more
/// would only repeat it.
const WAITING_MAX: usize = 16;

/// Why a reload is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The gateway started.
    Start,
    /// Files changed.
    Files,
    /// SIGHUP.
    Signal,
    /// The admin API: `sluice reload`.
    Admin,
}

impl Trigger {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Files => "files",
            Self::Signal => "signal",
            Self::Admin => "admin",
        }
    }
}

/// What became of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fared {
    /// A new generation is in force.
    Applied,
    /// It would be applied, if it were asked for.
    WouldApply,
    /// The generation before serves on.
    Refused,
}

/// One reload, as it is told and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReloadRecord {
    /// Counts up from the start; 0 for what is not kept.
    pub number: u64,
    #[serde(serialize_with = "rfc3339")]
    pub at: UnixMillis,
    pub took_ms: u64,
    pub trigger: Trigger,
    pub result: Fared,
    /// In force afterwards.
    pub generation: u64,
    /// At most [`CHANGES_MAX`].
    pub changes: Vec<Told>,
    /// How many more there were.
    pub changes_left_off: usize,
    /// Why it was refused; at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more there were.
    pub problems_left_off: usize,
}

fn rfc3339<S: Serializer>(at: &UnixMillis, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

/// A change with its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// As ``secret `ringba` changed``.
    pub text: String,
    #[serde(flatten)]
    pub change: Change,
}

impl From<Change> for Told {
    fn from(change: Change) -> Self {
        Self { text: change.to_string(), change }
    }
}

/// Changes that one record keeps. Who replaces a whole configuration knows what it says.
pub const CHANGES_MAX: usize = 200;

/// Problems that one record keeps; `sluice check` tells all.
pub const PROBLEMS_MAX: usize = 100;

impl ReloadRecord {
    /// A record, cut to its bounds.
    #[must_use]
    pub fn new(
        (at, took_ms): (UnixMillis, u64),
        trigger: Trigger,
        (result, generation): (Fared, u64),
        mut changes: Vec<Change>,
        mut problems: Vec<Problem>,
    ) -> Self {
        let changes_left_off = changes.len().saturating_sub(CHANGES_MAX);
        changes.truncate(CHANGES_MAX);
        let problems_left_off = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        let changes = changes.into_iter().map(Told::from).collect();
        Self {
            number: 0,
            at,
            took_ms,
            trigger,
            result,
            generation,
            changes,
            changes_left_off,
            problems,
            problems_left_off,
        }
    }
}

/// A wish for a reload.
#[derive(Debug)]
pub struct Ask {
    pub kind: AskKind,
    /// Gets the record; absent where nobody waits for it.
    pub answer: Option<oneshot::Sender<Arc<ReloadRecord>>>,
}

/// Which reload is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// The files, which have come to rest as these bytes.
    Files(Fingerprint),
    /// Whatever stands on disk.
    Signal,
    Admin {
        /// Build it, tell what it would change, and let it go.
        dry_run: bool,
    },
}

/// How a reload is asked for, and what became of those before.
#[derive(Clone, Debug)]
pub struct Reloads {
    asks: mpsc::Sender<Ask>,
    history: Arc<History>,
}

/// The gateway is stopping: nothing is reloaded any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is stopping")]
pub struct Stopping;

impl Reloads {
    /// With what takes the asks.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(WAITING_MAX);
        (Self { asks, history: Arc::new(History::default()) }, asked)
    }

    #[must_use]
    pub fn history(&self) -> &Arc<History> {
        &self.history
    }

    /// Reloads, or with `dry_run` only tells what it would change, and says what became of it.
    ///
    /// Dropping the returned future gives up waiting, never a reload that was begun.
    ///
    /// # Errors
    ///
    /// Where the gateway stops meanwhile.
    pub async fn reload(&self, dry_run: bool) -> Result<Arc<ReloadRecord>, Stopping> {
        let (answer, told) = oneshot::channel();
        self.ask(AskKind::Admin { dry_run }, Some(answer)).await?;
        told.await.map_err(|_| Stopping)
    }

    /// Asks for a reload, after those that wait, and does not wait for it.
    ///
    /// # Errors
    ///
    /// Where the gateway is stopping.
    pub async fn ask(
        &self,
        kind: AskKind,
        answer: Option<oneshot::Sender<Arc<ReloadRecord>>>,
    ) -> Result<(), Stopping> {
        self.asks.send(Ask { kind, answer }).await.map_err(|_| Stopping)
    }
}
