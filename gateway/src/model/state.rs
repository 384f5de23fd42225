use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};

use serde::{Deserialize, Serialize};

use super::UnixMillis;

/// Longest key of an adapter's state, in bytes, as the contract says. None is empty.
pub const STATE_KEY_BYTES_MAX: usize = 512;

/// Longest value, in bytes, as the contract says.
pub const STATE_VALUE_BYTES_MAX: usize = 64 << 10;

/// Which change an entry was last written by. No two changes of a store ever have the same, and a
/// later one has a greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StateVersion(pub i64);

/// One entry of an adapter's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateEntry {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// From then on it is absent.
    pub expires_at: Option<UnixMillis>,
    /// Means nothing in the record of a stored request.
    #[serde(skip)]
    pub version: StateVersion,
}

impl StateEntry {
    /// Whether a call of `now` finds it.
    #[must_use]
    pub fn is_live(&self, now: UnixMillis) -> bool {
        is_live(self.expires_at, now)
    }

    /// Of key and value.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// Whether an entry that expires then is there for a call of `now`.
#[must_use]
pub fn is_live(expires_at: Option<UnixMillis>, now: UnixMillis) -> bool {
    expires_at.is_none_or(|expires_at| now < expires_at)
}

/// What one call changes under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    pub key: Vec<u8>,
    /// Absent: what is there is removed.
    pub put: Option<StatePut>,
}

/// What is put under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePut {
    pub value: Vec<u8>,
    pub expires_at: Option<UnixMillis>,
}

/// Keys from `start` on and before `end`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRange {
    pub start: Vec<u8>,
    pub end: Vec<u8>,
}

impl StateRange {
    /// Absent `end`: through the last key.
    #[must_use]
    pub fn new(start: Vec<u8>, end: Option<Vec<u8>>) -> Self {
        // Longer than any key, and so after all of them.
        let end = end.unwrap_or_else(|| vec![u8::MAX; STATE_KEY_BYTES_MAX + 1]);
        Self { start, end }
    }

    /// This key and no other.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self { start: key.to_vec(), end: next_key(key) }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }
}

/// The first key after this one.
#[must_use]
pub fn next_key(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// What a scan of stored state found: every entry of `looked_at`, and nothing beyond it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// In the order of the scan.
    pub entries: Vec<StateEntry>,
    /// The part of the range that was looked at: from its beginning in the order of the scan.
    pub looked_at: StateRange,
}

/// What a call read of its adapter's state: ranges of keys, and every entry that was in them.
///
/// An absent key is a range without an entry. The ranges are disjoint and as few as can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Flat", into = "Flat")]
pub struct StateReads {
    /// End by start.
    ranges: BTreeMap<Vec<u8>, Vec<u8>>,
    entries: BTreeMap<Vec<u8>, StateEntry>,
}

/// As it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct Flat {
    ranges: Vec<StateRange>,
    entries: Vec<StateEntry>,
}

impl From<Flat> for StateReads {
    fn from(flat: Flat) -> Self {
        let ranges = flat.ranges.into_iter().map(|range| (range.start, range.end)).collect();
        let entries = flat.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        Self { ranges, entries }
    }
}

impl From<StateReads> for Flat {
    fn from(reads: StateReads) -> Self {
        let ranges = reads.ranges.into_iter().map(|(start, end)| StateRange { start, end });
        Self { ranges: ranges.collect(), entries: reads.entries.into_values().collect() }
    }
}

impl StateReads {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Notes that the range was read, and that these are the entries in it.
    pub fn add(&mut self, range: StateRange, entries: impl IntoIterator<Item = StateEntry>) {
        self.entries.extend(entries.into_iter().map(|entry| (entry.key.clone(), entry)));
        let StateRange { mut start, mut end } = range;
        if start >= end {
            return;
        }
        let before = self.ranges.range(..=start.clone()).next_back();
        if let Some((earlier, until)) = before
            && *until >= start
        {
            if *until >= end {
                return;
            }
            start.clone_from(earlier);
        }
        while let Some((later, until)) = self.ranges.range(start.clone()..=end.clone()).next() {
            if *until > end {
                end.clone_from(until);
            }
            let later = later.clone();
            self.ranges.remove(&later);
        }
        self.ranges.insert(start, end);
    }

