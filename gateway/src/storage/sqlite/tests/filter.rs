//! The filter of the table's keys: it forgets none, however keys come into the table while it is made,
//! and new keys are told without a search.

use std::collections::HashMap;

use super::super::filter::KeyFilter;
use super::*;
use crate::storage::conformance::route;

/// The window of every key.
const WINDOW: Duration = Duration::from_secs(60);

/// Keys that histories are about: several steps of a scan.
const KEYS: u8 = 60;

impl Fixture {
    /// A commit that sets these keys.
    fn set(&self, keys: impl Iterator<Item = u32>) -> Committed {
        let name = |n: u32| Some(key(&n.to_string(), WINDOW.as_secs()));
        put(self.store(), keys.fold(commit(self.clock.now()), |new, n| new.event(name(n), &[])))
    }

    fn seen(&self, n: u32) -> bool {
        let (route, adapter) = (route("shop"), AdapterName::new("vkyc").unwrap());
        let key = key(&n.to_string(), WINDOW.as_secs());
        self.store().seen(Some(&route), &adapter, &key, self.clock.now()).unwrap()
    }

    fn all_seen(&self, mut keys: impl Iterator<Item = u32>) -> bool {
        keys.all(|n| self.seen(n))
    }

    /// Runs `work` on the writer, between two groups.
    fn writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer<'_>) -> T + Send + 'static,
    ) -> T {
        block_on(self.sqlite().ask_writer(|writer| Ok(work(writer)))).unwrap()
    }

    fn move_all(&self) {
        self.writer(|writer| while writer.move_keys_before(i64::MAX, 1_024).unwrap() {});
    }

    /// Opens it with a scan that does so many steps and then stands still.
    fn reopen_scanning(&mut self, steps: usize) {
        self.close();
        let mut open = opened::opener(&self.path(), self.options.cache_kib);
        let opener: Opener = Box::new(move |shared| {
            shared.scan_steps.store(steps, Ordering::Release);
            open(shared)
        });
        let opened = SqliteStorage::open_with(&self.path(), self.options.clone(), opener);
        self.store = Some(opened.unwrap());
    }

    fn crash_scanning(&mut self, steps: usize) {
        self.crash();
        self.reopen_scanning(steps);
    }

    /// Lets the scan do so many steps more, and waits until it has.
    fn scan_on(&self, steps: usize) {
        self.sqlite().shared.scan_steps.store(steps, Ordering::Release);
        eventually("the steps of the scan", || {
            self.steps_left() == 0 || !self.writer(|writer| writer.key_scan.is_under_way())
        });
    }

    fn steps_left(&self) -> usize {
        self.sqlite().shared.scan_steps.load(Ordering::Acquire)
    }

    fn scan_to_the_end(&self) {
        self.sqlite().shared.scan_steps.store(usize::MAX, Ordering::Release);
        eventually("a whole filter", || {
            // Its thread too is at its end: the next scan begins only then.
            self.sqlite().shared.recent().filters.are_whole()
                && !self.writer(|writer| writer.key_scan.is_under_way())
        });
    }

    /// Begins another scan, which stands still; or leaves the one that does.
    fn begin_scan(&self) {
        self.sqlite().shared.scan_steps.store(0, Ordering::Release);
        eventually("another filter", || {
            self.writer(|writer| writer.make_filter());
            self.sqlite().shared.recent().filters.one_is_made()
        });
    }

    /// What is asked from now on is this filter, whatever the table holds.
    fn replace_filter(&self, filter: KeyFilter) {
        // One that is still being made, as after the start, would be taken for this one.
        self.scan_to_the_end();
        let mut recent = self.sqlite().shared.recent_mut();
        recent.filters.begin(Arc::new(filter));
        recent.filters.end(true);
    }

    /// Searches in the table while `work` is done.
    fn searches(&self, work: impl FnOnce()) -> u64 {
        let searches = || self.sqlite().shared.key_searches.load(Ordering::Relaxed);
        let before = searches();
        work();
        searches() - before
    }
}

