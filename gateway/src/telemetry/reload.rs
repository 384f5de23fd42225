//! Happenings of reloading.

use std::fmt;
use std::time::Duration;

use metrics::{
    Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::{Happening, millis};
use crate::config::{Problem, Problems};

/// Counts reloads by trigger and result.
pub const RELOADS_TOTAL: &str = "sluice_reloads_total";
/// Seconds from the beginning of a reload to its swap, or to its refusal.
pub const RELOAD_SECONDS: &str = "sluice_reload_seconds";
/// The generation in force.
pub const GENERATION: &str = "sluice_generation";
/// Whether the last reload was refused: 1 until one is applied.
pub const REFUSED: &str = "sluice_reload_refused";
/// Snapshots in memory: one, and those that requests still finish on.
pub const SNAPSHOTS: &str = "sluice_snapshots";
/// Configured adapters in memory.
pub const ADAPTERS: &str = "sluice_adapters";

/// Changes that one log line tells; the reload history has more.
const CHANGES_TOLD: usize = 20;

/// Describes the metrics of reloading to the recorder.
pub fn describe() {
    describe_counter!(RELOADS_TOTAL, "Reloads, by trigger and result.");
    describe_histogram!(
        RELOAD_SECONDS,
        metrics::Unit::Seconds,
        "From the beginning of a reload to its swap, or to its refusal."
    );
    describe_gauge!(GENERATION, "The generation of the configuration in force.");
    describe_gauge!(REFUSED, "1 where the last reload was refused.");
    describe_gauge!(SNAPSHOTS, "Snapshots of the configuration in memory.");
    describe_gauge!(ADAPTERS, "Configured adapters in memory.");
}

/// Counts something that is in memory, until it is dropped.
#[derive(Debug)]
pub struct Alive(Gauge);

impl Alive {
    /// One snapshot.
    #[must_use]
    pub fn snapshot() -> Self {
        Self::new(gauge!(SNAPSHOTS))
    }

    /// One configured adapter.
    #[must_use]
    pub fn adapter() -> Self {
        Self::new(gauge!(ADAPTERS))
    }

    fn new(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The first generation is in force.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) generation: u64,
}

impl Happening for Started {
    fn emit(self) {
        gauge!(GENERATION).set(lossy(self.generation));
        gauge!(REFUSED).set(0.0);
    }
}

/// What is in force works, and may still not be what was meant.
#[derive(Debug)]
pub(crate) struct Hinted<'a> {
    pub(crate) hint: &'a Problem,
}

impl Happening for Hinted<'_> {
    fn emit(self) {
        let Problem { at, message, help } = self.hint;
        tracing::warn!(
            place = at.place(),
            key = at.key,
            message,
            help = help.as_deref().unwrap_or_default(),
            "The configuration works, and may still not be meant so."
        );
    }
}

/// A new generation is in force.
#[derive(Debug)]
pub(crate) struct Reloaded<'a, C> {
    /// From a fixed set of words.
    pub(crate) trigger: &'static str,
    pub(crate) generation: u64,
    pub(crate) changes: &'a [C],
    /// Routes that are gone, where nobody had asked for a reload.
    pub(crate) routes_lost: usize,
    pub(crate) took: Duration,
}

impl<C: fmt::Display> Happening for Reloaded<'_, C> {
    fn emit(self) {
        let Self { trigger, generation, changes, routes_lost, took } = self;
        counter!(RELOADS_TOTAL, "trigger" => trigger, "result" => "applied").increment(1);
        histogram!(RELOAD_SECONDS).record(took);
        gauge!(GENERATION).set(lossy(generation));
        gauge!(REFUSED).set(0.0);
        let told: Vec<String> =
            changes.iter().take(CHANGES_TOLD).map(ToString::to_string).collect();
        let (count, took_ms) = (changes.len(), millis(took));
        tracing::info!(
            generation,
            trigger,
            took_ms,
            count,
            changes = told.join("; "),
            "A new configuration is in force."
        );
        // Who asked for a reload knows; a file may have been lost, or written in two steps.
        if routes_lost > 0 {
            tracing::warn!(
                generation,
                routes_removed = routes_lost,
                "Routes are gone since a file changed: their providers get 404."
            );
        }
    }
}

/// A reload was refused: the generation before serves on.
#[derive(Debug)]
pub(crate) struct ReloadRefused<'a> {
    /// From a fixed set of words.
    pub(crate) trigger: &'static str,
    /// The generation that serves on.
    pub(crate) generation: u64,
    pub(crate) problems: &'a Problems,
    pub(crate) took: Duration,
}

impl Happening for ReloadRefused<'_> {
    fn emit(self) {
        let Self { trigger, generation, problems, took } = self;
        counter!(RELOADS_TOTAL, "trigger" => trigger, "result" => "refused").increment(1);
        histogram!(RELOAD_SECONDS).record(took);
        gauge!(REFUSED).set(1.0);
        for problem in problems.0.iter().take(PROBLEMS_TOLD) {
            let Problem { at, message, help } = problem;
            tracing::error!(
                place = at.place(),
                key = at.key,
                message,
                help = help.as_deref().unwrap_or_default(),
                "A problem of the new configuration."
            );
        }
        tracing::error!(
            generation,
            trigger,
            problems = problems.0.len(),
            "The new configuration was refused: the one before serves on."
        );
    }
}

/// Problems that one refusal writes to the log; `sluice check` tells all.
const PROBLEMS_TOLD: usize = 20;

/// A configuration file is being written and does not come to rest.
#[derive(Debug)]
pub(crate) struct NotSettling {
    pub(crate) since: Duration,
}

impl Happening for NotSettling {
    fn emit(self) {
        tracing::warn!(
            since_ms = millis(self.since),
            "Files of the configuration are being written, or are open for writing: nothing is \
             applied until they have come to rest."
        );
    }
}

/// Changes of files cannot be watched; they are looked for every few seconds instead.
#[derive(Debug)]
pub(crate) struct WatchFailed<'a> {
    pub(crate) error: &'a notify::Error,
}

impl Happening for WatchFailed<'_> {
    fn emit(self) {
        tracing::warn!(
            error = super::chain(self.error),
            "A folder of the configuration cannot be watched: changes there are seen some seconds \
             later."
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a double; exact up to 2^53")]
const fn lossy(count: u64) -> f64 {
    count as f64
}
