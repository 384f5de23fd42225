//! Deliberate faults: what a fault test's control switches on, so that the test can be seen to
//! fail. Compiled only with the feature `faults`, which no release has, and then still off unless
//! the environment variable `SLUICE_FAULT` names one.

/// One way of being wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answer 2xx before the commit: breaks promise 1.
    AckBeforeCommit,
    /// Apply changed files at once, however they are being written: breaks promise 8.
    ApplyAtOnce,
    /// Drain every listener at a reload: breaks promise 8.
    DrainAtReload,
    /// Take connections until no descriptor is left: breaks promise 9.
    UseAllDescriptors,
    /// Try to accept again at once where no descriptor is left: breaks promise 9.
    SpinOnAccept,
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
            Ok("drain-at-reload") => Some(Self::DrainAtReload),
            Ok("use-all-descriptors") => Some(Self::UseAllDescriptors),
            Ok("spin-on-accept") => Some(Self::SpinOnAccept),
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
