//! The adapter's own transactional storage: ordered byte keys, shared by its routes. What a call
//! writes is committed together with its request and events, or not at all.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Rejection, host};

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
    /// `not_granted`, `quota` or `invalid`; `unreadable` where a value is not what was asked for.
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
/// Where the adapter was granted no state.
pub fn entry(key: &[u8]) -> Result<Option<Entry>, Refusal> {
    host::state_get(key)
}

/// The value under `key`, read from its JSON.
///
/// # Errors
///
/// Where the adapter was granted no state, or the value is not a `T`.
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
/// Where the adapter was granted no state.
pub fn delete(key: &[u8]) -> Result<(), Refusal> {
    host::state_delete(key)
}

/// Entries with `start <= key < end` in ascending order (descending where `reverse`), at most
/// `limit`, their values read from JSON. Absent `end`: no upper bound.
///
/// # Errors
///
/// Where the adapter was granted no state, or a value is not a `T`.
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
