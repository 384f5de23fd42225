//! Whatever arrives, an adapter ends in an outcome or a rejection, in time: every bundled adapter
//! in the real sandbox, on random requests and on mutations of its fixtures that are signed again.

mod coverage;
mod generate;
mod mutate;
mod sign;

use std::sync::Mutex;
use std::time::Instant;

use plugin_sdk::testing::fixture::Case;
use sluice::adapter::{CallEnd, End};
use sluice_tests::artifacts::workspace;

use self::coverage::Coverage;
use super::fixtures::home::Cases;
use super::fixtures::sandboxed::{Memory, Sandboxed};
use super::random::Random;

/// Requests each adapter is given, and how many of them must be mutations that became events.
const CASES: usize = 100_000;
const MADE_EVENTS: usize = CASES / 2;

/// The same with `--long`.
const CASES_LONG: usize = 1_000_000;

/// Requests after which an adapter that refuses most mutations has had its chance.
const CASES_MAX_FACTOR: usize = 4;

/// Of so many requests one is not derived from a fixture.
const ARBITRARY: u64 = 4;

/// Runs of a request that ended at the deadline: on a busy machine the clock may be at fault, but
/// not so often.
const DEADLINE_RUNS: usize = 5;

/// Failures shown before it gives up.
const FAILURES_MAX: usize = 3;

#[test]
fn any_request_ends_in_an_outcome_or_a_rejection_within_the_deadline() {
    let seed = Random::new().next();
    let adapters = Mutex::new(bundled());
    let failures = Mutex::new(Vec::new());
    let next = || adapters.lock().unwrap().pop();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(adapter) = next() {
                    let found = try_adapter(&adapter, Random::of(seed));
                    failures.lock().unwrap().extend(found);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every folder of `plugins` that has fixtures, the last one first.
fn bundled() -> Vec<String> {
    let folders = std::fs::read_dir(workspace().join("plugins")).unwrap();
    let mut names: Vec<String> = folders
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("fixtures").is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.reverse();
    names
}

/// What is wrong with an adapter, one text each.
fn try_adapter(adapter: &str, mut random: Random) -> Vec<String> {
    let started = Instant::now();
    let cases = Cases::of(adapter);
    let runner = Sandboxed::start(&cases);
    let fixtures = accepted(&cases, &runner);
    let pool = generate::Pool::of(&cases.all);
    let wanted = if sluice_tests::long() { CASES_LONG } else { CASES };
    let made_wanted = wanted / (CASES / MADE_EVENTS);
    assert!(!fixtures.is_empty(), "{adapter} accepts none of its fixtures");
    let (mut coverage, mut failures) = (Coverage::default(), Vec::new());
    while coverage.cases < wanted || coverage.mutations_made < made_wanted {
        if coverage.cases >= wanted * CASES_MAX_FACTOR {
            failures.push(format!("{adapter}: too few mutations become events\n{coverage}"));
            break;
        }
        let (fixture, memory) = &fixtures[random.index(fixtures.len())];
        let arbitrary = random.below(ARBITRARY) == 0;
        let mut case = Case::clone(fixture);
        if arbitrary {
            generate::replace(&mut case, &pool, &mut random);
        } else {
            mutate::mutate(&mut case, &pool, &mut random);
        }
        sign::sign(adapter, &mut case);
        match end_of(&runner, memory, &case) {
            Ok(ended) => coverage.count(arbitrary, &ended, runner.is_verified(&case, &ended)),
            Err(what) => failures.push(format!("{adapter}: {what}\n{:?}", case.request)),
        }
        if failures.len() >= FAILURES_MAX {
            break;
        }
    }
    println!("{adapter}: {:.1} s\n{coverage}", started.elapsed().as_secs_f64());
    failures
}

/// The fixtures whose requests become events, each with what its adapter remembers before.
fn accepted<'c>(cases: &'c Cases, runner: &Sandboxed<'_>) -> Vec<(&'c Case, Memory)> {
    let requests = cases.all.iter().filter(|case| case.consume.is_none());
    let played = requests.filter_map(|case| Some((case, runner.before(case).ok()?.0)));
    let makes_events = |(case, memory): &(&Case, Memory)| {
        let ended = runner.call(memory, case);
        let verified = runner.is_verified(case, &ended);
        verified && matches!(&ended.end, End::Outcome(outcome) if !outcome.events.is_empty())
    };
    played.filter(makes_events).collect()
}

/// How the call ended, or what is wrong with that.
fn end_of(runner: &Sandboxed<'_>, memory: &Memory, case: &Case) -> Result<CallEnd, String> {
    for _ in 0..DEADLINE_RUNS {
        let ended = runner.call(memory, case);
        match &ended.end {
            End::Outcome(_) | End::Rejection(_) => return Ok(ended),
            End::Trap(why) => return Err(format!("trap: {why}")),
            End::Deadline => {}
        }
    }
    Err("it never ends in time".to_owned())
}