    /// Every range with its entries, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (StateRange, impl Iterator<Item = &StateEntry>)> {
        self.ranges.iter().map(|(start, end)| {
            let range = StateRange { start: start.clone(), end: end.clone() };
            (range, self.entries.range(start.clone()..end.clone()).map(|(_, entry)| entry))
        })
    }

    /// What was read under `key`; `None` where nothing was.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&StateEntry>> {
        let (_, until) = self.ranges.range::<[u8], _>((Unbounded, Included(key))).next_back()?;
        (until.as_slice() > key).then(|| self.entries.get(key))
    }

    /// Scans what was read; `None` where the first key of the scan was not.
    #[must_use]
    pub fn scan(&self, range: &StateRange, limit: usize, reverse: bool) -> Option<Scanned> {
        if range.is_empty() {
            return Some(Scanned { entries: Vec::new(), looked_at: range.clone() });
        }
        let (from, until) = if reverse {
            self.ranges.range(..range.end.clone()).next_back()?
        } else {
            self.ranges.range(..=range.start.clone()).next_back()?
        };
        let known = StateRange {
            start: from.max(&range.start).clone(),
            end: until.min(&range.end).clone(),
        };
        let begins = if reverse { known.end == range.end } else { known.start == range.start };
        if !begins || known.is_empty() {
            return None;
        }
        let within = self.entries.range(known.start.clone()..known.end.clone());
        let entries: Vec<StateEntry> = if reverse {
            within.rev().take(limit).map(|(_, entry)| entry.clone()).collect()
        } else {
            within.take(limit).map(|(_, entry)| entry.clone()).collect()
        };
        Some(Scanned::cut(known, entries, limit, reverse))
    }
}

impl Scanned {
    /// A scan of `range` that found these, and ended at `limit` where there are as many.
    #[must_use]
    pub fn cut(
        mut range: StateRange,
        entries: Vec<StateEntry>,
        limit: usize,
        reverse: bool,
    ) -> Self {
        if let Some(last) = entries.last().filter(|_| entries.len() >= limit) {
            if reverse {
                range.start.clone_from(&last.key);
            } else {
                range.end = next_key(&last.key);
            }
        }
        Self { entries, looked_at: range }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: u8) -> StateEntry {
        StateEntry {
            key: vec![key],
            value: vec![key],
            expires_at: None,
            version: StateVersion(i64::from(key)),
        }
    }

    fn range(start: u8, end: u8) -> StateRange {
        StateRange { start: vec![start], end: vec![end] }
    }

    proptest! {
        /// A set of single keys is what it must agree with. Every even key has an entry.
        #[test]
        fn what_was_read_is_known_and_nothing_else(
            read in prop::collection::vec((0_u8..20, 0_u8..20), 0..8),
            asked in (0_u8..20, 0_u8..20), limit in 1_usize..5, reverse: bool,
        ) {
            let mut reads = StateReads::default();
            let mut known = [false; 20];
            for (start, end) in &read {
                let entries = (*start..*end).filter(|key| key % 2 == 0).map(entry);
                reads.add(range(*start, *end), entries);
                (*start..*end).for_each(|key| known[usize::from(key)] = true);
            }
            for key in 0..20 {
                let expected = known[usize::from(key)].then(|| (key % 2 == 0).then(|| entry(key)));
                prop_assert_eq!(reads.get(&[key]).map(Option::<&_>::cloned), expected);
            }
            let ranges: Vec<StateRange> = reads.ranges().map(|(range, _)| range).collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?}");
            let inside = reads.ranges().map(|(_, entries)| entries.count()).sum::<usize>();
            prop_assert_eq!(inside, (0..20).filter(|key| known[*key] && key % 2 == 0).count());

            let (from, to) = asked;
            let order: Vec<u8> =
                if reverse { (from..to).rev().collect() } else { (from..to).collect() };
            let in_a_row = order.iter().take_while(|key| known[usize::from(**key)]);
            let expected: Vec<StateEntry> =
                in_a_row.clone().filter(|key| **key % 2 == 0).take(limit).map(|k| entry(*k)).collect();
            match reads.scan(&range(from, to), limit, reverse) {
                Some(scanned) => {
                    prop_assert!(order.is_empty() || in_a_row.count() > 0);
                    prop_assert_eq!(scanned.entries, expected);
                }
                None => prop_assert_eq!(in_a_row.count(), 0),
            }
            let flat = serde_json::to_string(&reads).unwrap();
            let read_back: StateReads = serde_json::from_str(&flat).unwrap();
            prop_assert_eq!(read_back.ranges, reads.ranges);
        }
    }

    #[test]
    fn a_range_without_an_end_goes_through_the_last_key() {
        let all = StateRange::new(Vec::new(), None);
        assert!(all.end > vec![u8::MAX; STATE_KEY_BYTES_MAX]);
        assert!(!all.is_empty() && range(2, 2).is_empty() && range(3, 2).is_empty());
        assert_eq!(StateRange::of(b"k"), StateRange { start: b"k".to_vec(), end: b"k\0".to_vec() });
    }
}
