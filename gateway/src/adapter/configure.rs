//! From a [`Plugin`] and its settings to an [`Adapter`].

use std::sync::Arc;

use serde_json::{Map, Value};
use wasmtime::Store;
use wasmtime::component::Component;

use super::cache::Name;
use super::guard::{Broken, guarded};
use super::host::{Breach, Exported, Host, Shared, Subject};
use super::linked::{Linked, Returned};
use super::load::{Compiled, link, prepare};
use super::text::tame;
use super::v1::sluice::adapter::types;
use super::{
    Adapter, ConfigureError, LoadError, Plugin, Sandbox, SettingsProblem, preinitialise, v1,
};
use crate::model::RouteName;
use crate::telemetry::Happening as _;
use crate::telemetry::adapter::SnapshotRefused;
use crate::telemetry::reload::Alive;

/// Problems of one configuration that are shown.
const PROBLEMS_MAX: usize = 100;

/// Longest path and message of a problem, in bytes.
const PROBLEM_BYTES_MAX: usize = 512;

/// First byte of a cached adapter: how its calls start.
const FROM_SNAPSHOT: u8 = b'S';
const CONFIGURED_EACH_CALL: u8 = b'C';

/// The settings as `configure` takes them.
pub(super) struct Settings {
    pub(super) own: String,
    pub(super) routes: Vec<(String, String)>,
}

impl Settings {
    pub(super) fn new(
        own: &Map<String, Value>,
        routes: &[(RouteName, Map<String, Value>)],
    ) -> Self {
        let routes = routes.iter().map(|(name, own)| (name.as_str().to_owned(), text(own)));
        Self { own: text(own), routes: routes.collect() }
    }
}

/// How a call starts.
pub(super) enum Start {
    /// From memory that has already taken up the settings.
    Snapshot(Linked),
    /// From nothing: `configure` opens each call.
    Configure(Linked, Settings),
}

impl Sandbox {
    pub(super) fn configure_plugin(
        &self,
        plugin: &Plugin,
        settings: &Map<String, Value>,
        routes: &[(RouteName, Map<String, Value>)],
    ) -> Result<Adapter, ConfigureError> {
        let settings = Settings::new(settings, routes);
        let made_of = self.made_of(plugin, &settings);
        let start = self.start(plugin, settings, &made_of)?;
        Ok(Adapter {
            version: Arc::clone(&plugin.version),
            description: Arc::clone(&plugin.description),
            shared: Arc::new(Shared::of(Arc::clone(&plugin.version))),
            runtime: Arc::clone(&self.runtime),
            start,
            made_of,
            _alive: Alive::adapter(),
        })
    }

    /// Names what an adapter is made of, in this process and in the cache.
    pub(super) fn made_of(&self, plugin: &Plugin, settings: &Settings) -> Name {
        let mut parts = vec![plugin.version.digest.as_bytes(), settings.own.as_bytes()];
        for (name, own) in &settings.routes {
            parts.extend([name.as_bytes(), own.as_bytes()]);
        }
        self.fingerprint.name("adapter", &parts)
    }

    fn start(
        &self,
        plugin: &Plugin,
        settings: Settings,
        name: &Name,
    ) -> Result<Start, ConfigureError> {
        let cache = self.cache.load();
        if let Some(entry) = cache.read(name)
            && let Some((kind, component)) = cache.revive(&self.runtime.engine, &entry)
            && let Ok(pre) = link(&self.runtime, &component)
        {
            return Ok(match kind {
                FROM_SNAPSHOT => Start::Snapshot(pre),
                _ => Start::Configure(pre, settings),
            });
        }

        let refused = |message: String| LoadError {
            plugin: plugin.version.plugin.clone(),
            message,
            source: None,
        };
        let compiled = plugin.source.compiled(&self.runtime, &plugin.version.plugin)?;
        let snapshot = self.take_up(plugin, &compiled, &settings)?;
        let (kind, pre) = match snapshot {
            Some(snapshot) => (FROM_SNAPSHOT, prepare(&self.runtime, &snapshot)),
            None if compiled.instrumented => {
                (CONFIGURED_EACH_CALL, prepare(&self.runtime, &compiled.component))
            }
            None => (CONFIGURED_EACH_CALL, Ok(compiled.pre.clone())),
        };
        let pre = pre.map_err(refused)?;
        self.keep(name, kind, pre.pre().component());
        Ok(match kind {
            FROM_SNAPSHOT => Start::Snapshot(pre),
            _ => Start::Configure(pre, settings),
        })
    }

