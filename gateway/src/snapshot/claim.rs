//! The state of adapters, granted when a configuration is taken up.

use super::Snapshot;
use crate::adapter::{Adapter, Receive as _};
use crate::config::Problems;
use crate::storage::{Claiming, Storage, StorageError};

/// Grants every adapter whose plugin keeps state its namespace, or asks whether that could be. To be
/// called with every snapshot before it serves: until then its adapters' calls trap where they ask
/// for state. Where one cannot be granted its state, none is.
///
/// # Errors
///
/// Where storage cannot; the inner problems tell of state that another version of a plugin has left.
pub async fn claim_state(
    snapshot: &Snapshot,
    storage: &dyn Storage,
    claiming: Claiming,
) -> Result<Result<(), Problems>, StorageError> {
    let version = |adapter: &Adapter| adapter.description().state_version;
    let claims = snapshot
        .adapters
        .iter()
        .filter_map(|(name, adapter)| version(adapter).map(|version| (name.clone(), version)));
    let claims: Vec<_> = claims.collect();
    if claims.is_empty() {
        return Ok(Ok(()));
    }
    let mut problems = Problems::default();
    for (name, stored) in storage.claim_state(claims, claiming).await? {
        let Some(adapter) = snapshot.adapters.get(&name) else { continue };
        let version = version(adapter).unwrap_or_default();
        let config = &snapshot.config;
        let key = format!("adapters.{name}.plugin");
        let own = config.adapters.get(&name).map(|adapter| &adapter.at);
        let Some(at) = config.sources.get(&key).or(own) else { continue };
        let plugin = &adapter.version().plugin;
        let message = format!(
            "the stored state of the adapter `{name}` has version {stored}, and `{plugin}` keeps version {version}"
        );
        let help = "run the plugin that wrote it, or give this one to an adapter of another name";
        problems.push(at, message, Some(help.to_owned()));
    }
    problems.sort(&snapshot.config.files);
    Ok(if problems.is_empty() { Ok(()) } else { Err(problems) })
}
