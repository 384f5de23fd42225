//! The adapter's own transactional storage: ordered byte keys, shared by its routes. What a call
//! writes is committed together with its request and events, or not at all.
//!
//! [`Map`] is what most adapters want: typed keys that keep their order, and values as JSON. The
//! functions beneath it take bytes.
//!
//! A call reads one consistent view, and what it wrote itself. If another call changes what it read
//! before it is committed, it is run again on the new state, with the same id and time: a call has
//! no effect before its commit. An entry that has expired by [`crate::call::now`] is absent.
//!
//! What one call may do is bounded; beyond it an operation is refused with the code `quota`, and
//! [`Refusal`] becomes a [`Rejection`] by `?`. Reading is what another call can conflict with: scan
//! from near where the answer lies, and no further than needed.

mod key;
mod map;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::key::{AsKey, MapKey, Prefix};
pub use self::map::{Map, Scan};
use crate::{Rejection, host};

/// Longest key, in bytes. None is empty.
pub const KEY_BYTES_MAX: usize = 512;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// What one call may read: each `get`, each `scan` and each entry that a scan returns is one.
pub const READS_MAX: u32 = 4_096;

/// Keys and values that one call may be given, in bytes.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// What one call may write: each `put` and each `delete` is one.
pub const WRITES_MAX: u32 = 2_048;

/// Keys and values that one call may write, in bytes.
pub const WRITTEN_BYTES_MAX: usize = 1 << 20;

/// One entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Milliseconds since the epoch from which on the entry is absent.
    pub expires_at: Option<u64>,
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `not_granted` (`describe` says no `state_version`), `read_only` (a view writes nothing),
    /// `quota` or `invalid`; `unreadable` where an entry is not what was asked for.
    pub code: String,
    pub detail: String,
}

impl From<Refusal> for Rejection {
    /// 503: the provider should send again when the operator has put it right.
    fn from(refusal: Refusal) -> Self {
        Self::new(503, "state_refused", format!("state: {}: {}", refusal.code, refusal.detail))
    }
}

/// The entry under `key`, as bytes.
///
/// # Errors
///
/// Where the adapter was granted no state, or a quota is exhausted.
pub fn entry(key: &[u8]) -> Result<Option<Entry>, Refusal> {
    host::state_get(key)
}

/// Entries with `start <= key < end` in ascending order (descending where `reverse`), at most
/// `limit`, as bytes. Absent `end`: no upper bound.
///
/// # Errors
///
/// Where the adapter was granted no state, or a quota is exhausted.
pub fn entries(
    start: &[u8],
    end: Option<&[u8]>,
    limit: u32,
    reverse: bool,
) -> Result<Vec<Entry>, Refusal> {
    host::state_scan(start, end, limit, reverse)
}

/// Writes `value` as it is under `key`; from `expires_at` on (milliseconds since the epoch) the
/// entry is absent.
///
/// # Errors
///
/// Where the adapter was granted no state, or a quota is exhausted.
pub fn put_bytes(key: &[u8], value: &[u8], expires_at: Option<u64>) -> Result<(), Refusal> {
    host::state_put(key, value, expires_at)
}

/// The value under `key`, read from its JSON.
///
/// # Errors
///
/// As [`entry`], or where the value is not a `T`.
pub fn get<T: DeserializeOwned>(key: &[u8]) -> Result<Option<T>, Refusal> {
    host::state_get(key)?.map(|entry| read(&entry)).transpose()
}

/// Writes `value` as JSON under `key`; from `expires_at` on (milliseconds since the epoch) the
/// entry is absent.
///
/// # Errors
///
/// Where the adapter was granted no state, or a quota is exhausted.
pub fn put<T: Serialize>(key: &[u8], value: &T, expires_at: Option<u64>) -> Result<(), Refusal> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Refusal { code: "invalid".to_owned(), detail: error.to_string() })?;
    host::state_put(key, &text, expires_at)
}

/// Removes the entry under `key`, where there is one.
///
/// # Errors
///
/// Where the adapter was granted no state, or a quota is exhausted.
pub fn delete(key: &[u8]) -> Result<(), Refusal> {
    host::state_delete(key)
}

/// As [`entries`], their values read from JSON.
///
/// # Errors
///
/// As [`entries`], or where a value is not a `T`.
pub fn scan<T: DeserializeOwned>(
    start: &[u8],
    end: Option<&[u8]>,
    limit: u32,
    reverse: bool,
) -> Result<Vec<(Vec<u8>, T)>, Refusal> {
    host::state_scan(start, end, limit, reverse)?
        .into_iter()
        .map(|entry| read(&entry).map(|value| (entry.key, value)))
        .collect()
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Result<T, Refusal> {
    serde_json::from_slice(&entry.value).map_err(|error| Refusal {
        code: "unreadable".to_owned(),
        detail: format!("a stored value cannot be read at column {}", error.column()),
    })
}
