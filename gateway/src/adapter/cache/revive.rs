//! The one place of this crate with unsafe code.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::{Authentic, Cache};

impl Cache {
    /// Compiled code that this gateway wrote, with the byte that was written before it. `None`:
    /// the engine does not take it, and it is compiled anew.
    #[expect(unsafe_code, reason = "loading compiled code without compiling it")]
    pub(in super::super) fn revive(
        &self,
        engine: &Engine,
        entry: &Authentic,
    ) -> Option<(u8, Component)> {
        let (kind, code) = entry.bytes().split_first()?;
        // SAFETY: `Component::deserialize` asks that the bytes were made by `Component::serialize`
        // and not changed since. Only `Cache::read` makes an `Authentic`, after checking
        // HMAC-SHA256 over the entry's name and bytes with a key that only this user can read;
        // only `Sandbox::keep` writes entries of this form, and writes what `serialize` returned.
        // The bytes lie in our own memory from before they were authenticated until they have been
        // copied, so no change of the file can come between. The name holds the engine's
        // compatibility hash, so that they were made by an equal engine; the engine checks its
        // version and settings once more.
        let component = unsafe { Component::deserialize(engine, code) }.ok()?;
        Some((*kind, component))
    }
}
