//! Idempotency keys: windows, scopes, duplicates, and what a call saw of them.

use super::*;

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![
        a_window_ends_after_its_last_millisecond,
        a_duplicate_gets_the_first_answer_or_its_own,
        of_a_partly_known_batch_only_the_new_events_are_stored,
        of_two_events_with_one_key_the_first_wins,
        a_key_reaches_as_far_as_its_scope,
        an_event_without_a_key_is_always_new,
        a_read_that_no_longer_holds_is_a_conflict,
        what_is_quarantined_holds_no_key_and_is_superseded,
        seen_says_what_a_commit_would_find,
    ]
}

fn a_window_ends_after_its_last_millisecond<B: Bench>(bench: &mut B) {
    let at = |ms| commit(UnixMillis(START.0 + ms)).event(Some(key("k", 60)), &[]);
    let stored = Committed::Stored { events: 1 };
    let is_duplicate = |committed| matches!(committed, Committed::Duplicate { .. });
    assert_eq!(put(bench.store(), at(0)), stored);
    assert!(is_duplicate(put(bench.store(), at(60_000))), "the edge belongs to the window");
    assert_eq!(put(bench.store(), at(60_001)), stored, "a duplicate does not prolong the window");
    assert!(is_duplicate(put(bench.store(), at(120_001))), "the second request set it anew");
    assert!(is_duplicate(put(bench.store(), at(60_000))), "arrival order need not be commit order");
    assert_eq!(put(bench.store(), at(120_002)), stored);
}

fn a_duplicate_gets_the_first_answer_or_its_own<B: Bench>(bench: &mut B) {
    let new = || commit(START).event(Some(key("k", 60)), &["a"]);
    let first = new();
    let answer = first.request.answer.clone();
    put(bench.store(), first);
    let mut second = new();
    second.request.answer = Answer::empty(299);
    let id = second.request.id;
    let committed = put(bench.store(), second);
    assert_eq!(committed, Committed::Duplicate { answer: answer.clone() });
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    assert_eq!(found.record.disposition, Disposition::Duplicate);
    assert_eq!(found.record.answer, answer, "the record says what was answered");
    assert_eq!(found.events.len(), 0);
    let mut third = new();
    third.duplicate_answer = Some(Answer::empty(208));
    assert_eq!(put(bench.store(), third), Committed::Duplicate { answer: Answer::empty(208) });
    assert_eq!(lease(bench.store(), "a", 9).len(), 1, "one event, however often it came");
}

fn of_a_partly_known_batch_only_the_new_events_are_stored<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(Some(key("1", 60)), &["a"]));
    let batch = commit(START)
        .event(Some(key("1", 60)), &["a"])
        .event(Some(key("2", 60)), &["a"])
        .event(Some(key("3", 60)), &["a"]);
    let wanted: Vec<_> = batch.events[1..].iter().map(|new| new.event.id).collect();
    let id = batch.request.id;
    assert_eq!(put(bench.store(), batch), Committed::Stored { events: 2 });
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    let ids: Vec<_> = found.events.iter().map(|stored| stored.event.id).collect();
    assert_eq!(ids, wanted);
    assert_eq!(found.record.disposition, Disposition::Accepted);
}

fn of_two_events_with_one_key_the_first_wins<B: Bench>(bench: &mut B) {
    let batch = commit(START).event(Some(key("1", 60)), &["a"]).event(Some(key("1", 60)), &["a"]);
    let first = batch.events[0].event.id;
    assert_eq!(put(bench.store(), batch), Committed::Stored { events: 1 });
    let leased = lease(bench.store(), "a", 9);
    assert_eq!(leased.iter().map(|leased| leased.event.id).collect::<Vec<_>>(), [first]);
}

fn a_key_reaches_as_far_as_its_scope<B: Bench>(bench: &mut B) {
    let stored = Committed::Stored { events: 1 };
    let wide = || IdempotencyKey { scope: KeyScope::Adapter, ..key("k", 60) };
    assert_eq!(put(bench.store(), commit(START).event(Some(key("k", 60)), &[])), stored);
    let other = || commit(START).of_route("other");
    assert_eq!(put(bench.store(), other().event(Some(key("k", 60)), &[])), stored);
    assert_eq!(put(bench.store(), commit(START).event(Some(wide()), &[])), stored);
    let committed = put(bench.store(), other().event(Some(wide()), &[]));
    assert!(matches!(committed, Committed::Duplicate { .. }), "the adapter's key is known");
}

fn an_event_without_a_key_is_always_new<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(Some(key("k", 60)), &[]));
    let mixed = commit(START).event(Some(key("k", 60)), &[]).event(None, &[]).event(None, &[]);
    assert_eq!(put(bench.store(), mixed), Committed::Stored { events: 2 });
}

fn a_read_that_no_longer_holds_is_a_conflict<B: Bench>(bench: &mut B) {
    let k = || key("k", 60);
    put(bench.store(), commit(START).event(Some(k()), &["a"]));
    let before = count(bench.store());
    let stale = commit(START).read(k(), false).event(Some(key("other", 60)), &["a"]);
    assert_eq!(put(bench.store(), stale), Committed::Conflict);
    let wrong = commit(START).read(key("never", 60), true);
    assert_eq!(put(bench.store(), wrong), Committed::Conflict);
    assert_eq!(count(bench.store()), before, "a conflict stores nothing");
    let other = commit(START).event(Some(key("other", 60)), &["a"]);
    assert_eq!(put(bench.store(), other), Committed::Stored { events: 1 }, "nor its keys");
    assert_eq!(lease(bench.store(), "a", 9).len(), 2, "nor its deliveries");
    let right = commit(START).read(k(), true).read(key("never", 60), false);
    assert_eq!(put(bench.store(), right), Committed::Stored { events: 0 });
}

fn what_is_quarantined_holds_no_key_and_is_superseded<B: Bench>(bench: &mut B) {
    let quarantined = || commit(START).disposition(Disposition::Quarantined).body("same");
    let held = quarantined().event(Some(key("k", 60)), &["a"]);
    let ids = [held.request.id, {
        let elsewhere = quarantined().of_route("other");
        let id = elsewhere.request.id;
        put(bench.store(), elsewhere);
        id
    }];
    assert_eq!(put(bench.store(), held), Committed::Stored { events: 0 });
    assert!(lease(bench.store(), "a", 9).is_empty());
    bench.reopen();
    put(bench.store(), commit(START).body("another"));
    put(bench.store(), commit(START).body("same").disposition(Disposition::Ignored));
    assert_eq!(disposition_of(bench.store(), ids[0]), Disposition::Quarantined);
    let accepted = commit(START).body("same").event(Some(key("k", 60)), &["a"]);
    assert_eq!(put(bench.store(), accepted), Committed::Stored { events: 1 });
    assert_eq!(disposition_of(bench.store(), ids[0]), Disposition::Superseded);
    assert_eq!(disposition_of(bench.store(), ids[1]), Disposition::Quarantined, "another route");
}

fn seen_says_what_a_commit_would_find<B: Bench>(bench: &mut B) {
    let adapter = AdapterName::new("vkyc").unwrap();
    put(bench.store(), commit(START).event(Some(key("k", 60)), &[]));
    for _ in 0..2 {
        let seen = |value: &str, ms| {
            let now = UnixMillis(START.0 + ms);
            bench.store().seen(Some(&route("shop")), &adapter, &key(value, 60), now).unwrap()
        };
        assert!(seen("k", 0) && seen("k", 60_000));
        assert!(!seen("k", 60_001) && !seen("other", 0));
        bench.reopen();
    }
}
