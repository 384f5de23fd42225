//! What a guest may import: one file per capability.
//!
//! Invariant: a function here reads what the call carries, or judges by it. None reaches a file, a
//! socket, a clock or another call.

mod call;
mod inbound;
mod log;
mod state;
mod verification;

use super::host::Host;
use super::v1::sluice::adapter::types;

impl types::Host for Host {}
