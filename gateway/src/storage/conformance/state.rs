//! The rules of adapters' state.

mod lanes;
mod namespaces;

use super::*;
use crate::model::{Scanned, StateEntry, StatePut, StateRange, StateReads, StateWrite};
use crate::storage::{Claiming, Lane, StateChange, StateScan};

/// `state_version` in these tests.
pub(in crate::storage) const VERSION: u32 = 1;

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    let own = rules![
        state_is_read_as_it_was_committed,
        a_scan_goes_in_either_direction_and_in_parts,
        a_view_stays_as_it_was_at_its_first_read,
        what_a_call_read_must_still_be_so,
        what_a_call_did_not_read_is_no_conflict,
        an_entry_is_absent_from_its_expiry_on,
        what_expires_or_is_removed_for_it_is_no_conflict,
        a_conflict_changes_nothing,
        only_what_is_accepted_changes_state,
        members_of_a_group_come_one_after_the_other,
        what_was_read_is_kept_with_the_request,
    ];
    [own, namespaces::rules(), lanes::rules()].into_iter().flatten().collect()
}

pub(in crate::storage) fn adapter(name: &str) -> AdapterName {
    AdapterName::new(name).unwrap()
}

pub(in crate::storage) fn claim(store: &dyn Storage, name: &str) {
    let claims = vec![(adapter(name), VERSION)];
    assert_eq!(block_on(store.claim_state(claims, Claiming::Grant)).unwrap(), []);
}

/// Reads in one view, and takes note of it as the host of a call does.
#[derive(Debug)]
pub(in crate::storage) struct Reader {
    view: Box<dyn super::super::StateView>,
    pub(in crate::storage) reads: StateReads,
    now: UnixMillis,
}

impl Reader {
    pub(in crate::storage) fn of(store: &dyn Storage, name: &str, now: UnixMillis) -> Self {
        let view = store.state(&adapter(name), VERSION).unwrap();
        Self { view, reads: StateReads::default(), now }
    }

    fn scan_once(&mut self, range: &StateRange, limit: usize, reverse: bool) -> Scanned {
        let scan = StateScan { range, limit, reverse, now: self.now };
        let found = self.view.scan(&scan).unwrap();
        self.reads.add(found.looked_at.clone(), found.entries.clone());
        found
    }

    pub(in crate::storage) fn get(&mut self, key: &[u8]) -> Option<StateEntry> {
        self.scan_once(&StateRange::of(key), 1, false).entries.pop()
    }

    /// Scans on until it has `limit` entries or the whole range.
    pub(in crate::storage) fn scan(
        &mut self,
        range: StateRange,
        limit: usize,
        reverse: bool,
    ) -> Vec<StateEntry> {
        let (mut rest, mut entries) = (range, Vec::new());
        while entries.len() < limit && !rest.is_empty() {
            let found = self.scan_once(&rest, limit - entries.len(), reverse);
            entries.extend(found.entries);
            if reverse {
                rest.end = found.looked_at.start;
            } else {
                rest.start = found.looked_at.end;
            }
        }
        entries
    }
}

pub(in crate::storage) fn range(start: &str, end: &str) -> StateRange {
    StateRange { start: start.into(), end: end.into() }
}

pub(in crate::storage) fn put_key(key: &str, value: &str) -> StateWrite {
    let put = StatePut { value: value.into(), expires_at: None };
    StateWrite { key: key.into(), put: Some(put) }
}

fn put_until(key: &str, value: &str, expires_at: UnixMillis) -> StateWrite {
    let put = StatePut { value: value.into(), expires_at: Some(expires_at) };
    StateWrite { key: key.into(), put: Some(put) }
}

fn delete_key(key: &str) -> StateWrite {
    StateWrite { key: key.into(), put: None }
}

impl Commit {
    pub(in crate::storage) fn of_adapter(mut self, name: &str) -> Self {
        self.request.adapter = adapter(name);
        self
    }

    pub(in crate::storage) fn having_read(mut self, reads: StateReads) -> Self {
        self.request.reads.state = reads;
        self.state.get_or_insert(StateChange { version: VERSION, writes: Vec::new() });
        self
    }

    pub(in crate::storage) fn changing(
        mut self,
        writes: impl IntoIterator<Item = StateWrite>,
    ) -> Self {
        let change = self.state.get_or_insert(StateChange { version: VERSION, writes: Vec::new() });
        change.writes.extend(writes);
        self
    }
}

const STORED: Committed = Committed::Stored { events: 0 };

fn change(store: &dyn Storage, writes: impl IntoIterator<Item = StateWrite>) {
    assert_eq!(put(store, commit(START).changing(writes)), STORED);
}

