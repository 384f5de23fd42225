//! The rules of attempts that are calls: the record of one and what it leaves are one commit.

use super::state::{Reader, all, claim, put_key, range};
use super::*;
use crate::model::Consumed;
use crate::storage::StoredDelivery;

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![
        an_attempt_and_what_its_call_leaves_are_one_commit,
        an_attempt_with_a_stale_fence_stores_nothing,
        of_two_commits_of_one_lease_one_is_stored,
        a_conflict_leaves_the_lease_for_another_run,
        a_duplicate_ends_the_attempt_as_well,
        a_key_made_while_consuming_is_the_adapters_and_no_routes,
    ]
}

/// A stored event that is owed to `a`, leased.
fn owed<B: Bench>(bench: &B) -> (RequestId, LeasedDelivery) {
    let new = commit(START).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    let mut leased = lease(bench.store(), "a", 1);
    (id, leased.pop().unwrap())
}

/// What a call leaves that was given it: an event for `b` and an entry of state.
fn left(leased: &LeasedDelivery) -> Commit {
    let mut left = commit(START).event(None, &["b"]).changing([put_key("consumed", "once")]);
    let (event, delivery) = (leased.event.id, leased.delivery);
    left.request.consumed = Some(Consumed { event, delivery });
    left.events[0].event.hops = 1;
    left
}

fn commit_attempt<B: Bench>(bench: &B, leased: &LeasedDelivery, left: Commit) -> Option<Committed> {
    block_on(bench.store().commit_attempt(attempt(leased, "a", START), left)).unwrap()
}

fn delivery(store: &dyn Storage, request: RequestId) -> StoredDelivery {
    let mut stored = block_on(store.request(request)).unwrap().unwrap();
    stored.events.remove(0).deliveries.remove(0)
}

const STORED: Option<Committed> = Some(Committed::Stored { events: 1 });

fn an_attempt_and_what_its_call_leaves_are_one_commit<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    let (request, leased) = owed(bench);
    let left = left(&leased);
    let (id, consumed) = (left.request.id, left.request.consumed);
    assert_eq!(commit_attempt(bench, &leased, left), STORED);
    for _ in 0..2 {
        let done = delivery(bench.store(), request);
        assert_eq!((done.state, done.attempts.len()), (DeliveryState::Delivered, 1));
        let stored = block_on(bench.store().request(id)).unwrap().unwrap();
        assert_eq!(stored.record.consumed, consumed);
        assert_eq!(stored.events[0].event.hops, 1);
        assert_eq!(stored.events[0].event.source().to_string(), "/adapters/shop");
        assert_eq!(all(bench.store()), "consumed=once");
        bench.clock().advance(LEASE);
        assert_eq!(lease(bench.store(), "a", 9).len(), 0, "done once and for all");
        bench.reopen();
        claim(bench.store(), "vkyc");
    }
    assert_eq!(lease(bench.store(), "b", 9).len(), 1, "what it made is owed");
}

fn an_attempt_with_a_stale_fence_stores_nothing<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    let (_, stale) = owed(bench);
    bench.clock().advance(LEASE);
    let good = lease(bench.store(), "a", 1).pop().unwrap();
    assert_eq!(commit_attempt(bench, &stale, left(&stale)), None);
    assert_eq!((count(bench.store()), all(bench.store()).as_str()), (1, ""));
    assert_eq!(commit_attempt(bench, &good, left(&good)), STORED);
    assert_eq!(commit_attempt(bench, &good, left(&good)), None, "committed once");
    assert_eq!(count(bench.store()), 2);
    assert_eq!(lease(bench.store(), "b", 9).len(), 1);
}

fn of_two_commits_of_one_lease_one_is_stored<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    let (request, leased) = owed(bench);
    let both = async {
        let record = || attempt(&leased, "a", START);
        let (one, two) = (left(&leased), left(&leased));
        let store = bench.store();
        tokio::join!(store.commit_attempt(record(), one), store.commit_attempt(record(), two))
    };
    let (one, two) = block_on(both);
    assert_eq!((one.unwrap(), two.unwrap()), (STORED, None));
    assert_eq!(count(bench.store()), 2);
    assert_eq!(delivery(bench.store(), request).attempts.len(), 1);
}

fn a_conflict_leaves_the_lease_for_another_run<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    let (request, leased) = owed(bench);
    let read = |store| {
        let mut reader = Reader::of(store, "vkyc", START);
        reader.scan(range("a", "z"), 9, false);
        reader.reads
    };
    let early = read(bench.store());
    put(bench.store(), commit(START).changing([put_key("meanwhile", "1")]));
    let before = (count(bench.store()), all(bench.store()));
    let run = |reads| commit_attempt(bench, &leased, left(&leased).having_read(reads));
    assert_eq!(run(early), Some(Committed::Conflict));
    assert_eq!((count(bench.store()), all(bench.store())), before);
    let still = delivery(bench.store(), request);
    assert_eq!((still.state, still.attempts.len()), (DeliveryState::Pending, 0));
    assert_eq!(lease(bench.store(), "a", 9).len(), 0, "it is leased still");
    assert_eq!(run(read(bench.store())), STORED);
    assert_eq!(delivery(bench.store(), request).state, DeliveryState::Delivered);
    claim(bench.store(), "vkyc");
}

fn a_duplicate_ends_the_attempt_as_well<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    let known = IdempotencyKey { scope: KeyScope::Adapter, ..key("known", 60) };
    put(bench.store(), commit(START).event(Some(known), &[]));
    let (request, leased) = owed(bench);
    let mut left = left(&leased);
    left.events[0].key = Some(key("known", 60));
    let committed = commit_attempt(bench, &leased, left);
    assert!(matches!(committed, Some(Committed::Duplicate { .. })), "{committed:?}");
    assert_eq!(delivery(bench.store(), request).state, DeliveryState::Delivered);
    assert_eq!(all(bench.store()), "", "a duplicate changes nothing else");
}

/// What consumes is recorded under its adapter's name, which a route may bear as well.
fn a_key_made_while_consuming_is_the_adapters_and_no_routes<B: Bench>(bench: &mut B) {
    claim(bench.store(), "vkyc");
    let adapter = AdapterName::new("vkyc").unwrap();
    put(bench.store(), commit(START).event(Some(key("at the route", 60)), &[]));
    let seen = |bench: &B, at: Option<&RouteName>, value: &str| {
        bench.store().seen(at, &adapter, &key(value, 60), START).unwrap()
    };
    let shop = route("shop");
    for (value, known) in [("at the route", false), ("consumed", false), ("consumed", true)] {
        assert_eq!(seen(bench, None, value), known, "{value}");
        let (_, leased) = owed(bench);
        let mut left = left(&leased);
        left.events[0].key = Some(key(value, 60));
        let committed = commit_attempt(bench, &leased, left);
        assert_eq!(committed == STORED, !known, "{value}: {committed:?}");
    }
    assert!(seen(bench, None, "consumed") && !seen(bench, Some(&shop), "consumed"));
    let at_the_route = commit(START).event(Some(key("consumed", 60)), &[]);
    assert_eq!(put(bench.store(), at_the_route), Committed::Stored { events: 1 });
}
