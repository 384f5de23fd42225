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
mod component;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sluice_tests::wait::wait_until;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use self::audit::Audit;
use self::traffic::{Book, Step, home};
use self::world::{Report, Telling};
use crate::random::Random;

/// Connections that send at once.
const CLIENTS: usize = 8;

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
    let mut random = Random::new();
    let home = home().unwrap();
    let book = Arc::new(Book::default());
    let mut left: Vec<(usize, Step)> = Vec::new();
    for round in 0..kills {
        let gateway = home.start_with(&[]).await.unwrap();
        let first = round * histories;
        let new = (first..first + histories).flat_map(|history| {
            traffic::steps(history, random.next()).into_iter().map(move |step| (history, step))
        });
        left.extend(new);
        let target =
            book.answered() + 1 + usize::try_from(random.below(left.len() as u64)).unwrap();
        let (steps, mut clients) = book.clients(&gateway, std::mem::take(&mut left), CLIENTS);
        wait_until("answers", ROUND_MAX, || {
            let reached = book.answered() >= target;
            async move { reached.then_some(()) }
        })
        .await
        .unwrap();
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
    let audit = Audit::of(&home, gateway, &book).await;
    println!("{kills} kills, {} histories: {audit}", kills * histories);
    audit.assert_model_agrees();
    audit.assert_lively();
}

/// Statuses and strategies that came about.
type Tally = BTreeMap<&'static str, usize>;
