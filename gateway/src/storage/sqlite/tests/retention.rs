//! What has expired goes while ingest goes on, and commits wait for a step of it at most.

use std::sync::atomic::AtomicBool;

use super::super::sweep::{KEYS_PER_STEP, KEYS_PER_SWEEP};
use super::*;
use crate::storage::conformance::state::{claim, put_key};

/// Expired entries of state, and ended keys.
const EXPIRED: usize = 50_000;

/// How long a commit may wait while they go, on a machine that others use too: many steps.
const WAIT_MAX: Duration = Duration::from_millis(300);

/// The longest wait of the best try counts: a sync may take long because of what else the machine
/// does; that a step does, is so each time.
const TRIES: usize = 3;

/// A store whose state and keys have expired, but for one of each.
fn filled() -> Fixture {
    let mut bench = Fixture::new();
    claim(bench.store(), "vkyc");
    put(bench.store(), commit(START).changing([put_key("kept", "v")]));
    put(bench.store(), commit(START).event(Some(key("kept", 86_400)), &[]));
    // In an order that is neither that of keys nor that of expiry.
    let count = |sql: &str| {
        format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {EXPIRED}) {sql}"
        )
    };
    let state = count(
        "INSERT INTO state SELECT 1, CAST(printf('%08x', (n * 2654435761) % 4294967296) AS BLOB), \
         randomblob(100), 1 + (n * 40503) % 65536, n FROM n",
    );
    assert_eq!(bench.tamper(&state), EXPIRED);
    let keys = count(
        "INSERT INTO keys (slot, digest, arrived, until, request) \
         SELECT (n * 2654435761) % 4294967296 * 4 + 17, randomblob(16), 1, 2, 1 FROM n",
    );
    assert_eq!(bench.tamper(&keys), EXPIRED);
    claim(bench.store(), "vkyc");
    bench
}

/// Rows of state and keys that have expired.
fn left(bench: &Fixture) -> (i64, i64) {
    let count = |writer: &mut Writer<'_>| {
        let count = "SELECT (SELECT count(*) FROM state WHERE expires_at IS NOT NULL), \
            (SELECT count(*) FROM keys WHERE until < 1000)";
        Ok(writer.connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap())
    };
    block_on(bench.sqlite().ask_writer(count)).unwrap()
}

/// The waits of commits while `work` is done, sorted.
fn waits_during(bench: &Fixture, work: impl FnOnce()) -> Vec<Duration> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let committing = scope.spawn(|| {
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                put(bench.store(), commit(START).event(Some(key("new", 60)), &["a"]));
                waits.push(began.elapsed());
            }
            waits.sort_unstable();
            waits
        });
        work();
        over.store(true, Ordering::Relaxed);
        committing.join().unwrap()
    })
}

/// Sweeps until all that has expired is gone, while commits go on; their waits.
fn waits_of_a_sweep() -> Vec<Duration> {
    let bench = filled();
    assert_eq!(left(&bench), (EXPIRED as i64, EXPIRED as i64));
    let (mut sweeps, began) = (0, Instant::now());
    let waits = waits_during(&bench, || {
        // The gateway has one made every minute.
        while left(&bench) != (0, 0) {
            block_on(bench.sqlite().sweep(Duration::from_secs(86_400))).unwrap();
            sweeps += 1;
            assert!(sweeps < 10, "{:?} are left", left(&bench));
        }
    });
    let (took, longest, p99) =
        (began.elapsed(), waits[waits.len() - 1], waits[waits.len() * 99 / 100]);
    print_figures(&format!(
        "{EXPIRED} entries and as many keys gone in {sweeps} sweeps, {took:?}; {} commits \
         meanwhile, p99 {p99:?}, the longest {longest:?}",
        waits.len()
    ));
    let known = commit(START).event(Some(key("kept", 86_400)), &[]);
    assert!(matches!(put(bench.store(), known), Committed::Duplicate { .. }), "what lives stays");
    assert!(waits.len() > 50, "{} commits", waits.len());
    waits
}

/// The longest wait while all of it goes in one step.
fn longest_wait_of_one_step() -> Duration {
    let bench = filled();
    let waits = waits_during(&bench, || {
        let all = |writer: &mut Writer<'_>| {
            writer.transaction(|writer| {
                writer.delete_expired(START, usize::MAX >> 1)?;
                writer.connection.execute("DELETE FROM keys WHERE until < 1000", [])
            })
        };
        block_on(bench.sqlite().ask_writer(all)).unwrap();
    });
    let longest = waits[waits.len() - 1];
    print_figures(&format!("in one step the longest waits {longest:?}"));
    longest
}

fn best(longest: impl Fn() -> Duration) -> Duration {
    (0..TRIES).map(|_| longest()).min().unwrap()
}

/// With its control: all of it in one step holds commits up for longer, on any machine.
#[test]
fn what_has_expired_goes_by_itself_while_commits_go_on() {
    let longest = best(|| *waits_of_a_sweep().last().unwrap());
    assert!(longest < WAIT_MAX, "{longest:?}");
    let at_once = best(longest_wait_of_one_step);
    assert!(at_once > longest * 2, "{at_once:?} in one step, {longest:?} in many");
}

#[expect(clippy::print_stdout, reason = "figures of a test are printed")]
fn print_figures(text: &str) {
    println!("{text}");
}

/// Adds keys to the table: `count` from `first` on, which have ended or never will.
fn add_keys(bench: &mut Fixture, first: usize, count: usize, ended: bool) {
    let until = if ended { 1 } else { i64::MAX };
    let sql = format!(
        "WITH RECURSIVE n (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM n \
         WHERE n + 1 < {first} + {count}) \
         INSERT INTO keys SELECT n * 4, randomblob(16), 0, {until}, 1 FROM n"
    );
    assert_eq!(bench.tamper(&sql), count);
}

/// Keys in the table after one more sweep.
fn keys_after_a_sweep(bench: &Fixture) -> usize {
    block_on(bench.store().sweep(LEASE)).unwrap();
    let count = |writer: &mut Writer<'_>| {
        let count = "SELECT count(*) FROM keys";
        Ok(writer.connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap())
    };
    usize::try_from(block_on(bench.sqlite().ask_writer(count)).unwrap()).unwrap()
}

/// Else a rate of keys at which more end than a sweep looks at would fill the disk.
#[test]
fn a_sweep_deletes_however_many_keys_have_ended() {
    let mut bench = Fixture::new();
    add_keys(&mut bench, 0, 2 * KEYS_PER_SWEEP, true);
    assert_eq!(keys_after_a_sweep(&bench), 0);
}

#[test]
fn a_sweep_looks_at_no_more_keys_than_it_may_where_they_live() {
    // A sweep ends with the step that reaches its bound.
    let living = KEYS_PER_SWEEP + usize::from(KEYS_PER_STEP);
    let mut bench = Fixture::new();
    add_keys(&mut bench, 0, living, false);
    add_keys(&mut bench, living, 100, true);
    assert_eq!(keys_after_a_sweep(&bench), living + 100);
    assert_eq!(keys_after_a_sweep(&bench), living, "the next one goes on there");
}