/// All entries, as `key=value`.
fn all_at(store: &dyn Storage, name: &str, now: UnixMillis) -> String {
    let entries = Reader::of(store, name, now).scan(StateRange::new(Vec::new(), None), 999, false);
    shown(&entries)
}

pub(super) fn all(store: &dyn Storage) -> String {
    all_at(store, "vkyc", START)
}

fn shown(entries: &[StateEntry]) -> String {
    let shown = entries.iter().map(|entry| {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        format!("{}={}", text(&entry.key), text(&entry.value))
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn state_is_read_as_it_was_committed<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    assert_eq!(all(bench.store()), "");
    let key = vec![0; crate::model::STATE_KEY_BYTES_MAX];
    let value = vec![0xa5; crate::model::STATE_VALUE_BYTES_MAX];
    let large = StatePut { value: value.clone(), expires_at: Some(UnixMillis(START.0 + 1)) };
    let large = StateWrite { key: key.clone(), put: Some(large) };
    change(bench.store(), [put_key("b", "1"), put_key("a", "1"), large]);
    for _ in 0..2 {
        let mut reader = Reader::of(bench.store(), "vkyc", START);
        let found = reader.get(&key).unwrap();
        assert_eq!((found.value, found.expires_at), (value.clone(), Some(UnixMillis(START.0 + 1))));
        assert_eq!(shown(&reader.scan(range("a", "c"), 9, false)), "a=1 b=1");
        assert!(reader.get(b"c").is_none());
        drop(reader);
        bench.reopen();
        claim(bench.store(), "vkyc");
    }
    change(bench.store(), [put_key("b", "2"), delete_key("a"), delete_key("never")]);
    assert_eq!(
        shown(&Reader::of(bench.store(), "vkyc", START).scan(range("a", "c"), 9, false)),
        "b=2"
    );
}

fn a_scan_goes_in_either_direction_and_in_parts<B: Bench>(bench: &mut B) {
    const COUNT: usize = 1_300;
    claim(bench.store(), "vkyc");
    let name = |n: usize| format!("k{n:04}");
    change(bench.store(), (0..COUNT).map(|n| put_key(&name(n), "v")));
    let everything = || StateRange::new(Vec::new(), None);
    let mut keys: Vec<Vec<u8>> = (0..COUNT).map(|n| name(n).into()).collect();
    for reverse in [false, true] {
        for limit in [1, 600, COUNT, COUNT + 1] {
            let mut reader = Reader::of(bench.store(), "vkyc", START);
            let found = reader.scan(everything(), limit, reverse);
            let found: Vec<_> = found.into_iter().map(|entry| entry.key).collect();
            assert!(found == keys[..limit.min(COUNT)], "{limit} {reverse}");
            let read: Vec<_> = reader.reads.ranges().map(|(range, _)| range).collect();
            assert_eq!(read.len(), 1, "the parts of a scan are one range");
            let whole = read[0] == everything();
            assert_eq!(whole, limit > COUNT, "it read to its last entry and no further");
        }
        keys.reverse();
    }
    let mut reader = Reader::of(bench.store(), "vkyc", START);
    assert_eq!(shown(&reader.scan(range("k0003", "k0006"), 2, true)), "k0005=v k0004=v");
    assert!(reader.reads.get(b"k0004").is_some() && reader.reads.get(b"k0003").is_none());
}

fn a_view_stays_as_it_was_at_its_first_read<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    change(store, [put_key("a", "1")]);
    let mut view = Reader::of(store, "vkyc", START);
    assert_eq!(view.get(b"a").unwrap().value, b"1");
    change(store, [put_key("a", "2"), put_key("b", "2")]);
    assert_eq!(shown(&view.scan(range("a", "c"), 9, false)), "a=1");
    assert_eq!(all(store), "a=2 b=2", "another sees it");
}

type Reading = fn(&mut Reader);

/// What a call that read so comes to after another one changed that.
fn after(store: &dyn Storage, read: Reading, changes: Vec<StateWrite>) -> Committed {
    change(store, ["a", "c", "e", "g"].map(|key| put_key(key, "1")));
    change(store, ["b", "bb", "d", "f", "gg", "h"].map(delete_key));
    let mut reader = Reader::of(store, "vkyc", START);
    read(&mut reader);
    let reads = reader.reads.clone();
    drop(reader);
    change(store, changes);
    put(store, commit(START).having_read(reads))
}

fn what_a_call_read_must_still_be_so<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    let value: Reading = |reader| drop(reader.get(b"c"));
    let absence: Reading = |reader| drop(reader.get(b"d"));
    let whole: Reading = |reader| drop(reader.scan(range("b", "h"), 9, false));
    let first: Reading = |reader| drop(reader.scan(range("b", "h"), 2, false));
    let last: Reading = |reader| drop(reader.scan(range("b", "h"), 2, true));
    let cases: [(&str, Reading, StateWrite); 15] = [
        ("a value was changed", value, put_key("c", "2")),
        ("its expiry was changed", value, put_until("c", "1", UnixMillis(START.0 + 9))),
        ("it was removed", value, delete_key("c")),
        ("it was absent", absence, put_key("d", "1")),
        ("a phantom at the start", whole, put_key("b", "1")),
        ("a phantom inside", whole, put_key("f", "1")),
        ("a phantom after the last", whole, put_key("gg", "1")),
        ("one was removed", whole, delete_key("e")),
        ("the last was removed", whole, delete_key("g")),
        ("one was changed", whole, put_key("g", "2")),
        ("a phantom before the first", first, put_key("b", "1")),
        ("a phantom before the last returned", first, put_key("d", "1")),
        ("the last returned was changed", first, put_key("e", "2")),
        ("a phantom after the first, backwards", last, put_key("gg", "1")),
        ("a phantom before the last returned, backwards", last, put_key("f", "1")),
    ];
    for (what, read, changed) in cases {
        assert_eq!(after(store, read, vec![changed]), Committed::Conflict, "{what}");
    }
    let replaced = vec![delete_key("e"), put_key("f", "1")];
    assert_eq!(after(store, whole, replaced), Committed::Conflict, "as many as before");
}

