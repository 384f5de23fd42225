//! One immutable configuration as the gateway runs it: checked values, loaded adapters, bound
//! routes. A request holds one from its first byte to its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::adapter::{Adapter, Receive};
use crate::config::{
    self, Config, Delivery, Keys, Outline, Part, Problem, Problems, RouteConfig, Said, join_key,
    list_help,
};
use crate::model::{AdapterName, Answer, RouteName, UnixMillis};
use crate::telemetry::reload::Alive;
use crate::verification::RouteSecrets;

mod build;
mod claim;

pub use build::{OnBrokenAdapter, Rebuild, build, rebuild, sandbox_limits};
pub use claim::claim_state;

/// The key of a plugin in an outline that says its version.
pub const VERSION_KEY: &str = "version";

/// A generation of the configuration.
#[derive(Debug)]
pub struct Snapshot {
    pub generation: u64,
    pub config: Arc<Config>,
    pub adapters: BTreeMap<AdapterName, Arc<Adapter>>,
    pub routes: BTreeMap<RouteName, Arc<BoundRoute>>,
    _alive: Alive,
}

/// A route with everything that serving it needs.
#[derive(Debug)]
pub struct BoundRoute {
    pub config: RouteConfig,
    pub adapter: Arc<dyn Receive>,
    pub secrets: Arc<RouteSecrets>,
    /// Answered while it is paused.
    pub paused_answer: Answer,
}

impl Snapshot {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        generation: u64,
        config: Arc<Config>,
        adapters: BTreeMap<AdapterName, Arc<Adapter>>,
        routes: BTreeMap<RouteName, Arc<BoundRoute>>,
    ) -> Self {
        Self { generation, config, adapters, routes, _alive: Alive::snapshot() }
    }

    /// What it says, for comparing it with another: its configuration, and the plugins that run.
    #[must_use]
    pub fn outline(&self) -> Outline {
        let mut outline = self.config.outline();
        for adapter in self.adapters.values() {
            let version = &adapter.version;
            let said = [("digest", &version.digest), (VERSION_KEY, &version.version)];
            let keys: Keys =
                said.map(|(key, text)| (key.to_owned(), Said::Open(text.clone()))).into();
            outline.insert((Part::Plugin, version.plugin.to_string()), keys);
        }
        for name in self.config.adapters.keys() {
            if !self.adapters.contains_key(name) {
                let keys = outline.entry((Part::Adapter, name.to_string())).or_default();
                keys.insert("state".to_owned(), Said::Open("broken".to_owned()));
            }
        }
        outline
    }

    /// What works and may still not be what the operator meant: in the configuration by itself
    /// ([`config::hints`]) and in what the adapters make of it; in the order of its files.
    #[must_use]
    pub fn hints(&self, now: UnixMillis) -> Vec<Problem> {
        let mut hints = Problems(config::hints(&self.config, now));
        for (name, route) in &self.routes {
            for role in build::weak_roles(route) {
                let key = join_key(&format!("routes.{name}.secrets"), role);
                let at = self.config.sources.get(&key).unwrap_or(&route.config.at);
                let message = "is a shared secret of fewer than 16 bytes";
                let help = "a longer one cannot be guessed: `openssl rand -hex 32`".to_owned();
                hints.push(at, message, Some(help));
            }
        }
        self.unmatched_types(&mut hints);
        hints.sort(&self.config.files);
        hints.0
    }

    /// The hints that the snapshot before did not have: an operator is told each once.
    #[must_use]
    pub fn new_hints(&self, before: &Self, now: UnixMillis) -> Vec<Problem> {
        let told = |hint: &Problem| (hint.at.key.clone(), hint.message.clone());
        let before: BTreeSet<_> = before.hints(now).iter().map(told).collect();
        let mut hints = self.hints(now);
        hints.retain(|hint| !before.contains(&told(hint)));
        hints
    }

    /// Types in `deliver_to` that no event has which the plugin describes.
    fn unmatched_types(&self, hints: &mut Problems) {
        let of_routes = self.routes.values().map(|route| {
            let key = format!("routes.{}", route.config.name);
            (key, &route.config.deliver_to, &route.config.at, route.adapter.description())
        });
        let of_adapters = self.adapters.iter().filter_map(|(name, adapter)| {
            let config = self.config.adapters.get(name)?;
            let key = format!("adapters.{name}");
            Some((key, &config.deliver_to, &config.at, adapter.description()))
        });
        for (key, deliver_to, at, plugin) in of_routes.chain(of_adapters) {
            let kinds = || plugin.events.iter().map(|event| event.kind.as_str());
            // One that describes no events says nothing of what it makes.
            let Some(help) = list_help(kinds()) else { continue };
            for (entry, delivery) in deliver_to.iter().enumerate() {
                for (number, pattern) in delivery.types.iter().enumerate() {
                    if kinds().any(|kind| Delivery::is_match(pattern, kind)) {
                        continue;
                    }
                    let key = format!("{key}.deliver_to.{entry}.types.{number}");
                    let at = self.config.sources.get(&key).unwrap_or(at);
                    let message = format!("matches no event of plugin `{}`", plugin.name);
                    hints.push(at, message, Some(help.clone()));
                }
            }
        }
    }
}
