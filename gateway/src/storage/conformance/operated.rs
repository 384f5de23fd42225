//! The rules of the operator's side: state listed page by page, and replaced at once.

use super::state::{Reader, VERSION, adapter, claim, put_key, range};
use super::*;
use crate::model::{StateEntry, StateRange, StateVersion, StateWrite};
use crate::storage::{EntryPage, ImportBegun, ImportRefused, NamespaceSummary, StateImport};

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![
        namespaces_and_entries_are_listed_page_by_page,
        what_was_exported_and_imported_is_exported_the_same,
        an_import_is_seen_whole_or_not_at_all,
        an_import_replaces_only_what_it_may,
        what_a_call_read_before_an_import_is_a_conflict,
        an_import_waits_for_the_lane_of_its_adapter,
        a_key_that_comes_twice_is_told,
    ]
}

fn all_of(store: &dyn Storage, name: &str) -> Vec<StateEntry> {
    let (mut rest, mut all) = (StateRange::new(Vec::new(), None), Vec::new());
    loop {
        let page = page(store, name, rest.clone(), 3).unwrap();
        all.extend(page.entries);
        match page.next {
            Some(next) => rest.start = next,
            None => return all,
        }
    }
}

fn page(store: &dyn Storage, name: &str, range: StateRange, limit: usize) -> Option<EntryPage> {
    block_on(store.entries(adapter(name), range, limit)).unwrap()
}

/// Without what differs by nature: versions are new.
fn plain(entries: Vec<StateEntry>) -> Vec<StateEntry> {
    entries.into_iter().map(|e| StateEntry { version: StateVersion::default(), ..e }).collect()
}

pub(in crate::storage) fn entry(key: &str, value: &str) -> StateEntry {
    let version = StateVersion::default();
    StateEntry { key: key.into(), value: value.into(), expires_at: None, version }
}

fn begin<'s>(store: &'s dyn Storage, name: &str, replace: bool) -> Box<dyn StateImport + 's> {
    match block_on(store.begin_import(adapter(name), VERSION, replace)).unwrap() {
        ImportBegun::Begun(import) => import,
        ImportBegun::Refused(why) => panic!("{why:?}"),
    }
}

pub(in crate::storage) fn import(store: &dyn Storage, name: &str, entries: Vec<StateEntry>) {
    let mut import = begin(store, name, true);
    assert_eq!(block_on(import.add(entries)).unwrap(), None);
    assert_eq!(block_on(import.finish()).unwrap(), Ok(()));
}

fn change_of(store: &dyn Storage, name: &str, writes: impl IntoIterator<Item = StateWrite>) {
    let changed = put(store, commit(START).of_adapter(name).changing(writes));
    assert_eq!(changed, Committed::Stored { events: 0 });
}

fn namespaces_and_entries_are_listed_page_by_page<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "two");
    claim(store, "one");
    assert_eq!(page(store, "none", range("", "z"), 9), None);
    let keys = ["a/1", "a/2", "a/3", "b/1"];
    change_of(store, "one", keys.map(|key| put_key(key, "v")));
    let mut expiring = put_key("a/0", "v");
    expiring.put.as_mut().unwrap().expires_at = Some(START);
    change_of(store, "one", [expiring]);
    let summary = |name, entries| NamespaceSummary {
        adapter: adapter(name),
        state_version: VERSION,
        entries,
    };
    let listed = block_on(store.namespaces()).unwrap();
    assert_eq!(listed, [summary("one", 5), summary("two", 0)]);
    let shown = |page: &EntryPage| -> Vec<String> {
        page.entries.iter().map(|e| String::from_utf8(e.key.clone()).unwrap()).collect()
    };
    let first = page(store, "one", range("a/", "a0"), 2).unwrap();
    assert_eq!(shown(&first), ["a/1", "a/2"], "what has expired is absent");
    let second = StateRange { start: first.next.unwrap(), end: "a0".into() };
    let second = page(store, "one", second, 2).unwrap();
    assert_eq!((shown(&second), second.next), (vec!["a/3".to_owned()], None));
    let none = page(store, "two", range("", "z"), 2).unwrap();
    assert_eq!((none.entries, none.next, none.state_version), (vec![], None, VERSION));
}

fn what_was_exported_and_imported_is_exported_the_same<B: Bench>(bench: &mut B) {
    claim(bench.store(), "one");
    claim(bench.store(), "two");
    let many = (0..2_000_u32).map(|n| {
        let mut write = put_key("", "");
        write.key = n.wrapping_mul(0x9E37_79B1).to_be_bytes().into();
        let put = write.put.as_mut().unwrap();
        put.value = vec![n.to_be_bytes()[3]; usize::try_from(n % 700).unwrap()];
        put.expires_at = (n % 3 == 0).then_some(UnixMillis(START.0 + 1 + u64::from(n)));
        write
    });
    change_of(bench.store(), "one", many);
    let exported = all_of(bench.store(), "one");
    assert_eq!(exported.len(), 2_000);
    import(bench.store(), "two", exported.clone());
    let again = all_of(bench.store(), "two");
    assert!(again.iter().zip(&exported).all(|(new, old)| new.version > old.version));
    assert_eq!(plain(again), plain(exported.clone()));
    bench.reopen();
    claim(bench.store(), "two");
    assert_eq!(plain(all_of(bench.store(), "two")), plain(exported));
    // An adapter reads what was imported.
    let found = Reader::of(bench.store(), "two", START).get(&[0; 4]).unwrap();
    assert_eq!(found.expires_at, Some(UnixMillis(START.0 + 1)));
}

