//! Deliveries: leases, attempts, dead letters, and what a restart leaves of them.

use super::*;

pub(super) fn rules<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![
        deliveries_are_leased_oldest_first_and_once,
        a_lease_that_ends_comes_back_and_its_fence_grows_stale,
        a_late_record_counts_while_nobody_else_has_the_lease,
        a_failed_attempt_is_due_again_when_it_says,
        a_dead_letter_is_not_leased_again,
        keys_and_deliveries_survive_a_restart,
        removed_destinations_are_dead_lettered,
    ]
}

fn deliveries_are_leased_oldest_first_and_once<B: Bench>(bench: &mut B) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let new = commit(START).event(None, &["a", "b"]);
        ids.push(new.events[0].event.id);
        put(bench.store(), new);
        bench.clock().advance(Duration::from_millis(1));
    }
    let events = |leased: &[LeasedDelivery]| -> Vec<EventId> {
        leased.iter().map(|leased| leased.event.id).collect()
    };
    let first = lease(bench.store(), "a", 2);
    assert_eq!(events(&first), ids[..2]);
    assert!(first.iter().all(|leased| leased.intact && leased.attempts_before == 0));
    assert_eq!(events(&lease(bench.store(), "a", 9)), ids[2..]);
    assert!(lease(bench.store(), "a", 9).is_empty(), "all are leased");
    assert_eq!(events(&lease(bench.store(), "b", 9)), ids, "another destination, another delivery");
    assert!(lease(bench.store(), "unknown", 9).is_empty());
    let done = first.iter().map(|leased| attempt(leased, "a", START)).collect();
    assert_eq!(record(bench.store(), done), 2);
    let health = block_on(bench.store().health()).unwrap();
    assert_eq!(health.pending_deliveries, 8);
    let by_destination = [(destination("a"), 3), (destination("b"), 5)];
    assert_eq!(health.pending_by_destination, by_destination);
}

fn a_lease_that_ends_comes_back_and_its_fence_grows_stale<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(None, &["a"]));
    let old = lease(bench.store(), "a", 9).remove(0);
    let due = |bench: &B| block_on(bench.store().next_due(&destination("a"))).unwrap();
    assert_eq!(due(bench), Some(old.until));
    bench.clock().advance(LEASE - Duration::from_millis(1));
    assert!(lease(bench.store(), "a", 9).is_empty(), "the lease still runs");
    bench.clock().advance(Duration::from_millis(1));
    let new = lease(bench.store(), "a", 9).remove(0);
    assert_eq!((new.delivery, &new.event), (old.delivery, &old.event));
    assert!(new.fence != old.fence && new.intact);
    let (stale, good) = (attempt(&old, "a", START), attempt(&new, "a", START));
    assert_eq!(record(bench.store(), vec![stale.clone()]), 0);
    assert_eq!(record(bench.store(), vec![stale, good.clone(), good.clone()]), 1);
    assert_eq!(record(bench.store(), vec![good]), 0, "recorded once");
    assert_eq!(due(bench), None);
}

fn a_late_record_counts_while_nobody_else_has_the_lease<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(None, &["a"]));
    let leased = lease(bench.store(), "a", 9).remove(0);
    bench.clock().advance(LEASE * 2);
    let due = block_on(bench.store().next_due(&destination("a"))).unwrap();
    assert!(due.is_some());
    assert_eq!(record(bench.store(), vec![attempt(&leased, "a", START)]), 1);
    assert!(lease(bench.store(), "a", 9).is_empty(), "it is delivered");
}

fn a_failed_attempt_is_due_again_when_it_says<B: Bench>(bench: &mut B) {
    let new = commit(START).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    let delay = Duration::from_secs(5);
    let later = START.after(delay);
    let leased = lease(bench.store(), "a", 9).remove(0);
    let failed = attempt(&leased, "a", START).failed(Some(delay));
    assert_eq!(record(bench.store(), vec![failed]), 1);
    for _ in 0..2 {
        assert!(lease(bench.store(), "a", 9).is_empty(), "not before it is due");
        assert_eq!(block_on(bench.store().next_due(&destination("a"))).unwrap(), Some(later));
        bench.reopen();
    }
    bench.clock().advance(delay);
    let again = lease(bench.store(), "a", 9).remove(0);
    assert_eq!((again.attempts_before, &again.event), (1, &leased.event));
    assert_eq!(record(bench.store(), vec![attempt(&again, "a", later)]), 1);
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    let delivery = &found.events[0].deliveries[0];
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(delivery.due_at, None);
    let attempts: Vec<_> = delivery
        .attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.at, attempt.outcome == AttemptOutcome::Delivered))
        .collect();
    assert_eq!(attempts, [(1, START, false), (2, later, true)]);
}

fn a_dead_letter_is_not_leased_again<B: Bench>(bench: &mut B) {
    let new = commit(START).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    let leased = lease(bench.store(), "a", 9).remove(0);
    assert_eq!(record(bench.store(), vec![attempt(&leased, "a", START).failed(None)]), 1);
    for _ in 0..2 {
        bench.clock().advance(Duration::from_secs(86_400));
        assert!(lease(bench.store(), "a", 9).is_empty());
        let health = block_on(bench.store().health()).unwrap();
        assert_eq!((health.pending_deliveries, health.dead_letters), (0, 1));
        let found = block_on(bench.store().request(id)).unwrap().unwrap();
        let delivery = &found.events[0].deliveries[0];
        assert_eq!(delivery.state, DeliveryState::DeadLetter);
        assert_eq!(delivery.reason.as_deref(), Some("retries_exhausted"));
        bench.reopen();
    }
}

fn keys_and_deliveries_survive_a_restart<B: Bench>(bench: &mut B) {
    let new = || commit(START).event(Some(key("k", 600)), &["a"]);
    let first = new();
    let event = first.events[0].event.clone();
    put(bench.store(), first);
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
    bench.reopen();
    let leased = lease(bench.store(), "a", 9);
    assert_eq!(leased.len(), 1, "a lease dies with its process");
    assert_eq!(leased[0].event, event);
    assert!(leased[0].intact);
    assert!(matches!(put(bench.store(), new()), Committed::Duplicate { .. }));
    assert_eq!(record(bench.store(), vec![attempt(&leased[0], "a", START)]), 1);
    bench.reopen();
    assert!(lease(bench.store(), "a", 9).is_empty(), "what is delivered stays so");
}

fn removed_destinations_are_dead_lettered<B: Bench>(bench: &mut B) {
    let new = commit(START).event(None, &["a", "b", "c"]);
    let id = new.request.id;
    put(bench.store(), new);
    let leased = lease(bench.store(), "b", 9).remove(0);
    let parked = lease(bench.store(), "c", 9).remove(0);
    record(bench.store(), vec![attempt(&parked, "c", START).failed(Some(Duration::ZERO))]);
    assert_eq!(retire(bench.store(), &["a"]).unwrap(), 2);
    assert_eq!(retire(bench.store(), &["a"]).unwrap(), 0);
    assert_eq!(record(bench.store(), vec![attempt(&leased, "b", START)]), 0, "its lease is gone");
    assert!(lease(bench.store(), "b", 9).is_empty() && lease(bench.store(), "c", 9).is_empty());
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    let states: Vec<_> = found.events[0].deliveries.iter().map(|to| to.reason.as_deref()).collect();
    assert_eq!(states, [None, Some("destination_removed"), Some("destination_removed")]);
    let health = block_on(bench.store().health()).unwrap();
    assert_eq!((health.pending_deliveries, health.dead_letters), (1, 2));
}
