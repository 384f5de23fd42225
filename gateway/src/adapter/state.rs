//! What one call does with its adapter's state: reads of one view and of its own writes, what it read
//! taken note of, what it writes held back for the commit, and how much of all that it may.

use std::collections::BTreeMap;

use super::{StateReader, Unread};
use crate::model::{
    STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, StateEntry, StatePut, StateRange, StateReads,
    StateVersion, StateWrite, UnixMillis, next_key,
};

// The contract names these. They let a batch of 256 events read and write several entries for each,
// and bound what a request's record, a commit and the writer's turn can come to.

/// Each `get`, each `scan` and each entry that a scan returns.
const READS_MAX: u32 = 4_096;

/// Keys and values that are handed to the guest, in bytes.
const READ_BYTES_MAX: usize = 1 << 20;

/// Each `put` and each `delete`.
const WRITES_MAX: u32 = 2_048;

/// Keys and values that are written, in bytes.
const WRITTEN_BYTES_MAX: usize = 1 << 20;

/// Parts of ranges that hold nothing but expired entries, each of some thousand: they go by
/// themselves, and until then must not keep a call's thread.
const EMPTY_PARTS_MAX: u32 = 32;

/// Why an operation was not done, as the guest is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

/// An operation that came to nothing.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Refused),
    /// Ends the call.
    Unread(Unread),
}

fn refused<T>(code: &'static str, detail: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(Refused { code, detail: detail.into() }))
}

/// What one call may still do, and what it has written.
#[derive(Debug)]
pub(super) struct CallState {
    writes: BTreeMap<Vec<u8>, Option<StatePut>>,
    reads_left: u32,
    read_bytes_left: usize,
    writes_left: u32,
    written_bytes_left: usize,
    empty_parts_left: u32,
}

impl Default for CallState {
    fn default() -> Self {
        Self {
            writes: BTreeMap::new(),
            reads_left: READS_MAX,
            read_bytes_left: READ_BYTES_MAX,
            writes_left: WRITES_MAX,
            written_bytes_left: WRITTEN_BYTES_MAX,
            empty_parts_left: EMPTY_PARTS_MAX,
        }
    }
}

/// What a read works with.
pub(super) struct Reading<'c> {
    pub(super) source: &'c dyn StateReader,
    /// What the call has read so far.
    pub(super) reads: &'c mut StateReads,
    pub(super) now: UnixMillis,
}

/// A scan as the guest asks for it.
pub(super) struct Asked {
    pub(super) start: Vec<u8>,
    pub(super) end: Option<Vec<u8>>,
    pub(super) limit: u32,
    pub(super) reverse: bool,
}

impl CallState {
    pub(super) fn get(
        &mut self,
        reading: Reading<'_>,
        key: &[u8],
    ) -> Result<Option<StateEntry>, Stop> {
        check_key(key)?;
        self.spend_read()?;
        let Reading { source, reads, now } = reading;
        let found = if let Some(write) = self.writes.get(key) {
            written(key, write.as_ref(), now)
        } else if let Some(known) = reads.get(key) {
            known.cloned()
        } else {
            let scanned = source.scan(&StateRange::of(key), 1, false).map_err(Stop::Unread)?;
            reads.add(scanned.looked_at, scanned.entries.iter().cloned());
            scanned.entries.into_iter().next()
        };
        if let Some(found) = &found {
            self.spend_read_bytes(found)?;
        }
        Ok(found)
    }

    pub(super) fn scan(
        &mut self,
        reading: Reading<'_>,
        asked: Asked,
    ) -> Result<Vec<StateEntry>, Stop> {
        let Asked { start, end, limit, reverse } = asked;
        let bounds_max = STATE_KEY_BYTES_MAX + 1;
        if start.len().max(end.as_ref().map_or(0, Vec::len)) > bounds_max {
            return refused("quota", format!("a bound of a scan has at most {bounds_max} bytes"));
        }
        self.spend_read()?;
        let Reading { source, reads, now } = reading;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut rest = StateRange::new(start, end);
        let mut found: Vec<StateEntry> = Vec::new();
        while found.len() < limit && !rest.is_empty() {
            // One more than it may have tells that it asks for too many.
            let wanted = (limit - found.len()).min(self.entries_left() + 1);
            let scanned = source.scan(&rest, wanted, reverse).map_err(Stop::Unread)?;
            if scanned.entries.is_empty() && scanned.looked_at != rest {
                self.spend_empty_part()?;
            }
            let mut part = scanned.looked_at;
            let merged = self.merged(&part, &scanned.entries, now);
            let mut order: Vec<StateEntry> = merged.into_values().collect();
            if reverse {
                order.reverse();
            }
            let mut told = Ok(());
            for entry in order {
                // What is not given to the guest, for whatever reason, was not read.
                let last = entry.key.clone();
                told = self.spend_read().and_then(|()| self.spend_read_bytes(&entry));
                found.push(entry);
                if told.is_err() || found.len() == limit {
                    if reverse {
                        part.start = last;
                    } else {
                        part.end = next_key(&last);
                    }
                    break;
                }
            }
            let inside = |entry: &StateEntry| part.start <= entry.key && entry.key < part.end;
            reads.add(part.clone(), scanned.entries.into_iter().filter(inside));
            told?;
            if reverse {
                rest.end = part.start;
            } else {
                rest.start = part.end;
            }
        }
        Ok(found)
    }

