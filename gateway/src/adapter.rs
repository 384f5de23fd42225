//! Adapters: components in a sandbox.
//!
//! A [`Plugin`] is a component file, checked and described. An [`Adapter`] is a plugin that has
//! taken up its settings: a snapshot of its memory, from which every call starts afresh. Nothing
//! of one call is left for the next.
//!
//! Invariants: no WASI is linked; a secret never enters a sandbox; a call ends in exactly one of
//! the four ways of [`End`]; only compiled code that this gateway itself wrote and authenticated
//! is loaded.

mod budget;
mod cache;
mod call;
mod configure;
mod describe;
mod engine;
mod exchange;
mod guard;
mod host;
mod imports;
mod inspect;
mod linked;
mod load;
mod log_budget;
mod outcome;
mod preinitialise;
mod redaction;
mod state;
mod text;
mod ticker;
mod v1;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

pub use cache::CacheCounts;
use cache::{Cache, Fingerprint, Name};
pub use describe::{Description, EventType, FactColumn, PausedAnswer, SecretRole, SettingIs, View};
pub use exchange::{
    CallEnd, Cause, End, OtherCall, Outcome, OutcomeEvent, Receive, ReceiveCall, RecordedRun,
    SeenReader, StateReader, Unread, ViewEnd,
};

pub(crate) use redaction::withheld;

use configure::Start;
use engine::Runtime;
use host::Shared;
use load::Source;

use crate::model::{PluginName, PluginVersion, RouteName};
use crate::telemetry::reload::Alive;

/// Bounds of the sandbox; every field has a default that suits production.
#[derive(Clone, Debug)]
pub struct SandboxLimits {
    /// What one call may have of a processor, instantiation included; by the wall it may take ten
    /// times as long, where others have the processor. Default 100 ms.
    pub deadline: Duration,
    /// Linear memory of one call, in bytes, on a route that takes bodies of up to 1 MiB; six bytes
    /// more for each byte that it takes beyond. Default 16 MiB.
    pub memory: usize,
    /// Calls at once. Default: the number of cores.
    pub calls_in_flight_max: usize,
    /// Largest component file, in bytes. Default 2 MiB.
    pub component_bytes_max: u64,
    /// Folder of compiled code; made with mode 0700. Absent: nothing is kept.
    pub cache: Option<PathBuf>,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(100),
            memory: 16 << 20,
            calls_in_flight_max: std::thread::available_parallelism().map_or(2, usize::from),
            component_bytes_max: 2 << 20,
            cache: None,
        }
    }
}

/// Why a component cannot be used. `Display` is one sentence that names the plugin, what is at
/// fault (the import, the export, the version, the limit) and what to do.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}`: {message}")]
pub struct LoadError {
    pub plugin: PluginName,
    pub message: String,
    #[source]
    pub source: Option<anyhow::Error>,
}

/// One complaint of `configure`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Absent: the adapter's own settings.
    pub route: Option<RouteName>,
    /// Dotted path within the settings; empty for the whole.
    pub path: String,
    pub message: String,
}

/// Why an adapter could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The plugin found mistakes in its settings.
    #[error("the plugin refused its settings")]
    Problems(Vec<SettingsProblem>),
    /// It trapped, ran out of time or broke the contract.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Compiles, checks and configures components; owns the engine and its ticker thread, together
/// with the adapters that it made.
#[derive(Debug)]
pub struct Sandbox {
    runtime: Arc<Runtime>,
    cache: ArcSwap<Cache>,
    fingerprint: Fingerprint,
}

/// A folder of compiled code that was opened and is not used yet.
#[derive(Debug)]
pub struct CacheFolder(Cache);

/// A checked component with its description, not yet configured.
#[derive(Clone, Debug)]
pub struct Plugin {
    pub version: Arc<PluginVersion>,
    pub description: Arc<Description>,
    source: Arc<Source>,
}

