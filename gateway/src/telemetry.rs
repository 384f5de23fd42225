//! What operators see of the gateway at work: one struct a happening, one log line, one metric.
//!
//! Invariants: no field of a happening holds a payload, a header's value, a secret or personal
//! data; metric labels are from bounded sets (configured names and fixed words).

pub mod adapter;
pub mod delivery;
pub mod ingest;
mod log;
mod metrics;
pub mod operators;
pub mod reload;

use std::time::Duration;

pub(crate) use self::log::describe as describe_log;
pub use self::log::{LogControl, LogEnd, LogFormat, start as start_log};
pub use self::metrics::Metrics;

/// Something that happened. The fields of the type are all that is told of it.
pub trait Happening {
    /// Writes the log line and counts the metric.
    fn emit(self);
}

/// An error with its whole chain of causes, for a log field.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A duration for a log field, in milliseconds: JSON has no numbers of 128 bits.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Chooses the one TLS implementation for the whole process; later calls change nothing.
pub fn install_tls_provider() {
    // An error says that one is installed already, and it is this one.
    drop(rustls::crypto::ring::default_provider().install_default());
}
