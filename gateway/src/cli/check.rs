//! `sluice check`: whether a configuration would run. Offline, complete, binds nothing and leaves
//! nothing behind.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::{CommandError, ConfigArgument, Format, print};
use crate::adapter::{Sandbox, SandboxLimits};
use crate::config::{self, Config, Problem, Problems};
use crate::model::{AdapterName, Clock as _, DestinationName, RouteName, SystemClock, UnixMillis};
use crate::snapshot::{self, OnBrokenAdapter, Snapshot};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<(), CommandError> {
    let report =
        check(&arguments.config.config, SystemClock.now()).map_err(|error| match error {
            CheckError::Problems(problems) => CommandError::Config(problems),
            CheckError::Sandbox(cause) => {
                CommandError::Other(cause.context("the sandbox cannot be started"))
            }
        })?;
    match arguments.format {
        Format::Text => print(&report.to_string()),
        Format::Json => print(&serde_json::to_string_pretty(&report).unwrap_or_default()),
    }
}

/// What a good configuration consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub routes: BTreeMap<RouteName, AdapterName>,
    /// Each with its plugin, as `vkyc 1.0.0`.
    pub adapters: BTreeMap<AdapterName, String>,
    pub destinations: Vec<DestinationName>,
    /// What works and may still not be meant.
    pub hints: Vec<Problem>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The configuration would be refused.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// This machine cannot run plugins; the configuration is not to blame.
    #[error("the sandbox cannot be started")]
    Sandbox(#[source] anyhow::Error),
}

/// Checks the configuration whose main file is `path`: reads its secrets, compiles its plugins and
/// gives them their settings. `now` decides which secrets have expired.
///
/// # Errors
///
/// All problems that `sluice run` would refuse to start with, or a sandbox that does not start.
pub fn check(path: &Path, now: UnixMillis) -> Result<CheckReport, CheckError> {
    let config = Arc::new(config::load(path)?);
    // Nothing is cached: a check may run as somebody who must not write to the gateway's folders.
    let limits = SandboxLimits { cache: None, ..snapshot::sandbox_limits(&config) };
    let sandbox = Sandbox::new(limits).map_err(CheckError::Sandbox)?;
    // No request is ever digested with it.
    let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[0; 32]);
    let snapshot =
        snapshot::build(0, Arc::clone(&config), &sandbox, &digest_key, OnBrokenAdapter::Refuse)?;
    Ok(report(&config, &snapshot, now))
}

fn report(config: &Config, snapshot: &Snapshot, now: UnixMillis) -> CheckReport {
    let adapters = snapshot.adapters.iter().map(|(name, adapter)| {
        let description = crate::adapter::Receive::description(adapter.as_ref());
        (name.clone(), format!("{} {}", description.name, description.version))
    });
    CheckReport {
        routes: config.routes.values().map(|r| (r.name.clone(), r.adapter.clone())).collect(),
        adapters: adapters.collect(),
        destinations: config.destinations.keys().cloned().collect(),
        hints: snapshot.hints(now),
    }
}

/// `ok: …`, then one line for each adapter, then the hints.
impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ok: {}, {}, {}",
            counted(self.routes.len(), "route"),
            counted(self.adapters.len(), "adapter"),
            counted(self.destinations.len(), "destination"),
        )?;
        for (adapter, plugin) in &self.adapters {
            let routes: Vec<&str> = self
                .routes
                .iter()
                .filter(|(_, of)| *of == adapter)
                .map(|(route, _)| route.as_str())
                .collect();
            write!(f, "\n  {adapter} ({plugin}): {}", routes.join(", "))?;
        }
        for hint in &self.hints {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_runs() {
        let route = |name| RouteName::new(name).unwrap();
        let adapter = AdapterName::new("vkyc").unwrap();
        let report = CheckReport {
            routes: [(route("a"), adapter.clone()), (route("b"), adapter.clone())].into(),
            adapters: [(adapter, "vkyc 1.0.0".to_owned())].into(),
            destinations: Vec::new(),
            hints: Vec::new(),
        };
        let expected = "ok: 2 routes, 1 adapter, 0 destinations\n  vkyc (vkyc 1.0.0): a, b";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn a_wrong_configuration_is_told_before_any_plugin_is_compiled() {
        let missing = Path::new("/nonexistent/sluice.toml");
        let error = check(missing, UnixMillis(0)).unwrap_err();
        assert!(matches!(error, CheckError::Problems(problems) if problems.0.len() == 1));
    }
}
