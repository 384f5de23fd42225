//! Whose state is whose, and of which version.

use super::*;

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![each_adapter_has_a_namespace_of_its_own, a_namespace_belongs_to_one_version,]
}

fn each_adapter_has_a_namespace_of_its_own<B: Bench>(bench: &mut B) {
    let store = bench.store();
    claim(store, "vkyc");
    claim(store, "other");
    change(store, [put_key("a", "mine")]);
    let reads = {
        let mut reader = Reader::of(store, "other", START);
        assert!(reader.get(b"a").is_none());
        assert!(reader.scan(StateRange::new(Vec::new(), None), 9, true).is_empty());
        reader.reads.clone()
    };
    change(store, [put_key("a", "mine again")]);
    let theirs = commit(START).of_adapter("other").having_read(reads);
    assert_eq!(put(store, theirs.changing([put_key("a", "theirs")])), STORED);
    assert_eq!(all_at(store, "other", START), "a=theirs");
    assert_eq!(all(store), "a=mine again");
}

fn a_namespace_belongs_to_one_version<B: Bench>(bench: &mut B) {
    let refused = |store: &dyn Storage, version, said: &str| {
        let told = store.state(&adapter("vkyc"), version).unwrap_err().to_string();
        assert!(told.contains(said), "{told}");
        let mut new = commit(START).changing([put_key("a", "1")]);
        new.state.as_mut().unwrap().version = version;
        let told = block_on(store.commit(new)).unwrap_err().to_string();
        assert!(told.contains(said), "{told}");
    };
    let claims = |store: &dyn Storage, version| -> Option<u32> {
        let mine = (adapter("vkyc"), version);
        let asked = block_on(store.claim_state(vec![mine.clone()], Claiming::Ask)).unwrap();
        // Whoever stands beside it gets nothing either where it is refused.
        let both = vec![(adapter("beside"), version), mine];
        let held = block_on(store.claim_state(both, Claiming::Grant)).unwrap();
        assert_eq!(held, asked);
        assert_eq!(store.state(&adapter("beside"), version).is_ok(), held.is_empty());
        held.first().map(|(_, stored)| *stored)
    };
    refused(bench.store(), 1, "`vkyc` was granted no state");
    let asked = store_asked(bench.store());
    assert_eq!(asked, []);
    refused(bench.store(), 1, "`vkyc` was granted no state");
    assert_eq!(claims(bench.store(), 1), None);
    assert_eq!(claims(bench.store(), 2), None, "an empty one can be taken over");
    refused(bench.store(), 1, "kept in version 2, no longer in 1");
    assert_eq!(claims(bench.store(), 1), None);
    change(bench.store(), [put_key("a", "1")]);
    assert_eq!(claims(bench.store(), 2), Some(1), "one with entries cannot");
    assert_eq!(all(bench.store()), "a=1", "who has it keeps it");
    bench.reopen();
    refused(bench.store(), 1, "was granted no state");
    assert_eq!(claims(bench.store(), 2), Some(1));
    refused(bench.store(), 2, "was granted no state");
    assert_eq!(claims(bench.store(), 1), None);
    change(bench.store(), [delete_key("a")]);
    assert_eq!(claims(bench.store(), 2), None);
}

fn store_asked(store: &dyn Storage) -> Vec<(AdapterName, u32)> {
    block_on(store.claim_state(vec![(adapter("vkyc"), 1)], Claiming::Ask)).unwrap()
}
