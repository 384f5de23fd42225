//! Building the next snapshot beside the one that serves.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Built, Loader, OnBrokenAdapter, Settings, build_with};
use crate::adapter::{Adapter, ConfigureError, Description, LoadError, Plugin, Sandbox};
use crate::config::{Config, Problems};
use crate::model::{AdapterName, PluginName, PluginVersion, RouteName};
use crate::snapshot::Snapshot;

/// What a rebuild works with.
#[derive(Clone, Copy, Debug)]
pub struct Rebuild<'b> {
    /// The snapshot that serves meanwhile: what did not change is taken from it as it is.
    pub serving: &'b Snapshot,
    pub sandbox: &'b Sandbox,
    pub digest_key: &'b ring::hmac::Key,
    /// Ends it before the next plugin.
    pub stop: &'b CancellationToken,
}

/// Makes the snapshot of the next generation, or finds all problems: nothing that serves changes
/// either way. An adapter whose component and settings are those of the serving snapshot is shared
/// with it; whatever else changed, no other is compiled or configured.
///
/// # Errors
///
/// As [`super::build`]; an adapter that cannot take up its settings is a problem.
pub fn rebuild(config: Arc<Config>, rebuild: Rebuild<'_>) -> Result<Snapshot, Problems> {
    let Built { adapters, routes } =
        build_with(&config, &rebuild, rebuild.digest_key, OnBrokenAdapter::Refuse)?;
    let generation = rebuild.serving.generation.saturating_add(1);
    Ok(Snapshot::new(generation, config, adapters, routes))
}

impl Rebuild<'_> {
    fn may_go_on(&self, plugin: &PluginName) -> Result<(), LoadError> {
        if self.stop.is_cancelled() {
            let message = "the gateway is stopping".to_owned();
            return Err(LoadError { plugin: plugin.clone(), message, source: None });
        }
        Ok(())
    }
}

impl Loader for Rebuild<'_> {
    type Plugin = Plugin;
    type Adapter = Adapter;

    fn load(&self, name: &PluginName, bytes: &[u8]) -> Result<Plugin, LoadError> {
        self.may_go_on(name)?;
        let running = self.serving.adapters.values().map(AsRef::as_ref);
        self.sandbox.load_beside(name, bytes, running)
    }

    fn describe<'p>(&self, plugin: &'p Plugin) -> &'p Arc<Description> {
        &plugin.description
    }

    fn version<'p>(&self, plugin: &'p Plugin) -> &'p Arc<PluginVersion> {
        &plugin.version
    }

    fn configure(
        &self,
        name: &AdapterName,
        plugin: &Plugin,
        settings: &Settings,
        routes: &[(RouteName, Settings)],
    ) -> Result<Arc<Adapter>, ConfigureError> {
        self.may_go_on(&plugin.version.plugin)?;
        if let Some(serving) = self.serving.adapters.get(name)
            && self.sandbox.would_make(serving, plugin, settings, routes)
        {
            return Ok(Arc::clone(serving));
        }
        self.sandbox.configure(plugin, settings, routes).map(Arc::new)
    }
}