/// A configured plugin: what routes call. Cheap to share, freed with its last holder.
pub struct Adapter {
    pub version: Arc<PluginVersion>,
    pub description: Arc<Description>,
    /// What every call's store shares.
    shared: Arc<Shared>,
    runtime: Arc<Runtime>,
    start: Start,
    /// Names what it was made of: the component, the settings, the engine.
    made_of: Name,
    _alive: Alive,
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts the engine and its ticker thread, which ends with this and the last adapter made
    /// here.
    ///
    /// # Errors
    ///
    /// Where the engine refuses its settings or the cache folder cannot be used.
    pub fn new(limits: SandboxLimits) -> anyhow::Result<Self> {
        let cache = ArcSwap::from_pointee(Cache::open(limits.cache.as_deref())?);
        let runtime = Runtime::new(limits)?;
        let fingerprint = Fingerprint::of(&runtime);
        Ok(Self { runtime: Arc::new(runtime), cache, fingerprint })
    }

    /// Checks a component or a core module that carries its WIT, and asks it to describe itself.
    /// Takes tens of milliseconds where nothing is cached: call it off the request path.
    ///
    /// # Errors
    ///
    /// What it imports, exports or weighs that it may not, by name.
    pub fn load(&self, name: &PluginName, bytes: &[u8]) -> Result<Plugin, LoadError> {
        self.load_plugin(name, bytes)
    }

    /// Runs `configure` and takes the snapshot from which calls start. `routes`: the settings of
    /// each route, already laid over the adapter's.
    ///
    /// # Errors
    ///
    /// The plugin's complaints about its settings, or what it did that it may not.
    pub fn configure(
        &self,
        plugin: &Plugin,
        settings: &serde_json::Map<String, serde_json::Value>,
        routes: &[(RouteName, serde_json::Map<String, serde_json::Value>)],
    ) -> Result<Adapter, ConfigureError> {
        self.configure_plugin(plugin, settings, routes)
    }

    /// As [`Self::load`], from what is known of a plugin that runs: where one of `running` was
    /// made of the same file, nothing is read, compiled or run.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_beside<'a>(
        &self,
        name: &PluginName,
        bytes: &[u8],
        running: impl IntoIterator<Item = &'a Adapter>,
    ) -> Result<Plugin, LoadError> {
        let digest = load::digest(bytes);
        let mut running = running.into_iter().map(|adapter| (&adapter.version, adapter));
        let same = running
            .find(|(version, _)| version.plugin == *name && version.digest == digest)
            .map(|(_, adapter)| adapter);
        match same {
            Some(adapter) => Ok(load::like(adapter, bytes)),
            None => self.load(name, bytes),
        }
    }

    /// Whether configuring `plugin` with these settings would make `adapter` again.
    #[must_use]
    pub fn would_make(
        &self,
        adapter: &Adapter,
        plugin: &Plugin,
        settings: &serde_json::Map<String, serde_json::Value>,
        routes: &[(RouteName, serde_json::Map<String, serde_json::Value>)],
    ) -> bool {
        let settings = configure::Settings::new(settings, routes);
        adapter.version == plugin.version && adapter.made_of == self.made_of(plugin, &settings)
    }

    /// Opens another folder of compiled code, to be used with [`Self::use_cache`].
    ///
    /// # Errors
    ///
    /// Where the folder cannot be made, or belongs to somebody else.
    pub fn open_cache(&self, folder: &Path) -> anyhow::Result<CacheFolder> {
        Ok(CacheFolder(Cache::open(Some(folder))?))
    }

    /// Keeps compiled code there from now on.
    pub fn use_cache(&self, folder: CacheFolder) {
        self.cache.store(Arc::new(folder.0));
    }

    /// What the compilation cache was good for since it was opened.
    #[must_use]
    pub fn cache_counts(&self) -> CacheCounts {
        self.cache.load().counts()
    }
}

impl Adapter {
    /// Whether calls start from a snapshot; if not, `configure` opens each.
    #[must_use]
    pub const fn is_snapshotted(&self) -> bool {
        matches!(self.start, Start::Snapshot(_))
    }
}

impl Receive for Adapter {
    fn version(&self) -> &Arc<PluginVersion> {
        &self.version
    }

    fn description(&self) -> &Arc<Description> {
        &self.description
    }

    fn receive(&self, call: ReceiveCall) -> CallEnd {
        self.run_receive(call)
    }
}