fn what_a_call_did_not_read_is_no_conflict<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    let nothing: Reading = |_| {};
    let value: Reading = |reader| drop(reader.get(b"c"));
    let whole: Reading = |reader| drop(reader.scan(range("b", "g"), 9, false));
    let first: Reading = |reader| drop(reader.scan(range("b", "h"), 2, false));
    let last: Reading = |reader| drop(reader.scan(range("b", "h"), 2, true));
    let cases: [(&str, Reading, StateWrite); 9] = [
        ("nothing was read", nothing, put_key("a", "2")),
        ("the next key", value, put_key("c\0", "1")),
        ("the key before", value, put_key("bb", "1")),
        ("the end of a range", whole, put_key("g", "2")),
        ("before a range", whole, delete_key("a")),
        ("beyond the last returned", first, put_key("f", "1")),
        ("the next after the last returned", first, put_key("e\0", "1")),
        ("before the last returned, backwards", last, put_key("d", "1")),
        ("far before it", last, delete_key("c")),
    ];
    for (what, read, changed) in cases {
        assert_eq!(after(store, read, vec![changed]), STORED, "{what}");
        change(store, [delete_key("c\0"), delete_key("e\0")]);
    }
}

fn an_entry_is_absent_from_its_expiry_on<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    change(store, [put_until("a", "1", UnixMillis(START.0 + 10)), put_key("b", "1")]);
    let at = |ms| all_at(store, "vkyc", UnixMillis(START.0 + ms));
    assert_eq!((at(9).as_str(), at(10).as_str()), ("a=1 b=1", "b=1"));
    assert!(Reader::of(store, "vkyc", UnixMillis(START.0 + 10)).get(b"a").is_none());
    change(store, [put_key("a", "2")]);
    assert_eq!(at(10), "a=2 b=1", "what is put again stays");
}

fn what_expires_or_is_removed_for_it_is_no_conflict<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    let expires = UnixMillis(START.0 + 10);
    change(store, [put_until("a", "1", expires), put_key("b", "1")]);
    let call = |now: UnixMillis| {
        let mut reader = Reader::of(store, "vkyc", now);
        let found = reader.scan(range("a", "c"), 9, false).len();
        (commit(now).having_read(reader.reads.clone()), found)
    };
    let ((early, two), (late, one)) = (call(START), call(expires));
    assert_eq!((two, one), (2, 1));
    bench.clock().advance(Duration::from_secs(600));
    block_on(store.sweep(Duration::from_secs(1))).unwrap();
    assert_eq!(put(store, early.clone()), STORED, "a call of that time finds it still");
    bench.clock().advance(Duration::from_secs(3_601));
    block_on(store.sweep(Duration::from_secs(1))).unwrap();
    assert_eq!(all(store), "b=1", "it is gone by itself");
    assert_eq!(put(store, late), STORED, "absent is absent");
    let mut early = early;
    early.request.id = RequestId::new(START);
    assert_eq!(put(store, early), Committed::Conflict);
}

