//! What loading and configuring came to, kept in a folder: descriptions and compiled code.
//!
//! Compiled code is run as it is, so a file is believed only if it carries this installation's
//! authentication code over its name and every byte of it. Anything wrong with a file is counted
//! and told, and then as if the file were not there: it is compiled anew and written again.
//!
//! Invariants: the key is readable by the gateway's own user alone; the bytes that are
//! authenticated are the bytes that are loaded (read once, never mapped); a name depends on the
//! component, the settings, the engine's settings and its version; the folder is bounded.

mod file;
mod folder;
mod revive;

use std::fmt;
use std::hash::{Hash as _, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use folder::Folder;
use ring::{digest, hmac};

use super::engine::Runtime;
use crate::telemetry::Happening as _;
use crate::telemetry::adapter::{CacheFileRefused, CacheWriteFailed};

/// Changes with the layout of an entry, and with whatever else makes old entries wrong.
const FORMAT: &[u8] = b"sluice cache 1";

/// What the cache was good for since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Entries found and believed.
    pub hits: u64,
    /// Entries that were not there.
    pub misses: u64,
    /// Entries that were there and were not believed.
    pub refused: u64,
}

/// Names an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

/// The bytes of an entry that this installation wrote. Only [`Cache::read`] makes one.
pub(super) struct Authentic(Vec<u8>);

impl Authentic {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The folder, or its absence.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Option<Folder>,
    hits: AtomicU64,
    misses: AtomicU64,
    refused: AtomicU64,
}

impl Cache {
    /// # Errors
    ///
    /// Where the folder cannot be made, or belongs to somebody else.
    pub(super) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let folder = folder.map(Folder::open).transpose()?;
        let zero = AtomicU64::default;
        Ok(Self { folder, hits: zero(), misses: zero(), refused: zero() })
    }

    /// Whether anything that is written will be there again.
    pub(super) const fn is_kept(&self) -> bool {
        self.folder.is_some()
    }

    /// The entry of that name, if it is there and authentic.
    pub(super) fn read(&self, name: &Name) -> Option<Authentic> {
        match self.folder.as_ref()?.read(&name.0) {
            Ok(Some(bytes)) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                Some(Authentic(bytes))
            }
            Ok(None) => {
                self.misses.fetch_add(1, Ordering::Relaxed);
                None
            }
            Err(reason) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                CacheFileRefused { reason: reason.as_str() }.emit();
                None
            }
        }
    }

    /// Keeps an entry, or tells that it could not.
    pub(super) fn write(&self, name: &Name, bytes: &[u8]) {
        if let Some(folder) = &self.folder
            && let Err(error) = folder.write(&name.0, bytes)
        {
            CacheWriteFailed { error: &error }.emit();
        }
    }

    pub(super) fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// Everything about this gateway that decides whether compiled code fits it.
pub(super) struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({})", hex::encode(self.0))
    }
}

impl Fingerprint {
    pub(super) fn of(runtime: &Runtime) -> Self {
        let mut hasher = Sha256Hasher(digest::Context::new(&digest::SHA256));
        FORMAT.hash(&mut hasher);
        // What a component may import is decided by this crate, not by the engine.
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        // A snapshot taken with more memory may not start with less.
        runtime.limits.memory.hash(&mut hasher);
        runtime.engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(sized(hasher.0.finish().as_ref()))
    }

    /// The name of what is made of `parts`. Each part is framed by its length, so that no two
    /// lists of parts are one.
    pub(super) fn name(&self, kind: &str, parts: &[&[u8]]) -> Name {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [&self.0, kind.as_bytes()].into_iter().chain(parts.iter().copied()) {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_le_bytes());
            context.update(part);
        }
        Name(hex::encode(context.finish()))
    }
}

/// Hashes what only knows how to be hashed by `std`.
struct Sha256Hasher(digest::Context);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finish();
        digest.as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

fn sized(digest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = *from;
    }
    bytes
}

fn hmac_key(bytes: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

#[cfg(test)]
mod tests;
