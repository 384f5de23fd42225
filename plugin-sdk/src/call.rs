//! The call itself. What an adapter reads here is recorded, so that the call can be run again.

use crate::{Key, host};

/// Milliseconds since the Unix epoch: when the request arrived, and the only clock there is.
#[must_use]
pub fn now() -> u64 {
    host::now()
}

/// UUID of the inbound request; in `consume` of the attempt at the delivery: each attempt has
/// another.
#[must_use]
pub fn id() -> String {
    host::id()
}

/// What is being called: `receive`, `consume` or `view`.
#[must_use]
pub fn kind() -> String {
    host::kind()
}

/// Why: `live`, `replay` or `test`.
#[must_use]
pub fn cause() -> String {
    host::cause()
}

/// Name of the route; of the adapter in `consume` and `view`.
#[must_use]
pub fn route() -> String {
    host::route()
}

/// Whether a request before this one brought the key within its window. Duplicates are found by
/// the gateway itself: ask only where the outcome depends on it.
#[must_use]
pub fn seen(key: &Key) -> bool {
    host::seen(key)
}
