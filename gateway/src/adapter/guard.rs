//! Guest code and libraries on untrusted bytes, run so that whatever happens in them is an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::{Store, Trap};

use super::engine::chain;
use super::host::Host;
use super::text::tame;
use crate::telemetry::Happening as _;
use crate::telemetry::adapter::CallPanicked;

/// Text of a guest in a trap's message, in bytes.
const GUEST_TEXT_BYTES_MAX: usize = 256;

/// A call that returned nothing.
#[derive(Debug)]
pub(super) enum Broken {
    Trap {
        /// May hold words of the guest.
        why: String,
        /// The engine's own word, where it has one.
        code: Option<Trap>,
    },
    Deadline,
}

impl Broken {
    /// The same without anything that the guest may have said.
    pub(super) fn without_words(self) -> Self {
        match self {
            Self::Trap { code, .. } => {
                let what = code.map_or_else(|| "broke the contract".to_owned(), |c| c.to_string());
                let why = format!("{what}; what it said is not kept, since it masks");
                Self::Trap { why, code }
            }
            Self::Deadline => Self::Deadline,
        }
    }
}

/// Runs guest code. Whatever happens in it, and a panic in our own host functions, comes back as
/// an error; the store is not to be entered again after one.
pub(super) fn guarded<R>(
    store: &mut Store<Host>,
    run: impl FnOnce(&mut Store<Host>) -> wasmtime::Result<R>,
) -> Result<R, Broken> {
    // The store is only read and dropped after a panic.
    let Ok(ran) = catch_unwind(AssertUnwindSafe(|| run(store))) else {
        let host = store.data();
        CallPanicked { plugin: &host.shared.version, call: host.exported().as_str() }.emit();
        return Err(Broken::Trap { why: "the gateway's own code failed".to_owned(), code: None });
    };
    ran.map_err(|error| {
        let code = error.downcast_ref::<Trap>().copied();
        if code == Some(Trap::Interrupt) {
            return Broken::Deadline;
        }
        let mut message = tame(&chain(&error), GUEST_TEXT_BYTES_MAX);
        if store.data().space.refused {
            // The trap itself tells only of what the guest did next.
            message.push_str("; it had been refused more memory");
        }
        if code.is_some()
            && let Some(line) = &store.data().last_error
        {
            message.push_str("; its last error: ");
            message.push_str(&tame(line, GUEST_TEXT_BYTES_MAX));
        }
        Broken::Trap { why: message, code }
    })
}

/// Runs a library on untrusted bytes; its panic is an error like its errors.
pub(super) fn contained<R>(run: impl FnOnce() -> wasmtime::Result<R>) -> Result<R, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(ran) => ran.map_err(|error| chain(&error)),
        Err(_) => Err("it makes the snapshot's writer panic".to_owned()),
    }
}