    pub(super) fn put(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        expires_at: Option<UnixMillis>,
    ) -> Result<(), Stop> {
        self.may_write(&key, value.len())?;
        self.writes.insert(key, Some(StatePut { value, expires_at }));
        Ok(())
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) -> Result<(), Stop> {
        self.may_write(&key, 0)?;
        self.writes.insert(key, None);
        Ok(())
    }

    /// What is to be committed, in the order of keys.
    pub(super) fn into_writes(self) -> Vec<StateWrite> {
        self.writes.into_iter().map(|(key, put)| StateWrite { key, put }).collect()
    }

    /// What is stored in a part of a range, and what the call itself wrote there laid over it.
    fn merged(
        &self,
        part: &StateRange,
        stored: &[StateEntry],
        now: UnixMillis,
    ) -> BTreeMap<Vec<u8>, StateEntry> {
        let mut merged: BTreeMap<Vec<u8>, StateEntry> =
            stored.iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
        if part.is_empty() {
            return merged;
        }
        for (key, write) in self.writes.range(part.start.clone()..part.end.clone()) {
            match written(key, write.as_ref(), now) {
                Some(entry) => drop(merged.insert(key.clone(), entry)),
                None => drop(merged.remove(key)),
            }
        }
        merged
    }

    fn entries_left(&self) -> usize {
        usize::try_from(self.reads_left).unwrap_or(usize::MAX)
    }

    fn may_write(&mut self, key: &[u8], value: usize) -> Result<(), Stop> {
        check_key(key)?;
        if value > STATE_VALUE_BYTES_MAX {
            let most = STATE_VALUE_BYTES_MAX;
            return refused("quota", format!("a value has at most {most} bytes, not {value}"));
        }
        let Some(writes) = self.writes_left.checked_sub(1) else {
            return refused("quota", format!("a call writes at most {WRITES_MAX} times"));
        };
        self.writes_left = writes;
        let Some(bytes) = self.written_bytes_left.checked_sub(key.len() + value) else {
            return refused("quota", format!("a call writes at most {WRITTEN_BYTES_MAX} bytes"));
        };
        self.written_bytes_left = bytes;
        Ok(())
    }

    fn spend_read(&mut self) -> Result<(), Stop> {
        let Some(left) = self.reads_left.checked_sub(1) else {
            return refused(
                "quota",
                format!("a call reads at most {READS_MAX} entries and ranges"),
            );
        };
        self.reads_left = left;
        Ok(())
    }

    fn spend_read_bytes(&mut self, entry: &StateEntry) -> Result<(), Stop> {
        let Some(left) = self.read_bytes_left.checked_sub(entry.bytes()) else {
            return refused("quota", format!("a call reads at most {READ_BYTES_MAX} bytes"));
        };
        self.read_bytes_left = left;
        Ok(())
    }

    fn spend_empty_part(&mut self) -> Result<(), Stop> {
        let Some(left) = self.empty_parts_left.checked_sub(1) else {
            return refused("quota", "a call steps over so many expired entries and no more");
        };
        self.empty_parts_left = left;
        Ok(())
    }
}

fn check_key(key: &[u8]) -> Result<(), Stop> {
    match key.len() {
        0 => refused("invalid", "a key is not empty"),
        1..=STATE_KEY_BYTES_MAX => Ok(()),
        bytes => {
            let most = STATE_KEY_BYTES_MAX;
            refused("quota", format!("a key has at most {most} bytes, not {bytes}"))
        }
    }
}

