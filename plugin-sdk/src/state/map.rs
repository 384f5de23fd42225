use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::key::{AsKey, MapKey, Prefix};
use super::{Entry, Refusal, read};
use crate::host;

/// A typed part of the adapter's state: keys that keep their order, values as JSON.
///
/// Maps with different names share nothing. The name is stored with every entry: a short one is
/// cheaper, and another one is another map.
///
/// ```
/// use plugin_sdk::state::Map;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Call {
///     caller: String,
/// }
///
/// const CALLS: Map<String, Call> = Map::new("calls");
/// /// Caller, start and id: the last calls of one caller lie side by side.
/// const BY_CALLER: Map<(String, u64, String), ()> = Map::new("by_caller");
///
/// # fn last(caller: &str, since: u64) -> Result<Option<Call>, plugin_sdk::state::Refusal> {
/// let found = BY_CALLER.under((caller,)).from((caller, since)).descending().first(1)?;
/// let Some(((_, _, id), ())) = found.into_iter().next() else { return Ok(None) };
/// CALLS.get(id.as_str())
/// # }
/// ```
pub struct Map<K, V> {
    name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Map<K, V> {}

impl<K, V> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Map").field(&self.name).finish()
    }
}

impl<K, V> Map<K, V> {
    /// The map of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }

    /// What the keys of this map begin with.
    fn head(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(64);
        self.name.write(&mut key);
        key
    }

    fn key(&self, key: impl AsKey<K>) -> Vec<u8> {
        let mut bytes = self.head();
        key.write(&mut bytes);
        bytes
    }
}

impl<K: MapKey, V: Serialize + DeserializeOwned> Map<K, V> {
    /// The value under `key`.
    ///
    /// # Errors
    ///
    /// Where the adapter was granted no state, a quota is exhausted, or the value is not a `V`.
    pub fn get(&self, key: impl AsKey<K>) -> Result<Option<V>, Refusal> {
        host::state_get(&self.key(key))?.map(|entry| read(&entry)).transpose()
    }

    /// Writes `value` under `key`, to stay.
    ///
    /// # Errors
    ///
    /// Where the adapter was granted no state, or a quota is exhausted.
    pub fn put(&self, key: impl AsKey<K>, value: &V) -> Result<(), Refusal> {
        super::put(&self.key(key), value, None)
    }

    /// Writes `value` under `key`; from `expires_at` on (milliseconds since the epoch) it is absent.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub fn put_until(&self, key: impl AsKey<K>, value: &V, expires_at: u64) -> Result<(), Refusal> {
        super::put(&self.key(key), value, Some(expires_at))
    }

    /// Removes what is under `key`, if anything.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub fn delete(&self, key: impl AsKey<K>) -> Result<(), Refusal> {
        host::state_delete(&self.key(key))
    }

    /// All entries, in the order of their keys.
    #[must_use]
    pub fn all(&self) -> Scan<K, V> {
        let start = self.head();
        let end = successor(start.clone());
        Scan { head: start.clone(), start, end, reverse: false, types: PhantomData }
    }

    /// The entries whose keys begin with these parts.
    #[expect(clippy::needless_pass_by_value, reason = "as in the bounds of `Scan`")]
    #[must_use]
    pub fn under(&self, prefix: impl Prefix<K>) -> Scan<K, V> {
        let mut scan = self.all();
        scan.start = scan.bound(&prefix);
        scan.end = successor(scan.start.clone());
        scan
    }
}

/// A range of a [`Map`]. Every bound only narrows it.
pub struct Scan<K, V> {
    /// What the map's keys begin with.
    head: Vec<u8>,
    start: Vec<u8>,
    end: Vec<u8>,
    reverse: bool,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> fmt::Debug for Scan<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("start", &self.start).field("end", &self.end).finish()
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what is given is written at the call, and small"
)]
impl<K: MapKey, V: DeserializeOwned> Scan<K, V> {
    fn bound(&self, prefix: &impl Prefix<K>) -> Vec<u8> {
        let mut key = self.head.clone();
        prefix.write(&mut key);
        key
    }

    /// Only keys at or after these parts.
    #[must_use]
    pub fn from(mut self, prefix: impl Prefix<K>) -> Self {
        self.start = self.bound(&prefix).max(self.start);
        self
    }

    /// Only keys before these parts.
    #[must_use]
    pub fn until(mut self, prefix: impl Prefix<K>) -> Self {
        self.end = self.bound(&prefix).min(self.end);
        self
    }

    /// Only keys before these parts, or beginning with them.
    #[must_use]
    pub fn through(mut self, prefix: impl Prefix<K>) -> Self {
        self.end = successor(self.bound(&prefix)).min(self.end);
        self
    }

    /// Only keys after these parts, and none that begins with them: the next page.
    #[must_use]
    pub fn after(mut self, prefix: impl Prefix<K>) -> Self {
        self.start = successor(self.bound(&prefix)).max(self.start);
        self
    }

    /// From the last key to the first.
    #[must_use]
    pub const fn descending(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// The first entries of the range in its order, at most `limit`.
    ///
    /// # Errors
    ///
    /// Where the adapter was granted no state, a quota is exhausted, or an entry is not a `K` with
    /// a `V`.
    pub fn first(&self, limit: u32) -> Result<Vec<(K, V)>, Refusal> {
        host::state_scan(&self.start, Some(&self.end), limit, self.reverse)?
            .iter()
            .map(|entry| Ok((self.key_of(entry)?, read(entry)?)))
            .collect()
    }

    fn key_of(&self, entry: &Entry) -> Result<K, Refusal> {
        let read = || {
            let mut bytes = entry.key.strip_prefix(self.head.as_slice())?;
            K::read(&mut bytes).filter(|_| bytes.is_empty())
        };
        read().ok_or_else(|| Refusal {
            code: "unreadable".to_owned(),
            detail: "a stored key is not one of its map".to_owned(),
        })
    }
}

/// The first key after all that begin with `prefix`. A map's head is never all `FF`.
fn successor(mut prefix: Vec<u8>) -> Vec<u8> {
    while prefix.pop_if(|last| *last == u8::MAX).is_some() {}
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    prefix
}
