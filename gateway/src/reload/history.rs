//! What became of past reloads.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ReloadRecord;

/// Reloads that are remembered: weeks of an operator's work, and less than 10 MiB even where each
/// is as large as it may be.
pub const RECORDS_MAX: usize = 200;

/// The last reloads since the start, the start itself included.
#[derive(Debug, Default)]
pub struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Oldest first.
    records: VecDeque<Arc<ReloadRecord>>,
    last_number: u64,
}

impl History {
    /// Keeps a record under the next number, and lets go of the oldest where there are too many.
    pub fn keep(&self, mut record: ReloadRecord) -> Arc<ReloadRecord> {
        let mut kept = self.kept();
        kept.last_number += 1;
        record.number = kept.last_number;
        let record = Arc::new(record);
        if kept.records.len() == RECORDS_MAX {
            kept.records.pop_front();
        }
        kept.records.push_back(Arc::clone(&record));
        record
    }

    /// Newest first, at most `limit`, older than `before`.
    #[must_use]
    pub fn list(&self, before: Option<u64>, limit: usize) -> Vec<Arc<ReloadRecord>> {
        let kept = self.kept();
        let older =
            |record: &&Arc<ReloadRecord>| before.is_none_or(|before| record.number < before);
        kept.records.iter().rev().filter(older).take(limit).cloned().collect()
    }

    #[must_use]
    pub fn last(&self) -> Option<Arc<ReloadRecord>> {
        self.kept().records.back().cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Location, Part, Problem};
    use crate::model::UnixMillis;
    use crate::reload::{CHANGES_MAX, Change, Fared, Fate, PROBLEMS_MAX, Trigger};

    fn record(changes: usize, problems: usize) -> ReloadRecord {
        let change =
            Change { part: Part::Route, name: "a".to_owned(), fate: Fate::Added, keys: Vec::new() };
        let problem = Problem { at: Location::default(), message: "wrong".to_owned(), help: None };
        ReloadRecord::new(
            (UnixMillis(1), 2),
            Trigger::Files,
            (Fared::Applied, 3),
            vec![change; changes],
            vec![problem; problems],
        )
    }

    #[test]
    fn the_newest_are_kept_and_listed_by_pages() {
        let history = History::default();
        assert_eq!(history.last(), None);
        for _ in 0..RECORDS_MAX + 5 {
            history.keep(record(0, 0));
        }
        let numbers = |before, limit| -> Vec<u64> {
            history.list(before, limit).iter().map(|record| record.number).collect()
        };
        let newest = u64::try_from(RECORDS_MAX).unwrap() + 5;
        assert_eq!(numbers(None, 2), [newest, newest - 1]);
        assert_eq!(numbers(Some(newest - 1), 1), [newest - 2]);
        assert_eq!(numbers(Some(8), 10), [7, 6], "older ones are gone");
        assert_eq!(numbers(None, usize::MAX).len(), RECORDS_MAX);
        assert_eq!(history.last().map(|record| record.number), Some(newest));
    }

    #[test]
    fn a_record_is_cut_to_its_bounds_and_says_so() {
        let record = record(CHANGES_MAX + 3, PROBLEMS_MAX + 4);
        assert_eq!((record.changes.len(), record.changes_left_off), (CHANGES_MAX, 3));
        assert_eq!((record.problems.len(), record.problems_left_off), (PROBLEMS_MAX, 4));
    }

    #[test]
    fn a_record_is_json_that_a_script_can_read() {
        let json = serde_json::to_value(record(1, 1)).unwrap();
        assert_eq!(json["result"], "applied");
        assert_eq!(json["trigger"], "files");
        assert_eq!(json["changes"][0]["text"], "route `a` added");
        assert_eq!(json["changes"][0]["part"], "route");
        assert_eq!(json["changes"][0]["fate"], "added");
        assert_eq!(json["problems"][0]["message"], "wrong");
    }
}