/// What a call that wrote so finds there.
fn written(key: &[u8], write: Option<&StatePut>, now: UnixMillis) -> Option<StateEntry> {
    let StatePut { value, expires_at } = write?;
    let entry = StateEntry {
        key: key.to_vec(),
        value: value.clone(),
        expires_at: *expires_at,
        version: StateVersion::default(),
    };
    Some(entry).filter(|entry| entry.is_live(now))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Scanned;

    const NOW: UnixMillis = UnixMillis(1_000);

    /// Stored entries; every scan returns one entry at most, so that all are put together.
    #[derive(Debug, Default)]
    struct Stored(BTreeMap<Vec<u8>, StateEntry>, Mutex<usize>);

    impl StateReader for Stored {
        fn scan(&self, range: &StateRange, limit: usize, reverse: bool) -> Result<Scanned, Unread> {
            *self.1.lock().unwrap() += 1;
            let limit = limit.min(1);
            let within = self.0.range(range.start.clone()..range.end.clone());
            let mut entries: Vec<_> = within.map(|(_, entry)| entry.clone()).collect();
            if reverse {
                entries.reverse();
            }
            entries.truncate(limit);
            Ok(Scanned::cut(range.clone(), entries, limit, reverse))
        }
    }

    fn stored(keys: impl IntoIterator<Item = u8>) -> Stored {
        let entry = |key: u8| {
            let version = StateVersion(1);
            (vec![key], StateEntry { key: vec![key], value: vec![0], expires_at: None, version })
        };
        Stored(keys.into_iter().map(entry).collect(), Mutex::default())
    }

    proptest! {
        /// A plain map is what it must agree with.
        #[test]
        fn a_call_sees_the_view_with_its_own_writes_on_it_and_notes_what_it_was_given(
            keys in prop::collection::btree_set(0_u8..12, 0..12),
            writes in prop::collection::vec((0_u8..12, prop::option::of(999_u64..1_002)), 0..8),
            start in 0_u8..12, end in 0_u8..13, limit in 0_u32..14, reverse: bool,
        ) {
            let source = stored(keys.clone());
            let mut plain: BTreeMap<u8, u8> = keys.iter().map(|key| (*key, 0)).collect();
            let mut state = CallState::default();
            for (key, put) in &writes {
                match put {
                    Some(expires) => {
                        state.put(vec![*key], vec![1], Some(UnixMillis(*expires))).unwrap();
                        if *expires > NOW.0 { plain.insert(*key, 1); } else { plain.remove(key); }
                    }
                    None => {
                        state.delete(vec![*key]).unwrap();
                        plain.remove(key);
                    }
                }
            }
            let mut reads = StateReads::default();
            let asked = Asked { start: vec![start], end: Some(vec![end]), limit, reverse };
            let reading = Reading { source: &source, reads: &mut reads, now: NOW };
            let found = state.scan(reading, asked).unwrap();
            let mut expected: Vec<(u8, u8)> =
                plain.iter().filter(|(key, _)| (start..end).contains(*key)).map(|(k, v)| (*k, *v)).collect();
            if reverse {
                expected.reverse();
            }
            expected.truncate(usize::try_from(limit).unwrap());
            let found: Vec<_> = found.iter().map(|entry| (entry.key[0], entry.value[0])).collect();
            prop_assert_eq!(&found, &expected);

            let full = found.len() == usize::try_from(limit).unwrap();
            let last = found.last().map(|(key, _)| *key);
            for key in 0..13 {
                let inside = (start..end).contains(&key) && match last.filter(|_| full) {
                    Some(last) if reverse => key >= last,
                    Some(last) => key <= last,
                    None => limit > 0,
                };
                prop_assert_eq!(reads.get(&[key]).is_some(), inside, "{}", key);
            }
            for key in 0..12 {
                let reading = Reading { source: &source, reads: &mut reads, now: NOW };
                let got = state.get(reading, &[key]).unwrap().map(|entry| entry.value[0]);
                prop_assert_eq!(got, plain.get(&key).copied());
            }
        }
    }

    #[test]
    fn what_was_read_or_written_is_not_read_again() {
        let source = stored([1, 2]);
        let (mut state, mut reads) = (CallState::default(), StateReads::default());
        state.put(vec![3], vec![1], None).unwrap();
        for key in [1, 1, 3, 9, 9] {
            let reading = Reading { source: &source, reads: &mut reads, now: NOW };
            state.get(reading, &[key]).unwrap();
        }
        assert_eq!(*source.1.lock().unwrap(), 2, "1 and 9, once each");
        assert!(reads.get(&[3]).is_none(), "what it wrote itself it did not read");
        let writes = state.into_writes();
        assert_eq!(writes.len(), 1);
    }
}
