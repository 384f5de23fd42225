//! From a checked configuration to a snapshot.
//!
//! Plugins are read and loaded once per file, configured once per adapter; then every route is
//! bound to its adapter. A plugin that fails silences what depends on it: only the cause is told.

mod bind;
mod failed;
mod plugins;
mod rebuild;
mod settings;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use self::bind::weak_roles;
use self::failed::FailedAdapter;
pub use self::rebuild::{Rebuild, rebuild};
use super::{BoundRoute, Snapshot};
use crate::adapter::{
    Adapter, ConfigureError, Description, LoadError, Plugin, Receive, Sandbox, SandboxLimits,
};
use crate::config::{AdapterConfig, COMPONENT_BYTES_MAX, Config, Problems, RouteConfig};
use crate::model::{AdapterName, PluginName, PluginVersion, RouteName};

/// What becomes of an adapter that traps or runs out of time while it takes up its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBrokenAdapter {
    /// A problem like any other: for `check`, and where an older snapshot goes on serving.
    Refuse,
    /// Its routes answer 503 and all others are served: for a start, which has nothing to fall
    /// back on.
    ServeTheRest,
}

/// A JSON object.
type Settings = serde_json::Map<String, serde_json::Value>;

/// What loads and configures plugins: the sandbox, or a scripted one in tests.
trait Loader {
    type Plugin;
    type Adapter: Receive + 'static;

    fn load(&self, name: &PluginName, bytes: &[u8]) -> Result<Self::Plugin, LoadError>;

    fn describe<'p>(&self, plugin: &'p Self::Plugin) -> &'p Arc<Description>;

    fn version<'p>(&self, plugin: &'p Self::Plugin) -> &'p Arc<PluginVersion>;

    fn configure(
        &self,
        adapter: &AdapterName,
        plugin: &Self::Plugin,
        settings: &Settings,
        routes: &[(RouteName, Settings)],
    ) -> Result<Arc<Self::Adapter>, ConfigureError>;
}

impl Loader for Sandbox {
    type Plugin = Plugin;
    type Adapter = Adapter;

    fn load(&self, name: &PluginName, bytes: &[u8]) -> Result<Plugin, LoadError> {
        Self::load(self, name, bytes)
    }

    fn describe<'p>(&self, plugin: &'p Plugin) -> &'p Arc<Description> {
        &plugin.description
    }

    fn version<'p>(&self, plugin: &'p Plugin) -> &'p Arc<PluginVersion> {
        &plugin.version
    }

    fn configure(
        &self,
        _adapter: &AdapterName,
        plugin: &Plugin,
        settings: &Settings,
        routes: &[(RouteName, Settings)],
    ) -> Result<Arc<Adapter>, ConfigureError> {
        Self::configure(self, plugin, settings, routes).map(Arc::new)
    }
}

/// The sandbox's limits under this configuration.
#[must_use]
pub fn sandbox_limits(config: &Config) -> SandboxLimits {
    SandboxLimits {
        // `plugins.size_max` is checked when a file is read, so that a reload can change it.
        component_bytes_max: COMPONENT_BYTES_MAX,
        cache: Some(config.plugins.cache.clone()),
        ..SandboxLimits::default()
    }
}

/// Loads and configures every adapter and binds every route. Takes tens of milliseconds for each
/// plugin whose compiled code is not cached: call it off the request path.
///
/// # Errors
///
/// All problems: unreadable or refused plugins, refused settings, unknown or missing secret roles.
pub fn build(
    generation: u64,
    config: Arc<Config>,
    sandbox: &Sandbox,
    digest_key: &ring::hmac::Key,
    broken: OnBrokenAdapter,
) -> Result<Snapshot, Problems> {
    let Built { adapters, routes } = build_with(&config, sandbox, digest_key, broken)?;
    Ok(Snapshot::new(generation, config, adapters, routes))
}

#[derive(Debug)]
struct Built<A> {
    adapters: BTreeMap<AdapterName, Arc<A>>,
    routes: BTreeMap<RouteName, Arc<BoundRoute>>,
}

fn build_with<L: Loader>(
    config: &Config,
    loader: &L,
    digest_key: &ring::hmac::Key,
    broken: OnBrokenAdapter,
) -> Result<Built<L::Adapter>, Problems> {
    let mut problems = Problems::default();
    let mut files = plugins::Files::new(config, loader);
    let mut adapters = BTreeMap::new();
    let mut routes = BTreeMap::new();
    for adapter in config.adapters.values() {
        let Some(plugin) = files.plugin(adapter, &mut problems) else { continue };
        let served = routes_of(config, adapter);
        let description = loader.describe(&plugin);
        let mut bound = Vec::new();
        for (route, merged) in &served {
            let binding = bind::Binding { config, route, adapter, settings: merged, description };
            bound.push((*route, binding.secrets(digest_key, &mut problems)));
        }
        let per_route: Vec<_> =
            served.into_iter().map(|(route, merged)| (route.name.clone(), merged)).collect();
        let configured = loader.configure(&adapter.name, &plugin, &adapter.settings, &per_route);
        bind::consumers(config, adapter, description, &mut problems);
        let serving: Arc<dyn Receive> = match configured {
            Ok(configured) => {
                adapters.insert(adapter.name.clone(), Arc::clone(&configured));
                configured
            }
            Err(ConfigureError::Load(error)) if broken == OnBrokenAdapter::ServeTheRest => {
                let version = loader.version(&plugin).clone();
                Arc::new(FailedAdapter::new(adapter, version, description, &error))
            }
            Err(error) => {
                settings::tell(config, adapter, &error, &mut problems);
                continue;
            }
        };
        for (route, secrets) in bound {
            let route = BoundRoute {
                config: route.clone(),
                adapter: Arc::clone(&serving),
                secrets: Arc::new(secrets),
                paused_answer: bind::paused_answer(route, description),
            };
            routes.insert(route.config.name.clone(), Arc::new(route));
        }
    }
    problems.sort(&config.files);
    if problems.is_empty() { Ok(Built { adapters, routes }) } else { Err(problems) }
}

/// The routes that an adapter serves, with their settings laid over its own.
fn routes_of<'c>(config: &'c Config, adapter: &AdapterConfig) -> Vec<(&'c RouteConfig, Settings)> {
    let routes = config.routes.values().filter(|route| route.adapter == adapter.name);
    routes
        .map(|route| {
            let mut merged = adapter.settings.clone();
            settings::lay_over(&mut merged, &route.settings);
            (route, merged)
        })
        .collect()
}

#[cfg(test)]
mod tests;
