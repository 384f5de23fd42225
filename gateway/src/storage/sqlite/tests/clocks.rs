//! What waits while the wall clock is put right.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A store with an even clock that is none of the wall's.
struct Clocks {
    bench: Fixture,
    even: Arc<ManualClock>,
}

impl Clocks {
    fn new() -> Self {
        let even = Arc::new(ManualClock::at(START));
        let given = Arc::<ManualClock>::clone(&even);
        Self { bench: Fixture::with(|options| options.even_clock = given), even }
    }
}

fn next_due(bench: &Fixture) -> Option<UnixMillis> {
    block_on(bench.store().next_due(&destination("a"))).unwrap()
}

/// Stores an event for `a`; its request.
fn owe(bench: &Fixture) -> RequestId {
    let new = commit(bench.clock.now()).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    id
}

#[test]
fn a_wall_clock_that_jumps_moves_neither_due_times_nor_leases() {
    let Clocks { bench, even } = Clocks::new();
    let due = || next_due(&bench);
    put(bench.store(), commit(START).event(None, &["a"]));
    let leased = lease(bench.store(), "a", 9).remove(0);
    // The wall clock is put right, an hour on: the lease runs as long as it should.
    bench.clock.advance(HOUR);
    assert!(lease(bench.store(), "a", 9).is_empty(), "the lease still runs");
    assert_eq!(due(), Some(START.after(HOUR + LEASE)), "and is told by the wall");
    let wall = bench.clock.now();
    let retry = attempt(&leased, "a", wall).failed(Some(LEASE));
    assert_eq!(record(bench.store(), vec![retry]), 1);
    assert_eq!(due(), Some(wall.after(LEASE)));
    // And once more, before it is due.
    bench.clock.advance(HOUR);
    assert!(lease(bench.store(), "a", 9).is_empty(), "not due yet");
    even.advance(LEASE);
    let again = lease(bench.store(), "a", 9).remove(0);
    assert_eq!(again.until, bench.clock.now().after(LEASE));
    // A new event is due at once, whatever the wall clock shows.
    put(bench.store(), commit(bench.clock.now()).event(None, &["a"]));
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
}

#[test]
fn a_wall_clock_put_right_during_an_attempt_does_not_move_its_retry() {
    for right in [UnixMillis(START.0 - 86_400_000), START.after(YEAR)] {
        let Clocks { bench, even } = Clocks::new();
        owe(&bench);
        let leased = lease(bench.store(), "a", 9).remove(0);
        bench.clock.set(right);
        let failed = attempt(&leased, "a", START).failed(Some(MINUTE));
        assert_eq!(record(bench.store(), vec![failed]), 1);
        assert_eq!(next_due(&bench), Some(right.after(MINUTE)));
        assert!(lease(bench.store(), "a", 9).is_empty(), "not due yet");
        even.advance(MINUTE);
        assert_eq!(lease(bench.store(), "a", 9).len(), 1);
    }
}
