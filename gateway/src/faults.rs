//! Deliberate faults: what a fault test's control switches on, so that the test can be seen to
//! fail. Compiled only with the feature `faults`, which no release has, and then still off unless
//! the environment variable `SLUICE_FAULT` names one. Beside them a clock that tests set.

use std::sync::Arc;

use crate::model::{Clock, SystemClock};

/// One way of being wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answer 2xx before the commit: breaks promise 1.
    AckBeforeCommit,
    /// Apply changed files at once, however they are being written: breaks promise 8.
    ApplyAtOnce,
    /// Let every request wait for its call, however many wait already: breaks promise 9.
    QueueWithoutBound,
    /// Drain every listener at a reload: breaks promise 8.
    DrainAtReload,
    /// Take connections until no descriptor is left: breaks promise 9.
    UseAllDescriptors,
    /// Try to accept again at once where no descriptor is left: breaks promise 9.
    SpinOnAccept,
    /// Let a thread wait at each connection that is accepted: breaks promise 9.
    WaitAtAccept,
    /// Commit a call's request before its state: breaks promise 2.
    CommitInParts,
    /// The writer of storage hangs at its first commit.
    WriterHangs,
    /// What storage has written is never synced.
    SyncerHangs,
    /// Let one client's unfinished bodies hold every request in flight, and its silent connections
    /// every place: breaks promise 9.
    ShareNothing,
    /// Keep no account of a connection of HTTP/2: breaks promise 9.
    KeepNoAccount,
    /// Tell of what is in the log of storage as if it were synced: breaks promise 1.
    TellBeforeSync,
    /// Whoever logs waits for standard error: breaks promise 9.
    LogOnTheSpot,
}

/// A step of the writer's transaction for a call that changes state. The process can be made to end
/// there as by `kill -9`: at the n-th time, where `SLUICE_CRASH` is `NAME:n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// The transaction is open, nothing of the call is written.
    BeforeRequest,
    /// Its request is written.
    AfterRequest,
    /// Its events are, with idempotency keys and deliveries.
    AfterEvents,
    /// One entry of state is.
    InState,
    /// All of it is.
    AfterState,
    /// The whole group is.
    BeforeCommit,
    /// The group is on disk, and nobody was answered.
    AfterCommit,
}

impl CrashPoint {
    /// Every point, with its name in `SLUICE_CRASH`.
    pub const ALL: [(&'static str, Self); 7] = [
        ("before-request", Self::BeforeRequest),
        ("after-request", Self::AfterRequest),
        ("after-events", Self::AfterEvents),
        ("in-state", Self::InState),
        ("after-state", Self::AfterState),
        ("before-commit", Self::BeforeCommit),
        ("after-commit", Self::AfterCommit),
    ];

    /// Ends the process where it is to end here now.
    #[cfg(feature = "faults")]
    pub fn reached(self) {
        use std::sync::OnceLock;
        use std::sync::atomic::{AtomicU64, Ordering};

        static CHOSEN: OnceLock<Option<(CrashPoint, u64)>> = OnceLock::new();
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let chosen = CHOSEN.get_or_init(|| {
            let text = std::env::var("SLUICE_CRASH").ok()?;
            let (name, count) = text.split_once(':')?;
            let point = Self::ALL.iter().find(|(known, _)| *known == name)?.1;
            Some((point, count.parse().ok()?))
        });
        if let Some((point, count)) = chosen
            && *point == self
            && TIMES.fetch_add(1, Ordering::Relaxed) + 1 == *count
        {
            std::process::abort();
        }
    }

    /// Nothing, in this build.
    #[cfg(not(feature = "faults"))]
    pub const fn reached(self) {}
}

impl Fault {
    /// Whether this fault is switched on.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn is_on(self) -> bool {
        static CHOSEN: std::sync::OnceLock<Option<Fault>> = std::sync::OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| match std::env::var("SLUICE_FAULT").as_deref() {
            Ok("ack-before-commit") => Some(Self::AckBeforeCommit),
            Ok("apply-at-once") => Some(Self::ApplyAtOnce),
            Ok("queue-without-bound") => Some(Self::QueueWithoutBound),
            Ok("drain-at-reload") => Some(Self::DrainAtReload),
            Ok("use-all-descriptors") => Some(Self::UseAllDescriptors),
            Ok("spin-on-accept") => Some(Self::SpinOnAccept),
            Ok("wait-at-accept") => Some(Self::WaitAtAccept),
            Ok("commit-in-parts") => Some(Self::CommitInParts),
            Ok("share-nothing") => Some(Self::ShareNothing),
            Ok("keep-no-account") => Some(Self::KeepNoAccount),
            Ok("tell-before-sync") => Some(Self::TellBeforeSync),
            Ok("log-on-the-spot") => Some(Self::LogOnTheSpot),
            Ok("writer-hangs") => Some(Self::WriterHangs),
            Ok("syncer-hangs") => Some(Self::SyncerHangs),
            Ok(_) | Err(_) => None,
        });
        *chosen == Some(self)
    }

    /// Never, in this build.
    #[cfg(not(feature = "faults"))]
    #[must_use]
    pub const fn is_on(self) -> bool {
        false
    }
}

/// The machine's clock. In a build with faults, where the environment variable `SLUICE_CLOCK` names
/// a file, the time that stands in it, in milliseconds since the epoch.
#[must_use]
pub fn clock() -> Arc<dyn Clock> {
    #[cfg(feature = "faults")]
    if let Some(path) = std::env::var_os("SLUICE_CLOCK") {
        return Arc::new(file_clock::FileClock { path: path.into() });
    }
    Arc::new(SystemClock)
}

#[cfg(feature = "faults")]
mod file_clock {
    use std::path::PathBuf;

    use crate::model::{Clock, SystemClock, UnixMillis};

    #[derive(Debug)]
    pub(super) struct FileClock {
        pub(super) path: PathBuf,
    }

    impl Clock for FileClock {
        /// Read anew each time; the machine's where nothing can be read.
        fn now(&self) -> UnixMillis {
            let text = std::fs::read_to_string(&self.path).ok();
            let set = text.and_then(|text| text.trim().parse().ok());
            set.map_or_else(|| SystemClock.now(), UnixMillis)
        }
    }
}
