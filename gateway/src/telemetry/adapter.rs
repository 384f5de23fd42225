//! What happens in and around the sandbox.

use super::Happening;
use crate::model::{PluginName, PluginVersion, SecretName};

/// How an adapter ranks a line of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestLevel {
    Error,
    Warn,
    Info,
    Debug,
}

impl GuestLevel {
    /// Reads the contract's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "error" => Some(Self::Error),
            "warn" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" => Some(Self::Debug),
            _ => None,
        }
    }
}

/// An adapter wrote a line for the operator. The line is the guest's, capped and without control
/// characters; that it holds no payload is the adapter's promise, not ours.
#[derive(Debug)]
pub struct AdapterLogged<'a> {
    pub plugin: &'a PluginVersion,
    pub call: &'static str,
    pub level: GuestLevel,
    pub line: String,
}

impl Happening for AdapterLogged<'_> {
    fn emit(self) {
        let Self { plugin, call, level, line } = self;
        let (name, version) = (plugin.plugin.as_str(), plugin.version.as_str());
        match level {
            GuestLevel::Error => {
                tracing::error!(plugin = name, version, call, line, "Adapter log.");
            }
            GuestLevel::Warn => {
                tracing::warn!(plugin = name, version, call, line, "Adapter log.");
            }
            GuestLevel::Info => {
                tracing::info!(plugin = name, version, call, line, "Adapter log.");
            }
            GuestLevel::Debug => {
                tracing::debug!(plugin = name, version, call, line, "Adapter log.");
            }
        }
        metrics::counter!("sluice_adapter_log_lines_total", "plugin" => name.to_owned())
            .increment(1);
    }
}

/// An adapter writes lines faster than the log takes them. One line for a second of it; every line
/// that was left out counts.
#[derive(Debug)]
pub struct AdapterLogDropped<'a> {
    pub plugin: &'a PluginVersion,
    /// Whether it is the first of its second.
    pub is_first: bool,
}

impl Happening for AdapterLogDropped<'_> {
    fn emit(self) {
        let name = self.plugin.plugin.as_str();
        if self.is_first {
            tracing::warn!(plugin = name, "An adapter logs too much; lines are left out.");
        }
        metrics::counter!("sluice_adapter_log_lines_dropped_total", "plugin" => name.to_owned())
            .increment(1);
    }
}

/// A value of a secret is no key of the kind that the adapter asks for: it matches nothing, which
/// no provider can help. One line for each role of a snapshot; every check counts.
#[derive(Debug)]
pub struct SecretIsNoKey<'a> {
    pub secret: &'a SecretName,
    /// The adapter's name for it.
    pub role: &'a str,
    pub error: &'a (dyn std::error::Error + 'static),
    /// Whether it was told before.
    pub again: bool,
}

impl Happening for SecretIsNoKey<'_> {
    fn emit(self) {
        let Self { secret, role, error, again } = self;
        if !again {
            tracing::error!(
                secret = secret.as_str(),
                role,
                error = %error,
                "A secret is not the key that its adapter asks for; nothing matches it."
            );
        }
        metrics::counter!("sluice_secret_no_key_total", "secret" => secret.as_str().to_owned())
            .increment(1);
    }
}

/// A component could not be snapshotted after `configure`: each of its calls is slower by it.
#[derive(Debug)]
pub struct SnapshotRefused<'a> {
    pub plugin: &'a PluginName,
    pub reason: String,
}

impl Happening for SnapshotRefused<'_> {
    fn emit(self) {
        tracing::warn!(
            plugin = self.plugin.as_str(),
            reason = self.reason,
            "Adapter cannot be snapshotted; every call configures it anew."
        );
        metrics::counter!(
            "sluice_adapter_snapshot_refused_total",
            "plugin" => self.plugin.as_str().to_owned()
        )
        .increment(1);
    }
}

/// A file of the compilation cache was not what this gateway had written.
#[derive(Debug)]
pub struct CacheFileRefused {
    /// From a fixed set of words.
    pub reason: &'static str,
}

impl Happening for CacheFileRefused {
    fn emit(self) {
        tracing::warn!(reason = self.reason, "A cached compilation was refused; compiling anew.");
        metrics::counter!("sluice_adapter_cache_refused_total", "reason" => self.reason)
            .increment(1);
    }
}

/// A compilation could not be kept. The next start compiles again.
#[derive(Debug)]
pub struct CacheWriteFailed<'a> {
    pub error: &'a std::io::Error,
}

impl Happening for CacheWriteFailed<'_> {
    fn emit(self) {
        tracing::warn!(error = super::chain(self.error), "A compilation could not be cached.");
        metrics::counter!("sluice_adapter_cache_write_failed_total").increment(1);
    }
}

/// The gateway's own code panicked within a call: a bug, contained.
#[derive(Debug)]
pub struct CallPanicked<'a> {
    pub plugin: &'a PluginVersion,
    pub call: &'static str,
}

impl Happening for CallPanicked<'_> {
    fn emit(self) {
        tracing::error!(
            plugin = self.plugin.plugin.as_str(),
            version = self.plugin.version,
            call = self.call,
            "The gateway panicked within a call; the call ended as a trap."
        );
        metrics::counter!("sluice_adapter_call_panics_total").increment(1);
    }
}
