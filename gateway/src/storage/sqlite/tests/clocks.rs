//! What waits while the wall clock is put right, and what a restart after it does to it.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A store of processes that have an even clock each, which begins at the wall's time.
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

    fn pass(&self, time: Duration) {
        self.bench.clock.advance(time);
        self.even.advance(time);
    }

    /// Ends the process by `end`, and begins the next one.
    fn restart(&mut self, end: fn(&mut Fixture)) {
        self.even = Arc::new(ManualClock::at(self.bench.clock.now()));
        self.bench.options.even_clock = Arc::<ManualClock>::clone(&self.even);
        end(&mut self.bench);
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

/// Stores an event whose first attempt fails, and which is due again in an hour; its request.
fn owe_again(bench: &Fixture) -> RequestId {
    let id = owe(bench);
    let leased = lease(bench.store(), "a", 9).remove(0);
    let failed = attempt(&leased, "a", bench.clock.now()).failed(Some(HOUR));
    assert_eq!(record(bench.store(), vec![failed]), 1);
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

/// What is owed after the clock was put right to `right`, and the process ended by `end`, is due when
/// it would be without; and so after one more restart.
fn is_due_as_before(right: UnixMillis, end: fn(&mut Fixture)) {
    let mut clocks = Clocks::new();
    let retried = owe_again(&clocks.bench);
    let new = owe(&clocks.bench);
    clocks.bench.clock.set(right);
    clocks.restart(end);
    let bench = &clocks.bench;
    let leased = lease(bench.store(), "a", 9);
    let leased: Vec<_> = leased.iter().map(|leased| leased.event.request).collect();
    assert_eq!(leased, [new], "what is new is due at once, and the retry is not");
    let told = block_on(bench.store().request(retried)).unwrap().unwrap();
    assert_eq!(told.events[0].deliveries[0].due_at, Some(right.after(HOUR)), "by the wall");
    // The next stop takes half of the time.
    clocks.pass(MINUTE);
    clocks.bench.close();
    clocks.bench.clock.advance(HOUR / 2);
    clocks.restart(Fixture::reopen);
    let bench = &clocks.bench;
    assert_eq!(lease(bench.store(), "a", 9).len(), 1, "the lease went with its process");
    clocks.pass(HOUR / 2 - MINUTE - Duration::from_millis(1));
    let ended = lease(bench.store(), "a", 9);
    assert!(ended.iter().all(|leased| leased.attempts_before == 0), "the retry is not due yet");
    clocks.pass(Duration::from_millis(1));
    let due = lease(bench.store(), "a", 9);
    assert_eq!(due.iter().map(|leased| leased.event.request).collect::<Vec<_>>(), [retried]);
}

#[test]
fn after_a_clock_was_put_back_a_restart_holds_nothing_up() {
    let back = |by: Duration| UnixMillis(START.0 - u64::try_from(by.as_millis()).unwrap());
    for right in [back(MINUTE), back(HOUR), back(YEAR)] {
        is_due_as_before(right, Fixture::reopen);
        is_due_as_before(right, Fixture::crash);
    }
}

#[test]
fn after_a_clock_was_put_forward_a_restart_hurries_no_retry() {
    is_due_as_before(START.after(YEAR), Fixture::reopen);
    // A crash finds what was noted with the first commit after a minute.
    let mut clocks = Clocks::new();
    owe_again(&clocks.bench);
    clocks.bench.clock.set(START.after(YEAR));
    clocks.pass(MINUTE);
    put(clocks.bench.store(), commit(clocks.bench.clock.now()));
    clocks.restart(Fixture::crash);
    assert!(lease(clocks.bench.store(), "a", 9).is_empty());
    assert_eq!(next_due(&clocks.bench), Some(START.after(YEAR + HOUR)));
}

#[test]
fn a_clock_that_was_put_back_before_anything_was_noted_moves_a_retry_by_a_minute_at_most() {
    let mut clocks = Clocks::new();
    owe(&clocks.bench);
    clocks.pass(MINUTE - Duration::from_millis(1));
    owe_again(&clocks.bench);
    clocks.bench.clock.set(UnixMillis(1));
    clocks.restart(Fixture::crash);
    let due = next_due(&clocks.bench).unwrap();
    assert!(due <= UnixMillis(1).after(MINUTE), "{due}");
    clocks.pass(MINUTE);
    assert_eq!(lease(clocks.bench.store(), "a", 9).len(), 1);
    clocks.pass(HOUR);
    assert_eq!(lease(clocks.bench.store(), "a", 9).len(), 2);
}

#[test]
fn the_clocks_of_a_quiet_store_are_noted_by_its_sweeps() {
    let mut clocks = Clocks::new();
    owe_again(&clocks.bench);
    clocks.pass(HOUR / 2);
    let right = UnixMillis(START.0 - 86_400_000);
    clocks.bench.clock.set(right);
    block_on(clocks.bench.store().sweep(YEAR)).unwrap();
    clocks.restart(Fixture::crash);
    assert_eq!(next_due(&clocks.bench), Some(right.after(HOUR / 2)));
}
