//! Write a Sluice provider adapter in an afternoon.
//!
//! An adapter is a type that implements [`Adapter`] and is registered with
//! [`register_adapter!`]. It is compiled to a WebAssembly component that imports nothing but the
//! gateway's own interfaces: no clock, no files, no network, and no secret ever enters it.
//!
//! [`testing`] runs the same code natively, against requests that lie in files.
#![doc = include_str!("../README.md")]

mod adapter;
#[doc(hidden)]
pub mod bindings;
pub mod call;
pub mod cards;
mod describe;
mod event_schema;
#[doc(hidden)]
pub mod glue;
mod host;
mod inbound;
pub mod json;
mod key;
pub mod log;
mod money;
mod outcome;
pub mod redaction;
#[doc(hidden)]
pub mod register;
mod rejection;
pub mod settings;
mod some_if_any;
pub mod state;
mod telephone;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time;
pub mod verification;
pub mod view;
mod warning;

pub use adapter::{Adapter, Configured, description};
pub use describe::{
    Description, EventType, FactColumn, PausedAnswer, SecretRole, SettingIs, Travels, View,
};
pub use inbound::{Inbound, PAIRS_MAX, Pairs};
pub use json::{Document, Loose, Object, Original, Reader};
pub use key::{Key, digest_hex};
pub use money::Money;
pub use outcome::{Answer, DeliveredEvent, Event, Fact, Outcome};
pub use redaction::{Redactor, Traced};
pub use rejection::Rejection;
pub use telephone::{Country, E164, Telephone};
pub use time::{Time, Zone};
pub use verification::{Verdict, verify_equal, verify_header, verify_query};
pub use warning::Warning;
