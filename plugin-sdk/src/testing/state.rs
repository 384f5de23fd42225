//! The state of one scripted call, with the gateway's bounds.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::state::{
    Entry, KEY_BYTES_MAX, READ_BYTES_MAX, READS_MAX, Refusal, VALUE_BYTES_MAX, WRITES_MAX,
    WRITTEN_BYTES_MAX,
};

pub(super) type Entries = BTreeMap<Vec<u8>, Entry>;

/// What the call may still do.
#[derive(Debug)]
pub(crate) struct State {
    /// Absent: none is granted.
    pub(super) entries: Option<Entries>,
    now: u64,
    read_only: bool,
    reads_left: u32,
    read_bytes_left: usize,
    writes_left: u32,
    written_bytes_left: usize,
}

impl State {
    pub(super) const fn new(entries: Option<Entries>, now: u64, read_only: bool) -> Self {
        Self {
            entries,
            now,
            read_only,
            reads_left: READS_MAX,
            read_bytes_left: READ_BYTES_MAX,
            writes_left: WRITES_MAX,
            written_bytes_left: WRITTEN_BYTES_MAX,
        }
    }

    fn granted(&mut self) -> Result<&mut Entries, Refusal> {
        self.entries.as_mut().ok_or_else(|| {
            refusal("not_granted", "`describe` says no `state_version`, so there is no state")
        })
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Entry>, Refusal> {
        self.granted()?;
        check_key(key)?;
        self.spend_read()?;
        let now = self.now;
        let found = self.granted()?.get(key).filter(|entry| is_live(entry, now)).cloned();
        if let Some(found) = &found {
            self.spend_read_bytes(found)?;
        }
        Ok(found)
    }

    pub(crate) fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        expires_at: Option<u64>,
    ) -> Result<(), Refusal> {
        self.may_write(key, value.len())?;
        let entry = Entry { key: key.to_vec(), value: value.to_vec(), expires_at };
        self.granted()?.insert(key.to_vec(), entry);
        Ok(())
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), Refusal> {
        self.may_write(key, 0)?;
        self.granted()?.remove(key);
        Ok(())
    }

    pub(crate) fn scan(
        &mut self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: u32,
        reverse: bool,
    ) -> Result<Vec<Entry>, Refusal> {
        self.granted()?;
        if start.len().max(end.map_or(0, <[u8]>::len)) > KEY_BYTES_MAX + 1 {
            let bounds = format!("a bound of a scan has at most {} bytes", KEY_BYTES_MAX + 1);
            return Err(refusal("quota", &bounds));
        }
        self.spend_read()?;
        if end.is_some_and(|end| end <= start) {
            return Ok(Vec::new());
        }
        let now = self.now;
        let bounds = (Bound::Included(start), end.map_or(Bound::Unbounded, Bound::Excluded));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let range = self.granted()?.range::<[u8], _>(bounds).map(|(_, entry)| entry);
        let live = |entry: &&Entry| is_live(entry, now);
        let found: Vec<Entry> = if reverse {
            range.rev().filter(live).take(limit).cloned().collect()
        } else {
            range.filter(live).take(limit).cloned().collect()
        };
        for entry in &found {
            self.spend_read()?;
            self.spend_read_bytes(entry)?;
        }
        Ok(found)
    }

    fn may_write(&mut self, key: &[u8], value: usize) -> Result<(), Refusal> {
        self.granted()?;
        if self.read_only {
            return Err(refusal("read_only", "a view writes no state"));
        }
        check_key(key)?;
        if value > VALUE_BYTES_MAX {
            let detail = format!("a value has at most {VALUE_BYTES_MAX} bytes, not {value}");
            return Err(refusal("quota", &detail));
        }
        let writes = self.writes_left.checked_sub(1);
        let bytes = self.written_bytes_left.checked_sub(key.len() + value);
        self.writes_left = writes.ok_or_else(|| {
            refusal("quota", &format!("a call writes at most {WRITES_MAX} times"))
        })?;
        self.written_bytes_left = bytes.ok_or_else(|| {
            refusal("quota", &format!("a call writes at most {WRITTEN_BYTES_MAX} bytes"))
        })?;
        Ok(())
    }

    fn spend_read(&mut self) -> Result<(), Refusal> {
        self.reads_left = self.reads_left.checked_sub(1).ok_or_else(|| {
            refusal("quota", &format!("a call reads at most {READS_MAX} entries and ranges"))
        })?;
        Ok(())
    }

    fn spend_read_bytes(&mut self, entry: &Entry) -> Result<(), Refusal> {
        let bytes = entry.key.len() + entry.value.len();
        self.read_bytes_left = self.read_bytes_left.checked_sub(bytes).ok_or_else(|| {
            refusal("quota", &format!("a call reads at most {READ_BYTES_MAX} bytes"))
        })?;
        Ok(())
    }
}

fn check_key(key: &[u8]) -> Result<(), Refusal> {
    match key.len() {
        0 => Err(refusal("invalid", "a key is not empty")),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => {
            let detail = format!("a key has at most {KEY_BYTES_MAX} bytes, not {bytes}");
            Err(refusal("quota", &detail))
        }
    }
}

fn refusal(code: &str, detail: &str) -> Refusal {
    Refusal { code: code.to_owned(), detail: detail.to_owned() }
}

fn is_live(entry: &Entry, now: u64) -> bool {
    entry.expires_at.is_none_or(|expires_at| now < expires_at)
}