fn an_import_is_seen_whole_or_not_at_all<B: Bench>(bench: &mut B) {
    claim(bench.store(), "one");
    change_of(bench.store(), "one", [put_key("old", "1"), put_key("both", "1")]);
    let before = all_of(bench.store(), "one");
    for reopened in [false, true] {
        let mut dropped = begin(bench.store(), "one", true);
        assert_eq!(block_on(dropped.add(vec![entry("new", "2")])).unwrap(), None);
        assert_eq!(all_of(bench.store(), "one"), before, "not before it has ended");
        drop(dropped);
        if reopened {
            bench.reopen();
            claim(bench.store(), "one");
        }
        block_on(bench.store().sweep(Duration::from_secs(86_400))).unwrap();
        assert_eq!(all_of(bench.store(), "one"), before, "nor if it never ends");
        assert_eq!(block_on(bench.store().namespaces()).unwrap().len(), 1);
    }
    let mut whole = begin(bench.store(), "one", true);
    assert_eq!(block_on(whole.add(vec![entry("new", "2")])).unwrap(), None);
    block_on(bench.store().sweep(Duration::from_secs(86_400))).unwrap();
    assert_eq!(block_on(whole.add(vec![entry("both", "2")])).unwrap(), None);
    assert_eq!(block_on(whole.finish()).unwrap(), Ok(()));
    drop(whole);
    let after = [entry("both", "2"), entry("new", "2")];
    assert_eq!(plain(all_of(bench.store(), "one")), after);
    block_on(bench.store().sweep(Duration::from_secs(86_400))).unwrap();
    bench.reopen();
    claim(bench.store(), "one");
    assert_eq!(plain(all_of(bench.store(), "one")), after);
}

fn an_import_replaces_only_what_it_may<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "one");
    let refused = |version, replace, name| match block_on(store.begin_import(
        adapter(name),
        version,
        replace,
    ))
    .unwrap()
    {
        ImportBegun::Refused(why) => why,
        ImportBegun::Begun(_) => panic!("begun"),
    };
    assert_eq!(refused(VERSION, true, "other"), ImportRefused::NoNamespace);
    assert_eq!(refused(VERSION + 1, true, "one"), ImportRefused::OtherVersion(VERSION));
    let mut empty = begin(store, "one", false);
    assert_eq!(block_on(empty.add(vec![entry("a", "imported")])).unwrap(), None);
    change_of(store, "one", [put_key("a", "live")]);
    assert_eq!(block_on(empty.finish()).unwrap(), Err(ImportRefused::NotEmpty));
    assert_eq!(refused(VERSION, false, "one"), ImportRefused::NotEmpty);
    assert_eq!(plain(all_of(store, "one")), [entry("a", "live")]);
}

fn what_a_call_read_before_an_import_is_a_conflict<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "one");
    claim(store, "other");
    change_of(store, "one", [put_key("same", "1"), put_key("gone", "1")]);
    change_of(store, "other", [put_key("same", "1")]);
    let reading = |name, read: &dyn Fn(&mut Reader)| {
        let mut reader = Reader::of(store, name, START);
        read(&mut reader);
        commit(START)
            .of_adapter(name)
            .having_read(reader.reads)
            .changing([put_key("written", "late")])
    };
    let entry_read = reading("one", &|reader| drop(reader.get(b"same")));
    let absence_read = reading("one", &|reader| drop(reader.get(b"new")));
    let range_read = reading("one", &|reader| drop(reader.scan(range("g", "h"), 9, false)));
    let unchanged = reading("one", &|reader| drop(reader.get(b"never")));
    let elsewhere = reading("other", &|reader| drop(reader.get(b"same")));
    import(store, "one", vec![entry("new", "2"), entry("same", "1")]);
    for (read, call) in
        [("an entry", entry_read), ("an absence", absence_read), ("a range", range_read)]
    {
        assert_eq!(put(store, call), Committed::Conflict, "{read}");
    }
    let stored = Committed::Stored { events: 0 };
    assert_eq!(put(store, unchanged), stored, "what is absent still");
    assert_eq!(put(store, elsewhere), stored, "another adapter's");
    let after = [entry("new", "2"), entry("same", "1"), entry("written", "late")];
    assert_eq!(plain(all_of(store, "one")), after);
}

fn an_import_waits_for_the_lane_of_its_adapter<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "one");
    let mut import = begin(store, "one", true);
    assert_eq!(block_on(import.add(vec![entry("a", "imported")])).unwrap(), None);
    block_on(async {
        let lane = store.lane(&adapter("one")).await.unwrap();
        let in_lane = async {
            let mut call = commit(START).of_adapter("one").changing([put_key("a", "lane")]);
            call.lane = Some(lane.id());
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            assert_eq!(plain(entries_now(store).await), [], "nothing is imported");
            // Its commit ends the lane: what it read and what it writes is of before the import.
            let stored = store.commit(call).await.unwrap();
            drop(lane);
            stored
        };
        let (ended, stored) = tokio::join!(import.finish(), in_lane);
        assert_eq!((ended.unwrap(), stored), (Ok(()), Committed::Stored { events: 0 }));
    });
    assert_eq!(plain(all_of(store, "one")), [entry("a", "imported")]);
}

async fn entries_now(store: &dyn Storage) -> Vec<StateEntry> {
    let all = store.entries(adapter("one"), StateRange::new(Vec::new(), None), 9);
    all.await.unwrap().unwrap().entries
}

fn a_key_that_comes_twice_is_told<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "one");
    let mut import = begin(store, "one", true);
    let many = |from: u32| (from..from + 1_200).map(|n| entry(&n.to_string(), "v")).collect();
    assert_eq!(block_on(import.add(many(0))).unwrap(), None);
    let mut again: Vec<StateEntry> = many(5_000);
    again[1_100] = entry("7", "again");
    assert_eq!(block_on(import.add(again)).unwrap(), Some(1_100));
}
