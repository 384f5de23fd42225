//! An idempotency key as it is asked for, and as it is known.

use ring::digest::{Context, SHA256};

use super::columns::array;
use crate::model::{AdapterName, IdempotencyKey, RouteName, UnixMillis};
use crate::storage::key_owner;

/// Keys kept in memory before they are moved, at 48 bytes each and with room to grow: ≤ 8 MiB with
/// those on the move. More would lengthen recovery after a crash, fewer would share fewer pages.
pub(super) const RECENT_MAX: usize = 65_536;

/// Slots that keys with the same hash may take. Hashes are salted: nobody can make them agree.
pub(super) const SLOTS: i64 = 4;

/// A key as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyProbe {
    pub(super) slot: i64,
    pub(super) digest: [u8; 16],
    pub(super) window_ms: u64,
}

impl KeyProbe {
    pub(super) fn new(
        salt: &[u8; 16],
        key: &IdempotencyKey,
        route: Option<&RouteName>,
        adapter: &AdapterName,
    ) -> Self {
        let (scope, owner) = key_owner(key, route, adapter);
        let mut context = Context::new(&SHA256);
        context.update(salt);
        // Neither a scope nor a name holds a zero byte, so that no two triples read the same.
        for part in [scope.as_bytes(), b"\0", owner.as_bytes(), b"\0", key.value.as_bytes()] {
            context.update(part);
        }
        let sha256: [u8; 32] = array(context.finish().as_ref());
        let hash = i64::from_le_bytes(array(&sha256));
        Self {
            slot: hash & (i64::MAX - (SLOTS - 1)),
            digest: array(sha256.get(8..).unwrap_or_default()),
            window_ms: key.window_seconds.saturating_mul(1_000),
        }
    }

    /// When its window ends for a request that arrived at `arrived`.
    pub(super) const fn until(&self, arrived: UnixMillis) -> UnixMillis {
        UnixMillis(arrived.0.saturating_add(self.window_ms))
    }

    /// Whether `known` makes this key, asked by a request that arrived at `now`, a known one.
    ///
    /// Both windows must still run: the one it was stored with, after which it may be gone, and the
    /// one the adapter names now.
    pub(super) fn matches(&self, known: &KnownKey, now: UnixMillis) -> bool {
        known.digest == self.digest && now <= known.until && now <= self.until(known.arrived)
    }
}

/// A key that a request has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownKey {
    pub(super) digest: [u8; 16],
    pub(super) arrived: UnixMillis,
    pub(super) until: UnixMillis,
    /// `requests.seq` of that request.
    pub(super) request: i64,
}
