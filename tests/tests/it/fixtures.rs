//! Every fixture of every bundled adapter, in the real sandbox and against a running gateway. (They
//! run natively beside each adapter.)
//!
//! All cases of an adapter live in one configuration, each on a route of its own: a gateway serves
//! them all, and the adapter is configured once with the settings of every case.

pub(crate) mod home;
mod live;
pub(crate) mod sandboxed;

use plugin_sdk::testing::fixture::{self, Case, Runner};

use self::home::Cases;
use self::live::Live;
use self::sandboxed::Sandboxed;

/// The adapters with fixtures.
const PLUGINS: [&str; 5] = ["ottu", "payout-matcher", "paytia-cdr", "vkyc", "zotlo"];

/// Issue of every adapter: the fewest cases it may have.
const CASES_MIN: usize = 12;

/// Runs of each case that must come to one and the same outcome.
const RUNS: usize = 1_000;

fn check_all(cases: &[Case], runner: &mut impl Runner) {
    let report: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let wrong = fixture::check(case, runner).err()?;
            Some(format!("{}:\n{wrong}", case.name))
        })
        .collect();
    assert!(report.is_empty(), "\n{}", report.join("\n"));
}

#[test]
fn every_fixture_does_the_same_in_the_sandbox() {
    for plugin in PLUGINS {
        let cases = Cases::of(plugin);
        assert!(cases.all.len() >= CASES_MIN, "{plugin} has {} fixtures", cases.all.len());
        let mut runner = Sandboxed::start(&cases);
        check_all(&cases.all, &mut runner);
        println!("{plugin}: {} fixtures in the sandbox", cases.all.len());
    }
}

#[test]
fn a_thousand_runs_of_each_fixture_come_to_one_outcome() {
    for plugin in PLUGINS {
        let cases = Cases::of(plugin);
        let runner = Sandboxed::start(&cases);
        for case in &cases.all {
            let (memory, _) = runner.before(case).unwrap();
            let first = runner.outcome_hash(&memory, case);
            for run in 1..RUNS {
                let again = runner.outcome_hash(&memory, case);
                assert_eq!(again, first, "{plugin}/{}, run {run}", case.name);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_does_the_same_against_a_running_gateway() {
    for plugin in PLUGINS {
        let cases = Cases::of(plugin);
        for case in cases.all.iter().filter(|case| !Live::can_run(case)) {
            println!("{plugin}/{}: keys or events out of nowhere, in the sandbox only", case.name);
        }
        let mut live = Live::new(&cases);
        let mut count = 0;
        for store in 0..cases.stores() {
            let of_store = cases.of_store(store).filter(|case| Live::can_run(case));
            let of_store: Vec<Case> = of_store.cloned().collect();
            if of_store.is_empty() {
                continue;
            }
            live.start().await.unwrap();
            tokio::task::block_in_place(|| check_all(&of_store, &mut live));
            live.stop().await.unwrap();
            count += of_store.len();
        }
        println!("{plugin}: {count} fixtures against a running gateway, {} stores", cases.stores());
    }
}
