//! Bounds, and what time does to them.

use super::*;

#[test]
fn more_commits_than_the_queue_holds_are_refused() {
    let bench = Fixture::with(|options| options.queue_bound = 2);
    let (release, wait) = mpsc::channel::<()>();
    let hold = move |_: Result<&mut Writer<'_>, StorageError>| {
        assert!(wait.recv().is_err(), "released by dropping the other end");
    };
    let elsewhere = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    bench.sqlite().jobs.send(Job::Task(Box::new(hold), elsewhere)).unwrap();
    let store = bench.store();
    let (one, two, three) = block_on(async {
        tokio::join!(store.commit(commit(START)), store.commit(commit(START)), async {
            let refused = store.commit(commit(START)).await;
            drop(release);
            refused
        })
    });
    assert!(matches!(three, Err(StorageError::Busy)), "{three:?}");
    assert!(one.is_ok() && two.is_ok());
}

#[test]
fn a_lease_stops_at_its_bound_of_bytes_and_goes_on_with_the_next() {
    const MIB: usize = 1024 * 1024;
    let bench = Fixture::new();
    let mut wanted = Vec::new();
    for n in 0..20 {
        let mut new = commit(UnixMillis(START.0 + n)).event(None, &["a"]);
        new.events[0].event.data = format!("\"{}\"", "x".repeat(MIB));
        wanted.push(new.events[0].event.id);
        put(bench.store(), new);
    }
    let mut found = Vec::new();
    while found.len() < wanted.len() {
        let leased = lease(bench.store(), "a", 100);
        let bytes: usize = leased.iter().map(|leased| leased.event.data.len()).sum();
        assert!(!leased.is_empty() && bytes <= 9 * MIB, "{} of {bytes} bytes", leased.len());
        found.extend(leased.iter().map(|leased| leased.event.id));
    }
    assert!(found == wanted, "oldest first, each once");
}

#[test]
fn a_wall_clock_that_jumps_moves_neither_due_times_nor_leases() {
    let even = Arc::new(ManualClock::at(START));
    let bench = {
        let even: Arc<dyn Clock> = Arc::<ManualClock>::clone(&even);
        Fixture::with(|options| options.even_clock = even)
    };
    let due = || block_on(bench.store().next_due(&destination("a"))).unwrap();
    let hour = Duration::from_secs(3_600);
    put(bench.store(), commit(START).event(None, &["a"]));
    let leased = lease(bench.store(), "a", 9).remove(0);
    // The wall clock is put right, an hour on: the lease runs as long as it should.
    bench.clock.advance(hour);
    assert!(lease(bench.store(), "a", 9).is_empty(), "the lease still runs");
    assert_eq!(due(), Some(START.after(hour + LEASE)), "and is told by the wall");
    let wall = bench.clock.now();
    let retry = attempt(&leased, "a", wall).failed(Some(wall.after(LEASE)));
    assert_eq!(record(bench.store(), vec![retry]), 1);
    assert_eq!(due(), Some(wall.after(LEASE)));
    // And once more, before it is due.
    bench.clock.advance(hour);
    assert!(lease(bench.store(), "a", 9).is_empty(), "not due yet");
    even.advance(LEASE);
    let again = lease(bench.store(), "a", 9).remove(0);
    assert_eq!(again.until, bench.clock.now().after(LEASE));
    // A new event is due at once, whatever the wall clock shows.
    put(bench.store(), commit(bench.clock.now()).event(None, &["a"]));
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
}