#[test]
fn a_key_that_only_the_table_holds_is_found_while_the_filter_is_made_and_after() {
    let mut bench = Fixture::new();
    bench.set(0..100);
    bench.move_all();
    // Two steps of seven: the store serves meanwhile, and asks the table.
    bench.reopen_scanning(2);
    bench.scan_on(0);
    assert!(!bench.sqlite().shared.recent().filters.are_whole());
    let searches = bench.searches(|| {
        assert!(bench.all_seen(0..100) && !bench.seen(1_000));
        assert_eq!(bench.set(2_000..2_050), Committed::Stored { events: 50 });
    });
    assert_eq!(searches, 151, "one for each, known or new");
    // What comes into the table behind the scan, and before it.
    bench.move_all();
    assert!(bench.all_seen(0..100) && bench.all_seen(2_000..2_050));
    bench.scan_to_the_end();
    let searches = bench.searches(|| {
        assert!(bench.all_seen(0..100) && bench.all_seen(2_000..2_050));
        assert!(matches!(bench.set(0..100), Committed::Duplicate { .. }));
    });
    assert_eq!(searches, 250, "one for each: all are in the table alone");
    for restart in [Fixture::reopen, Fixture::crash] {
        restart(&mut bench);
        assert!(bench.all_seen(0..100) && bench.all_seen(2_000..2_050));
        bench.scan_to_the_end();
        assert!(bench.all_seen(0..100) && bench.all_seen(2_000..2_050));
    }
}

/// The saving: with many keys in the table, a new one costs no search.
#[test]
fn new_keys_do_not_read_the_table() {
    let mut bench = Fixture::new();
    for batch in 0..20 {
        bench.set(batch * 1_000..(batch + 1) * 1_000);
    }
    bench.move_all();
    bench.reopen();
    bench.scan_to_the_end();
    let searches = bench.searches(|| {
        assert_eq!(bench.set(100_000..101_000), Committed::Stored { events: 1_000 });
        assert!((101_000..102_000).all(|n| !bench.seen(n)));
    });
    assert!(searches < 5, "{searches} searches for 2,000 new keys");
    assert!(bench.all_seen(0..1_000) && bench.all_seen(100_000..101_000));
}

#[test]
fn the_filter_is_made_anew_when_keys_outgrow_it_and_loses_none() {
    let bench = Fixture::new();
    bench.scan_to_the_end();
    bench.replace_filter(KeyFilter::with_room(50));
    bench.sqlite().shared.scan_steps.store(1, Ordering::Release);
    bench.set(0..100);
    bench.move_all();
    assert_eq!(bench.sqlite().shared.recent().filters.room(), Some(50), "its room is used up");
    bench.set(100..130);
    bench.move_all();
    eventually("the next one", || bench.sqlite().shared.recent().filters.one_is_made());
    assert!(bench.all_seen(0..130), "by the old one, and while the next is made");
    bench.set(130..150);
    bench.move_all();
    bench.scan_to_the_end();
    assert!(bench.sqlite().shared.recent().filters.room() > Some(100_000));
    assert!(bench.all_seen(0..150) && (150..250).all(|n| !bench.seen(n)));
    assert_eq!(bench.searches(|| assert!(!bench.seen(1_000))), 0);
}

#[test]
fn what_retention_deleted_leaves_the_filter_with_the_next_one() {
    let bench = Fixture::new();
    bench.scan_to_the_end();
    bench.set(0..100);
    bench.move_all();
    bench.clock.advance(WINDOW + Duration::from_millis(1));
    block_on(bench.store().sweep(WINDOW * 10)).unwrap();
    let look = || assert!((0..100).all(|n| !bench.seen(n)));
    assert_eq!(bench.searches(look), 100, "searched for in vain");
    bench.begin_scan();
    bench.scan_to_the_end();
    assert_eq!(bench.searches(look), 0);
}

#[test]
fn without_a_filter_the_table_is_asked_and_another_is_made_with_the_next_move() {
    let bench = Fixture::new();
    bench.scan_to_the_end();
    bench.set(0..100);
    bench.move_all();
    // As after a start whose scan could not read.
    bench.sqlite().shared.recent_mut().filters = Default::default();
    bench.writer(|writer| {
        let fail = || Err(StorageError::Failed { detail: "not now".to_owned() });
        writer.key_scan.begin(&writer.shared, Box::new(fail));
    });
    eventually("its end", || !bench.writer(|writer| writer.key_scan.is_under_way()));
    assert!(!bench.sqlite().shared.recent().filters.are_whole());
    assert!(bench.all_seen(0..100) && !bench.seen(100));
    bench.set(100..101);
    bench.move_all();
    bench.scan_to_the_end();
    assert!(bench.all_seen(0..101) && !bench.seen(101));
}

