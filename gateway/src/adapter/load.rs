//! From a file's bytes to a [`Plugin`]: checked, compiled, described.
//!
//! With a warm cache nothing is compiled or run here: that the component was checked is recorded
//! with its description, under a name that depends on every byte of it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use wasmtime::component::Component;
use wasmtime_wizer::Wizer;

use super::cache::Name;
use super::engine::{Runtime, chain};
use super::guard::{Broken, contained, guarded};
use super::host::{Exported, Shared, Subject};
use super::linked::Linked;
use super::text::tame;
use super::{Adapter, Description, LoadError, Plugin, Sandbox, inspect};
use crate::model::{PluginName, PluginVersion};
use crate::telemetry::Happening as _;
use crate::telemetry::adapter::SnapshotRefused;

/// Largest description, in bytes; the bundled ones with all their schemas take some 50 KiB.
const DESCRIPTION_BYTES_MAX: usize = 1 << 20;

/// What the engine says of a component that it refuses is shown up to this many bytes.
const CAUSE_BYTES_MAX: usize = 512;

/// A plugin's component, compiled when it is first needed.
pub(super) struct Source {
    file: Arc<[u8]>,
    compiled: OnceLock<Arc<Compiled>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("bytes", &self.file.len()).finish_non_exhaustive()
    }
}

/// A component ready to be configured.
pub(super) struct Compiled {
    /// The component itself.
    pub(super) component: Vec<u8>,
    /// Prepared for calls, and for being read afterwards where it can be.
    pub(super) pre: Linked,
    /// Whether `pre` can be snapshotted.
    pub(super) instrumented: bool,
}

impl Sandbox {
    pub(super) fn load_plugin(&self, name: &PluginName, bytes: &[u8]) -> Result<Plugin, LoadError> {
        let refused = |message: String| LoadError { plugin: name.clone(), message, source: None };
        let limit = self.runtime.limits.component_bytes_max;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(refused(format!(
                "{} bytes; at most {limit} are loaded (`plugins.size_max`)",
                bytes.len()
            )));
        }
        let digest = digest(bytes);
        let source = Source { file: bytes.into(), compiled: OnceLock::new() };
        let cache_name = self.fingerprint.name("description", &[digest.as_bytes()]);
        if let Some(description) = self.cached_description(&cache_name) {
            return Ok(plugin(name, digest, description, source));
        }

        let compiled = source.compiled(&self.runtime, name)?;
        let text = self.describe(name, &digest, &compiled)?;
        let description = Description::parse(&text).map_err(refused)?;
        self.cache.load().write(&cache_name, text.as_bytes());
        Ok(plugin(name, digest, description, source))
    }

    fn cached_description(&self, name: &Name) -> Option<Description> {
        let entry = self.cache.load().read(name)?;
        Description::parse(std::str::from_utf8(entry.bytes()).ok()?).ok()
    }

    fn describe(
        &self,
        name: &PluginName,
        digest: &str,
        compiled: &Compiled,
    ) -> Result<String, LoadError> {
        // It has not said its version yet.
        let unversioned = Arc::new(Shared::of(PluginVersion {
            plugin: name.clone(),
            version: String::new(),
            digest: digest.to_owned(),
        }));
        let subject = Subject::Loading(Exported::Describe);
        let mut store = self.runtime.store(&unversioned, subject);
        let _permit = self.runtime.enter();
        let described = guarded(&mut store, |store| {
            compiled.pre.instantiate(&mut *store)?.call_describe(&mut *store)
        });
        let refused = |message: String| LoadError { plugin: name.clone(), message, source: None };
        match described {
            Ok(text) if text.len() > DESCRIPTION_BYTES_MAX => Err(refused(format!(
                "`describe` returned {} bytes; at most {DESCRIPTION_BYTES_MAX}",
                text.len()
            ))),
            Ok(text) => Ok(text),
            Err(Broken::Deadline) => Err(refused("`describe` took too long".to_owned())),
            Err(Broken::Trap { why, .. }) => Err(refused(format!("`describe` trapped: {why}"))),
        }
    }
}

/// SHA-256 in lower-case hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes))
}

/// The plugin that an adapter was made of, from the bytes of the same file.
pub(super) fn like(adapter: &Adapter, bytes: &[u8]) -> Plugin {
    Plugin {
        version: Arc::clone(&adapter.version),
        description: Arc::clone(&adapter.description),
        source: Arc::new(Source { file: bytes.into(), compiled: OnceLock::new() }),
    }
}

fn plugin(name: &PluginName, digest: String, description: Description, source: Source) -> Plugin {
    let version =
        PluginVersion { plugin: name.clone(), version: description.version.clone(), digest };
    Plugin {
        version: Arc::new(version),
        description: Arc::new(description),
        source: Arc::new(source),
    }
}

impl Source {
    /// Checks and compiles the component, once.
    pub(super) fn compiled(
        &self,
        runtime: &Runtime,
        name: &PluginName,
    ) -> Result<Arc<Compiled>, LoadError> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(Arc::clone(compiled));
        }
        let compiled = compile(runtime, name, &self.file).map_err(|message| LoadError {
            plugin: name.clone(),
            message,
            source: None,
        })?;
        Ok(Arc::clone(self.compiled.get_or_init(|| Arc::new(compiled))))
    }
}

fn compile(runtime: &Runtime, name: &PluginName, file: &[u8]) -> Result<Compiled, String> {
    let component = inspect::component(file)?;
    inspect::check(&component)?;
    match instrumented(runtime, &component) {
        Ok(pre) => Ok(Compiled { component, pre, instrumented: true }),
        // Compiled as it is before any blame is laid: a component that the engine refuses is
        // refused for its own sake, not for what was added to it.
        Err(reason) => {
            let pre = prepare(runtime, &component)?;
            SnapshotRefused { plugin: name, reason }.emit();
            Ok(Compiled { component, pre, instrumented: false })
        }
    }
}

/// The component with its memories and globals made readable, as snapshotting needs it. It serves
/// for `describe` too, so that loading compiles it once and not twice.
fn instrumented(runtime: &Runtime, component: &[u8]) -> Result<Linked, String> {
    let (_, bytes) = contained(|| Wizer::new().instrument_component(component))
        .map_err(|error| tame(&error, CAUSE_BYTES_MAX))?;
    prepare(runtime, &bytes)
}

/// Compiles a component and links it.
pub(super) fn prepare(runtime: &Runtime, component: &[u8]) -> Result<Linked, String> {
    let component = Component::from_binary(&runtime.engine, component).map_err(|error| {
        format!("the engine refuses it: {}", tame(&chain(&error), CAUSE_BYTES_MAX))
    })?;
    link(runtime, &component)
}

/// Links a compiled component.
pub(super) fn link(runtime: &Runtime, component: &Component) -> Result<Linked, String> {
    let mismatch = |error: wasmtime::Error| {
        format!(
            "it does not fit adapter API {}.{}: {}",
            inspect::API_MAJOR,
            inspect::API_MINOR_MAX,
            tame(&chain(&error), CAUSE_BYTES_MAX)
        )
    };
    let pre = runtime.linker.instantiate_pre(component).map_err(mismatch)?;
    Linked::new(pre).map_err(mismatch)
}
