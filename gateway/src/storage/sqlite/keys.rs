//! Idempotency keys: which are known, without paying for a random page at every event.
//!
//! A key becomes the row of a table ordered by hash, so that one search finds it; but writing a new
//! row there at once would dirty a page of its own for nearly every event. Keys are therefore first
//! kept in memory (their events' rows make them durable), and moved to the table in order of hash,
//! a slice a commit group: neighbours then share pages. After a crash the memory is rebuilt from
//! the events above `meta.keys_through`. What is in neither is told by [`super::filter`], and only what
//! that cannot rule out is searched for in the table.

use std::collections::HashMap;

use super::filter::KeyFilters;
use super::probe::{KeyProbe, KnownKey, SLOTS};
use crate::model::UnixMillis;

/// Keys by slot. Two that hash alike take neighbouring slots, as in the table.
#[derive(Debug, Default)]
pub(super) struct KeyMap(HashMap<i64, KnownKey>);

impl KeyMap {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The key that makes `probe` a known one.
    pub(super) fn find(&self, probe: &KeyProbe, now: UnixMillis) -> Option<KnownKey> {
        (0..SLOTS)
            .filter_map(|step| self.0.get(&(probe.slot + step)))
            .find(|known| probe.matches(known, now))
            .copied()
    }

    /// Sets a key. An older one with its digest gives way.
    pub(super) fn insert(&mut self, slot: i64, key: KnownKey) {
        let base = slot & !(SLOTS - 1);
        let free = (base..base + SLOTS)
            .find(|slot| self.0.get(slot).is_none_or(|held| held.digest == key.digest));
        // Four equal hashes of 61 bits do not happen; the last slot gives way if they do.
        self.0.insert(free.unwrap_or(base + SLOTS - 1), key);
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.0.reserve(other.0.len());
        #[expect(clippy::iter_over_hash_type, reason = "the order of insertion does not matter")]
        for (slot, key) in other.0 {
            self.insert(slot, key);
        }
    }

    fn sorted(&self) -> Vec<(i64, KnownKey)> {
        let mut keys: Vec<_> = self.0.iter().map(|(slot, key)| (*slot, *key)).collect();
        keys.sort_unstable_by_key(|(slot, _)| *slot);
        keys
    }
}

/// What memory knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recall {
    Known(KnownKey),
    New,
    /// The table may hold it.
    AskTable,
}

/// Committed keys that the table may not hold yet, and which it may hold.
#[derive(Debug, Default)]
pub(super) struct RecentKeys {
    active: KeyMap,
    /// On their way into the table; found here until all have arrived.
    moving: KeyMap,
    /// Under the same lock: a key is found by one look at both, however it moves.
    pub(super) filters: KeyFilters,
}

impl RecentKeys {
    pub(super) fn recall(&self, probe: &KeyProbe, now: UnixMillis) -> Recall {
        match self.active.find(probe, now).or_else(|| self.moving.find(probe, now)) {
            Some(known) => Recall::Known(known),
            None if self.filters.table_may_hold(probe.slot) => Recall::AskTable,
            None => Recall::New,
        }
    }

    pub(super) fn absorb(&mut self, keys: KeyMap) {
        self.active.absorb(keys);
    }

    pub(super) fn active_len(&self) -> usize {
        self.active.len()
    }

    /// Begins to move all active keys; returns them in order of the table.
    pub(super) fn begin_move(&mut self) -> Vec<(i64, KnownKey)> {
        self.moving = std::mem::take(&mut self.active);
        self.moving.sorted()
    }

    /// All that were moving are in the table.
    pub(super) fn end_move(&mut self) {
        self.moving = KeyMap::default();
    }
}

/// The move in progress, as the writer sees it.
#[derive(Debug, Default)]
pub(super) struct KeyMove {
    /// In order of the table.
    keys: Vec<(i64, KnownKey)>,
    /// How many of them are in the table.
    done: usize,
    /// `meta.keys_through` once all are.
    through: i64,
}

impl KeyMove {
    pub(super) fn new(keys: Vec<(i64, KnownKey)>, through: i64) -> Self {
        Self { keys, done: 0, through }
    }

    pub(super) fn is_over(&self) -> bool {
        self.keys.is_empty()
    }

    /// The next at most `max` keys, and where `done` stands once they are written.
    pub(super) fn slice(&self, max: usize) -> (&[(i64, KnownKey)], usize) {
        let rest = self.keys.get(self.done..).unwrap_or_default();
        let slice = rest.get(..max).unwrap_or(rest);
        (slice, self.done + slice.len())
    }

    /// `meta.keys_through`, where `done` keys are all of them.
    pub(super) fn finishes_at(&self, done: usize) -> Option<i64> {
        (!self.keys.is_empty() && done >= self.keys.len()).then_some(self.through)
    }

    /// Those that come into the table until `done` are there.
    pub(super) fn until(&self, done: usize) -> &[(i64, KnownKey)] {
        self.keys.get(self.done..done).unwrap_or_default()
    }

    pub(super) fn advance(&mut self, done: usize) {
        self.done = done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AdapterName, IdempotencyKey, KeyScope, RouteName};

    fn probe(value: &str, scope: KeyScope) -> KeyProbe {
        let key = IdempotencyKey { value: value.to_owned(), scope, window_seconds: 1 };
        KeyProbe::new(
            &[7; 16],
            &key,
            Some(&RouteName::new("r").unwrap()),
            &AdapterName::new("r").unwrap(),
        )
    }

    fn known(digest: u8, request: i64) -> KnownKey {
        KnownKey { digest: [digest; 16], arrived: UnixMillis(0), until: UnixMillis(1_000), request }
    }

    #[test]
    fn a_key_of_the_route_is_not_the_key_of_an_adapter_with_its_name() {
        assert_ne!(probe("a", KeyScope::Route), probe("a", KeyScope::Adapter));
        assert_eq!(probe("a", KeyScope::Route), probe("a", KeyScope::Route));
    }

    #[test]
    fn a_slot_is_never_negative_and_leaves_room_for_its_neighbours() {
        for n in 0..1_000 {
            let slot = probe(&n.to_string(), KeyScope::Route).slot;
            assert!(slot >= 0 && slot % SLOTS == 0 && slot.checked_add(SLOTS).is_some());
        }
    }

    #[test]
    fn keys_whose_hashes_agree_are_told_apart_by_their_digests() {
        let mut map = KeyMap::default();
        for digest in 1..=4 {
            map.insert(8, known(digest, i64::from(digest)));
        }
        for digest in 1..=4 {
            let probe = KeyProbe { slot: 8, digest: [digest; 16], window_ms: 1_000 };
            let found = map.find(&probe, UnixMillis(1_000)).map(|known| known.request);
            assert_eq!(found, Some(i64::from(digest)));
        }
        let other = KeyProbe { slot: 8, digest: [9; 16], window_ms: 1_000 };
        assert_eq!(map.find(&other, UnixMillis(0)), None);
        map.insert(8, known(2, 20));
        assert_eq!(map.len(), 4, "setting a key again takes no further slot");
    }

    #[test]
    fn both_windows_bound_a_match() {
        let known = known(1, 1);
        let check = |window_ms, now| {
            KeyProbe { slot: 0, digest: [1; 16], window_ms }.matches(&known, UnixMillis(now))
        };
        assert!(check(1_000, 1_000) && !check(1_000, 1_001), "the edge belongs to the window");
        assert!(check(500, 500) && !check(500, 501), "a shorter window counts");
        assert!(check(5_000, 1_000) && !check(5_000, 1_001), "a longer one finds nothing more");
    }
}
