//! What black-box tests stand on: the real gateway as a process, a provider that posts to it, a
//! destination that it delivers to, and a ledger that knows what must have become of each request.
//!
//! Nothing here reaches into the gateway: it is started with a configuration file and asked over
//! its listeners. Every fake binds port 0 and every gateway has a folder of its own, so that tests
//! run side by side.
#![forbid(unsafe_code)]

pub mod artifacts;
pub mod bench;
pub mod cost;
pub mod destination;
pub mod frames;
pub mod gateway;
pub mod home;
pub mod http;
pub mod ledger;
pub mod provider;
pub mod reload;
pub mod sandbox;
mod start;
pub mod store;
pub mod tls;
pub mod wait;

pub use artifacts::artifact;
pub use destination::{Destination, Received, Reply};
pub use gateway::{Gateway, vkyc_request};
pub use home::{ADMIN_TOKEN, Home, HomeBuilder, VKYC_SECRET};
pub use ledger::{Audit, Ledger, Outcome, Stored};
pub use wait::wait_until;

/// Whether tests that have a longer form take it: `cargo xtask test --long`.
#[must_use]
pub fn long() -> bool {
    std::env::var_os("SLUICE_TEST_LONG").is_some()
}
