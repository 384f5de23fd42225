//! Retention and retirement, step by step.

use super::*;

#[test]
fn numbers_are_not_used_again_after_a_sweep() {
    let mut bench = Fixture::new();
    let new = || commit(START).event(Some(key("k", 4_000_000)), &["a"]);
    put(bench.store(), new());
    let leased = lease(bench.store(), "a", 9).remove(0);
    record(bench.store(), vec![attempt(&leased, "a", START)]);
    bench.clock.advance(LEASE);
    assert_eq!(block_on(bench.store().sweep(Duration::ZERO)).unwrap(), 1);
    bench.reopen();
    let other = commit(START).event(None, &["a"]);
    put(bench.store(), other);
    assert_ne!(lease(bench.store(), "a", 9)[0].delivery, leased.delivery);
    let first = crate::model::Answer::json(200, "{\"first\":true}");
    assert_eq!(put(bench.store(), new()), Committed::Duplicate { answer: first });
}

#[test]
fn keys_are_moved_in_slices_before_requests_go() {
    const KEYS: i64 = 3_000;
    let bench = Fixture::new();
    for batch in 0..10 {
        let new = (0..KEYS / 10).fold(commit(START), |new, n| {
            new.event(Some(key(&format!("{batch}-{n}"), 4_000_000)), &[])
        });
        put(bench.store(), new);
    }
    let in_table = |writer: &Writer<'_>| -> i64 {
        writer.connection.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).unwrap()
    };
    let steps = move |writer: &mut Writer<'_>| {
        let mut sweep = writer.begin_sweep(START.after(LEASE));
        let mut moved = vec![in_table(writer)];
        while !sweep.is_over() {
            sweep = writer.sweep_step(sweep)?;
            moved.push(in_table(writer));
        }
        Ok((moved, sweep.deleted))
    };
    let (moved, deleted) = block_on(bench.sqlite().ask_writer(steps)).unwrap();
    assert!(moved.windows(2).all(|step| step[1] <= step[0] + 1_024), "{moved:?}");
    assert_eq!((moved.first(), moved.last()), (Some(&0), Some(&KEYS)), "{moved:?}");
    assert_eq!(deleted, 10, "requests go once the keys of their events are moved");
    let again = commit(START).event(Some(key("9-7", 4_000_000)), &[]);
    assert!(matches!(put(bench.store(), again), Committed::Duplicate { .. }));
}

#[test]
fn one_sweep_deletes_all_answers_that_no_key_needs() {
    let mut bench = Fixture::new();
    let fill = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000) \
        INSERT INTO kept_answers SELECT n, iif(n <= 4990, 1, 9000000000000), '{}' FROM n";
    assert_eq!(bench.tamper(fill), 5_000);
    block_on(bench.store().sweep(LEASE)).unwrap();
    let look = |writer: &mut Writer<'_>| {
        let left = "SELECT count(*) FROM kept_answers";
        let plan = "EXPLAIN QUERY PLAN SELECT request FROM kept_answers WHERE until < 7 LIMIT 9";
        let left: i64 = writer.connection.query_row(left, [], |row| row.get(0)).unwrap();
        let plan: String = writer.connection.query_row(plan, [], |row| row.get(3)).unwrap();
        Ok((left, plan))
    };
    let (left, plan) = block_on(bench.sqlite().ask_writer(look)).unwrap();
    assert_eq!(left, 10, "those that are needed stay");
    assert!(plan.contains("kept_answers_until"), "{plan}");
}

#[test]
fn what_could_not_be_retired_is_still_delivered() {
    let bench = Fixture::new();
    let new = || commit(START).event(None, &["a"]);
    put(bench.store(), new());
    put(bench.store(), new());
    let leased = lease(bench.store(), "a", 1).remove(0);
    bench.on_writer(
        "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON main.deliveries WHEN new.reason IS NOT NULL \
         BEGIN SELECT raise(ABORT, 'not now'); END",
    );
    let retired = || retire(bench.store(), &["b"]);
    assert!(matches!(retired(), Err(StorageError::Failed { .. })));
    assert_eq!(lease(bench.store(), "a", 9).len(), 1, "memory has kept it");
    assert_eq!(record(bench.store(), vec![attempt(&leased, "a", START)]), 1, "and the lease");
    bench.on_writer("DROP TRIGGER refuse");
    assert_eq!(retired().unwrap(), 1);
    assert_eq!(block_on(bench.store().health()).unwrap().dead_letters, 1);
}

#[test]
fn more_than_one_step_of_a_removed_destination_is_retired() {
    let mut bench = Fixture::new();
    let batch = || (0..1_500).fold(commit(START), |new, _| new.event(None, &["a"]));
    put(bench.store(), batch());
    bench.reopen();
    put(bench.store(), batch());
    let leased = lease(bench.store(), "a", 700);
    let retired = retire(bench.store(), &[]).unwrap();
    assert_eq!(retired, 3_000, "parked, held and leased");
    assert!(lease(bench.store(), "a", 9).is_empty());
    assert_eq!(record(bench.store(), vec![attempt(&leased[0], "a", START)]), 0);
    assert_eq!(block_on(bench.store().next_due(&destination("a"))).unwrap(), None);
    let health = block_on(bench.store().health()).unwrap();
    assert_eq!((health.pending_deliveries, health.dead_letters), (0, 3_000));
}

#[test]
fn what_is_configured_is_asked_in_the_turn_that_retires() {
    let bench = Fixture::new();
    put(bench.store(), commit(START).event(None, &["a"]));
    let (release, wait) = mpsc::channel::<()>();
    let held = bench.sqlite().ask_writer(move |_| {
        assert!(wait.recv().is_err(), "released by dropping the other end");
        Ok(())
    });
    let configured = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&configured);
    let names = Box::new(move |name: &_| asked.lock().unwrap().contains(name));
    let (held, retired, ()) = block_on(async {
        tokio::join!(held, bench.store().retire_destinations(names), async {
            // A reload that comes while the step waits for the writer.
            configured.lock().unwrap().push(destination("a"));
            drop(release);
        })
    });
    held.unwrap();
    assert_eq!(retired.unwrap(), 0);
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
}

#[test]
fn an_unreadable_event_is_held_until_it_is_given_up() {
    let mut bench = Fixture::new();
    put(bench.store(), commit(START).event(None, &["a"]));
    assert_eq!(bench.tamper("UPDATE events SET event = '{' || event"), 1);
    bench.on_writer(
        "CREATE TEMP TRIGGER refuse BEFORE UPDATE ON main.deliveries WHEN new.reason IS NOT NULL \
         BEGIN SELECT raise(ABORT, 'not now'); END",
    );
    for _ in 0..2 {
        let leased = block_on(bench.store().lease(&destination("a"), 9, LEASE));
        assert!(matches!(leased, Err(StorageError::Failed { .. })), "{leased:?}");
    }
    bench.on_writer("DROP TRIGGER refuse");
    assert!(lease(bench.store(), "a", 9).is_empty());
    let health = block_on(bench.store().health()).unwrap();
    assert_eq!((health.pending_deliveries, health.dead_letters), (0, 1));
}