#[test]
fn a_store_closes_while_its_keys_are_read() {
    let mut bench = Fixture::new();
    bench.set(0..100);
    bench.reopen_scanning(1);
    eventually("the scan", || bench.sqlite().shared.recent().filters.one_is_made());
    bench.reopen();
    assert!(bench.all_seen(0..100));
}

#[derive(Clone, Debug)]
enum Op {
    Set { first: u8, count: u8 },
    Move { max: usize },
    Advance { seconds: u64 },
    Sweep,
    BeginScan,
    ScanOn { steps: usize },
    Reopen { steps: usize },
    Crash { steps: usize },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..KEYS, 1_u8..40).prop_map(|(first, count)| Op::Set { first, count }),
        4 => (1_usize..40).prop_map(|max| Op::Move { max }),
        2 => (0_u64..40).prop_map(|seconds| Op::Advance { seconds }),
        1 => Just(Op::Sweep),
        2 => Just(Op::BeginScan),
        4 => (0_usize..5).prop_map(|steps| Op::ScanOn { steps }),
        1 => (0_usize..5).prop_map(|steps| Op::Reopen { steps }),
        1 => (0_usize..5).prop_map(|steps| Op::Crash { steps }),
    ];
    prop::collection::vec(op, 1..40)
}

/// A store, and when each key was set last.
struct History {
    bench: Fixture,
    set: HashMap<u32, UnixMillis>,
}

impl History {
    fn new() -> Self {
        Self { bench: Fixture::new(), set: HashMap::new() }
    }

    fn is_known(&self, n: u32) -> bool {
        let now = self.bench.clock.now();
        self.set.get(&n).is_some_and(|set| now <= set.after(WINDOW))
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Set { first, count } => {
                let keys = u32::from(first)..u32::from(first.saturating_add(count).min(KEYS));
                self.bench.set(keys.clone());
                let new: Vec<_> = keys.filter(|n| !self.is_known(*n)).collect();
                let now = self.bench.clock.now();
                self.set.extend(new.into_iter().map(|n| (n, now)));
            }
            Op::Move { max } => self.bench.writer(move |writer| {
                writer.move_keys_before(i64::MAX, max).unwrap();
            }),
            Op::Advance { seconds } => self.bench.clock.advance(Duration::from_secs(seconds)),
            Op::Sweep => drop(block_on(self.bench.store().sweep(WINDOW)).unwrap()),
            Op::BeginScan => self.bench.begin_scan(),
            Op::ScanOn { steps } => self.bench.scan_on(steps),
            Op::Reopen { steps } => self.bench.reopen_scanning(steps),
            Op::Crash { steps } => self.bench.crash_scanning(steps),
        }
    }

    /// Keys of which the store says otherwise than the model.
    fn wrong(&self) -> Vec<u32> {
        (0..u32::from(KEYS)).filter(|n| self.bench.seen(*n) != self.is_known(*n)).collect()
    }
}

proptest! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]
    #[test]
    fn whatever_happens_to_keys_and_filters_exactly_the_known_ones_are_found(ops in ops()) {
        let mut history = History::new();
        for (n, op) in ops.iter().enumerate() {
            history.run(op);
            let wrong = history.wrong();
            prop_assert!(wrong.is_empty(), "{wrong:?} after {n}, {op:?}");
        }
    }
}

/// The control: filters that forget are noticed.
#[test]
fn a_filter_that_forgets_is_noticed() {
    let mut history = History::new();
    history.run(&Op::Set { first: 0, count: 30 });
    history.bench.move_all();
    assert!(history.wrong().is_empty());
    history.bench.replace_filter(KeyFilter::for_keys(0));
    assert_eq!(history.wrong(), (0..30).collect::<Vec<_>>(), "an empty one");
    history.bench.begin_scan();
    history.bench.scan_to_the_end();
    assert!(history.wrong().is_empty());
    // One that was begun after its scan: what came into the table between is not in it.
    history.run(&Op::Set { first: 30, count: 10 });
    let late = KeyFilter::for_keys(0);
    let slots = history.bench.writer(|writer| {
        let mut slots = writer.connection.prepare("SELECT slot FROM keys").unwrap();
        let slots = slots.query_map([], |row| row.get(0)).unwrap();
        slots.collect::<rusqlite::Result<Vec<i64>>>().unwrap()
    });
    slots.into_iter().for_each(|slot| late.enter(slot));
    history.bench.move_all();
    history.bench.replace_filter(late);
    assert_eq!(history.wrong(), (30..40).collect::<Vec<_>>());
}