fn a_conflict_changes_nothing<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    let mut reader = Reader::of(store, "vkyc", START);
    assert!(reader.get(b"a").is_none());
    change(store, [put_key("a", "1")]);
    let before = count(store);
    let stale = commit(START)
        .having_read(reader.reads.clone())
        .changing([put_key("a", "stale"), put_key("b", "stale")])
        .event(Some(key("k", 60)), &["a"]);
    assert_eq!(put(store, stale), Committed::Conflict);
    assert_eq!((all(store).as_str(), count(store)), ("a=1", before));
    assert_eq!(lease(store, "a", 9).len(), 0);
    let again = commit(START).event(Some(key("k", 60)), &[]);
    assert_eq!(put(store, again), Committed::Stored { events: 1 }, "nor its keys");
}

fn only_what_is_accepted_changes_state<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    let new =
        |value: &str| commit(START).changing([put_key("a", value)]).event(Some(key("k", 60)), &[]);
    assert_eq!(put(store, new("1")), Committed::Stored { events: 1 });
    assert!(matches!(put(store, new("duplicate")), Committed::Duplicate { .. }));
    assert_eq!(all(store), "a=1");
    let held = commit(START).disposition(Disposition::Quarantined);
    assert_eq!(put(store, held.changing([put_key("a", "held")])), STORED);
    assert_eq!(all(store), "a=1");
    let partly = new("partly known").event(Some(key("other", 60)), &[]);
    assert_eq!(put(store, partly), Committed::Stored { events: 1 });
    assert_eq!(all(store), "a=partly known");
    let ignored = commit(START).disposition(Disposition::Ignored);
    assert_eq!(put(store, ignored.changing([put_key("a", "ignored")])), STORED);
    assert_eq!(all(store), "a=ignored");
}

fn members_of_a_group_come_one_after_the_other<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    change(store, [put_key("a", "0")]);
    let call = |key: &str, value: &str| {
        let mut reader = Reader::of(store, "vkyc", START);
        reader.get(key.as_bytes());
        commit(START).having_read(reader.reads.clone()).changing([put_key(key, value)])
    };
    let (first, second, other, third) =
        (call("a", "1"), call("a", "2"), call("b", "1"), call("a", "3"));
    let all_of_them = async {
        tokio::join!(
            store.commit(first),
            store.commit(second),
            store.commit(other),
            store.commit(third)
        )
    };
    let (first, second, other, third) = block_on(all_of_them);
    assert_eq!((first.unwrap(), other.unwrap()), (STORED, STORED));
    let conflict = (Committed::Conflict, Committed::Conflict);
    assert_eq!((second.unwrap(), third.unwrap()), conflict);
    assert_eq!(all(store), "a=1 b=1");
}

fn what_was_read_is_kept_with_the_request<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    change(bench.store(), [put_key("a", "1"), put_until("c", "1", UnixMillis(START.0 + 1))]);
    let reads = {
        let mut reader = Reader::of(bench.store(), "vkyc", START);
        reader.get(b"a");
        reader.get(b"b");
        reader.scan(range("c", "z"), 1, false);
        reader.reads.clone()
    };
    let new = commit(START).having_read(reads.clone());
    let id = new.request.id;
    assert_eq!(put(bench.store(), new), STORED);
    bench.reopen();
    let kept = block_on(bench.store().request(id)).unwrap().unwrap().record.reads;
    assert!(!kept.state_not_kept);
    let facts = |reads: &StateReads| {
        let entry = |entry: &StateEntry| (entry.key.clone(), entry.value.clone(), entry.expires_at);
        let mut facts = Vec::new();
        for (range, entries) in reads.ranges() {
            facts.push((range, entries.map(entry).collect::<Vec<_>>()));
        }
        facts
    };
    assert_eq!(facts(&kept.state), facts(&reads));

    claim(bench.store(), "vkyc");
    // What does not compress: digests of digests.
    let mut digest = sha256(b"seed");
    let mut noise = || {
        digest = sha256(&digest);
        hex::encode(digest)
    };
    let mut value = || (0..1_000).map(|_| noise()).collect::<String>();
    change(bench.store(), ["x", "y", "z"].map(|key| put_key(key, &value())));
    let mut reader = Reader::of(bench.store(), "vkyc", START);
    reader.scan(range("x", "zz"), 9, false);
    let new = commit(START).having_read(reader.reads.clone());
    let id = new.request.id;
    assert_eq!(put(bench.store(), new), STORED);
    let kept = block_on(bench.store().request(id)).unwrap().unwrap().record.reads;
    assert!(kept.state_not_kept && kept.state.is_empty());
}
