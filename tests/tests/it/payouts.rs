//! The payout matcher on the whole gateway: real store, real sandbox, real kills, against the simple
//! model that its native tests use as well.
//!
//! What was committed is told to the model again, in the order of the commits; then every verdict,
//! every value and every balance must be the same. So whatever ran at once, was run again or was cut
//! off came to what one serial order comes to.

#[path = "../../../plugins/payout-matcher/tests/model/history.rs"]
mod history;
#[path = "../../../plugins/payout-matcher/tests/model/world.rs"]
mod world;

mod audit;
mod calls;
mod component;
mod traffic;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::time::Duration;

use sluice::faults::CrashPoint;
use sluice_tests::wait::wait_until;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use self::audit::Audit;
use self::traffic::{Book, Step, home};
use self::world::{Report, Telling};
use crate::random::Random;

/// Connections that send at once.
const CLIENTS: usize = 8;

/// The signal by which a process ends itself.
const SIGABRT: i32 = 6;

/// How long one round may take to get its answers.
const ROUND_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_reports_at_once_over_eight_calls_equal_some_serial_order() {
    let mut random = Random::new();
    let home = home().unwrap();
    let book = Arc::new(Book::default());
    let gateway = home.start_with(&[]).await.unwrap();
    for number in 0..8 {
        let telling = Telling {
            call: format!("call-{number}"),
            ref_id: Some(format!("ref-{number}")),
            campaign: Some("hvac".to_owned()),
            publisher: Some(["ann", "bob"][number % 2].to_owned()),
            ..Telling::default()
        };
        assert!(book.send(gateway.ingest(), 0, &Step::Tell(telling)).await, "call {number}");
    }
    let start = Arc::new(Barrier::new(64));
    let mut clients = JoinSet::new();
    for number in 0..64_u64 {
        let report = Report {
            ref_id: Some(format!("ref-{}", number % 8)),
            cents: Some([0, 1, 3333, 5000, 7555][usize::try_from(random.below(5)).unwrap()]),
            ..Report::default()
        };
        let (book, start, address) = (Arc::clone(&book), Arc::clone(&start), gateway.ingest());
        let step = Step::Report(report, random.next());
        clients.spawn(async move {
            start.wait().await;
            // A buyer tries again until it is answered.
            for _ in 0..100 {
                if book.send(address, 0, &step).await {
                    return;
                }
            }
            panic!("a report was never taken");
        });
    }
    clients.join_all().await;
    let audit = Audit::of(&home, gateway, &book).await;
    audit.assert_model_agrees();
    println!("{audit}");
    assert_eq!(audit.reports, 64, "each report was taken once");
}

/// 50 kills in the middle of everything; as many histories as the issue has in the long form.
#[tokio::test(flavor = "multi_thread")]
async fn histories_with_kills_come_to_what_the_model_says() {
    let (kills, histories) = if sluice_tests::long() { (220, 23) } else { (50, 8) };
    let (audit, _) = histories_with(kills, histories, |_, random| End::Kill(random.next())).await;
    println!("{kills} kills, {} histories: {audit}", kills * histories);
    audit.assert_model_agrees();
    audit.assert_lively();
}

/// The same with an end of the process at each step of the writer's transaction in turn.
#[tokio::test(flavor = "multi_thread")]
async fn histories_with_crashes_inside_a_commit_come_to_what_the_model_says() {
    let (crashes, histories) = if sluice_tests::long() { (224, 23) } else { (28, 8) };
    let point = |round: usize, random: &mut Random| {
        let (name, _) = CrashPoint::ALL[round % CrashPoint::ALL.len()];
        End::Crash { name, count: 1 + random.below(80), in_parts: false }
    };
    let (audit, by_point) = histories_with(crashes, histories, point).await;
    println!("crashes {by_point:?}, {} histories: {audit}", crashes * histories);
    for (name, _) in CrashPoint::ALL {
        assert!(by_point.contains_key(name), "no crash at `{name}`: {by_point:?}");
    }
    audit.assert_model_agrees();
    audit.assert_lively();
}

/// Runs of four crashes that the control may need: not every request that lost its state is one that
/// the model misses, since some changed nothing.
const CONTROL_TRIES: usize = 6;

/// The control: where a call's request is committed before its state, a crash between them shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_commits_in_parts_fails_this_test() {
    let point = |_: usize, random: &mut Random| End::Crash {
        name: "in-state",
        count: 1 + random.below(40),
        in_parts: true,
    };
    for _ in 0..CONTROL_TRIES {
        let (audit, _) = histories_with(4, 8, point).await;
        println!("committed in parts: {audit}");
        if audit.disagreements() > 0 {
            return;
        }
    }
    panic!("a request without its state must show");
}

/// How a round ends.
enum End {
    /// By `kill -9`, after some answers, of which this number decides.
    Kill(u64),
    /// By itself, at a step of a commit; at the end of the round where that was never reached.
    Crash { name: &'static str, count: u64, in_parts: bool },
}

/// Runs so many histories in each round, the rest of one in the next. Returns what the store came to,
/// and how often the process ended by itself at each step.
async fn histories_with(
    rounds: usize,
    histories: usize,
    end: impl Fn(usize, &mut Random) -> End,
) -> (Audit, BTreeMap<&'static str, usize>) {
    let mut random = Random::new();
    let home = home().unwrap();
    let book = Arc::new(Book::default());
    let mut left: Vec<(usize, Step)> = Vec::new();
    let mut crashes = BTreeMap::new();
    for round in 0..rounds {
        let first = round * histories;
        let new = (first..first + histories).flat_map(|history| {
            traffic::steps(history, random.next()).into_iter().map(move |step| (history, step))
        });
        left.extend(new);
        let end = end(round, &mut random);
        let environment = end.environment();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut gateway = home.start_with(&environment).await.unwrap();
        let some = match &end {
            End::Kill(roll) => 1 + usize::try_from(roll % left.len() as u64).unwrap(),
            End::Crash { .. } => usize::MAX,
        };
        let target = book.answered().saturating_add(some);
        let (steps, mut clients) = book.clients(&gateway, std::mem::take(&mut left), CLIENTS);
        wait_until("answers, or the end of the gateway", ROUND_MAX, || {
            let over =
                book.answered() >= target || steps.is_empty() || gateway.ended().unwrap().is_some();
            async move { over.then_some(()) }
        })
        .await
        .unwrap();
        if let End::Crash { name, .. } = &end {
            // What is under way where no step is left is answered, or cut off as by a kill.
            while let Some(ended) = clients.join_next().await {
                ended.unwrap();
            }
            if let Some(status) = gateway.ended().unwrap() {
                assert_eq!(status.signal(), Some(SIGABRT), "at `{name}`: {status}");
                *crashes.entry(*name).or_default() += 1;
            }
        }
        gateway.kill9();
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        left = steps.take();
    }
    let gateway = home.start_with(&[]).await.unwrap();
    let (steps, mut clients) = book.clients(&gateway, left, CLIENTS);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(steps.take().is_empty(), "everything was answered in the end");
    (Audit::of(&home, gateway, &book).await, crashes)
}

impl End {
    fn environment(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Kill(_) => Vec::new(),
            Self::Crash { name, count, in_parts } => {
                let mut all = vec![("SLUICE_CRASH", format!("{name}:{count}"))];
                if *in_parts {
                    all.push(("SLUICE_FAULT", "commit-in-parts".to_owned()));
                }
                all
            }
        }
    }
}

/// Statuses and strategies that came about.
type Tally = BTreeMap<&'static str, usize>;