    /// Runs `configure`, and takes the snapshot where there can be one.
    fn take_up(
        &self,
        plugin: &Plugin,
        compiled: &Compiled,
        settings: &Settings,
    ) -> Result<Option<Vec<u8>>, ConfigureError> {
        let shared = Arc::new(Shared::of(Arc::clone(&plugin.version)));
        let subject = Subject::Loading(Exported::Configure);
        let mut store = self.runtime.store(&shared, subject);
        let _permit = self.runtime.enter();
        let configured = guarded(&mut store, |store| {
            let instance = compiled.pre.pre().instantiate(&mut *store)?;
            let adapter = v1::Adapter::new(&mut *store, &instance)?;
            let taken = adapter.call_configure(&mut *store, &settings.own, &settings.routes)?;
            Ok((instance, taken))
        });
        let instance = match configured {
            Ok((instance, Ok(()))) => instance,
            Ok((_, Err(problems))) => return Err(ConfigureError::Problems(read(problems))),
            Err(broken) => {
                return Err(ConfigureError::Load(LoadError {
                    plugin: plugin.version.plugin.clone(),
                    message: broken_message(&plugin.version.version, broken),
                    source: None,
                }));
            }
        };
        if !compiled.instrumented {
            return Ok(None);
        }
        match preinitialise::snapshot(&self.runtime, &compiled.component, &mut store, instance) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(reason) => {
                let reason = tame(&reason, PROBLEM_BYTES_MAX);
                SnapshotRefused { plugin: &plugin.version.plugin, reason }.emit();
                Ok(None)
            }
        }
    }

    fn keep(&self, name: &Name, kind: u8, component: &Component) {
        let cache = self.cache.load();
        if cache.is_kept()
            && let Ok(code) = component.serialize()
        {
            cache.write(name, &[&[kind], code.as_slice()].concat());
        }
    }
}

fn broken_message(version: &str, broken: Broken) -> String {
    match broken {
        Broken::Deadline => format!("{version}: `configure` took too long"),
        Broken::Trap { why, .. } => format!("{version}: `configure` trapped: {why}"),
    }
}

fn text(settings: &Map<String, Value>) -> String {
    // The keys of a `Map` are sorted: equal settings are one text, and so one snapshot.
    serde_json::to_string(settings).unwrap_or_else(|_| "{}".to_owned())
}

fn read(problems: Vec<types::Problem>) -> Vec<SettingsProblem> {
    let mut read: Vec<SettingsProblem> = problems
        .into_iter()
        .take(PROBLEMS_MAX)
        .map(|problem| SettingsProblem {
            route: problem.route.and_then(|name| RouteName::new(&name).ok()),
            path: tame(&problem.path, PROBLEM_BYTES_MAX),
            message: tame(&problem.message, PROBLEM_BYTES_MAX),
        })
        .collect();
    if read.is_empty() {
        // An error without a problem: refused all the same, since it did not say that it is ready.
        read.push(SettingsProblem {
            route: None,
            path: String::new(),
            message: "the plugin refused its settings and did not say why".to_owned(),
        });
    }
    read
}

/// Runs `configure` within a call that starts from nothing.
fn open(
    store: &mut Store<Host>,
    adapter: &v1::Adapter,
    settings: &Settings,
) -> wasmtime::Result<()> {
    store.data_mut().configuring = true;
    let configured = adapter.call_configure(&mut *store, &settings.own, &settings.routes)?;
    store.data_mut().configuring = false;
    configured
        .map_err(|_| Breach::error("`configure` refused settings that it had accepted before"))
}

impl Start {
    /// A fresh, configured instance.
    pub(super) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<v1::Adapter> {
        match self {
            Self::Snapshot(pre) => pre.instantiate(&mut *store),
            Self::Configure(pre, settings) => {
                let adapter = pre.instantiate(&mut *store)?;
                open(store, &adapter, settings)?;
                Ok(adapter)
            }
        }
    }

    /// `receive` in a fresh, configured instance.
    pub(super) fn receive(&self, store: &mut Store<Host>) -> wasmtime::Result<Returned> {
        match self {
            Self::Snapshot(pre) => pre.receive(store),
            Self::Configure(..) => self.instantiate(store)?.call_receive(store),
        }
    }
}
