use reqwest::StatusCode;

use super::*;
use crate::config::{DestinationKind, HttpFormat};
use crate::delivery::retry::RETRY_AFTER_MAX;
use crate::delivery::testing::{
    Act, MemoryStorage, RECEIVED_AT, Row, RuntimeClock, Scripted, config, event, name,
};
use crate::model::{AttemptOutcome, Clock, DeliveryState};

const DAY: Duration = Duration::from_secs(86_400);

fn http_config() -> DestinationConfig {
    let kind = DestinationKind::Http {
        url: "https://ledger.example/".parse().unwrap(),
        format: HttpFormat::Structured,
        signing_secret: None,
        headers: Vec::new(),
        allow_private: false,
    };
    config("ledger", kind)
}

fn refused(status: u16, retry_after: Option<Duration>) -> Act {
    Act::Fail(
        AttemptError::from_status(StatusCode::from_u16(status).unwrap(), retry_after).unwrap_err(),
    )
}

/// A worker at work on a store, in paused time.
struct Bench {
    storage: Arc<MemoryStorage>,
    carrier: Arc<Scripted>,
    stop: CancellationToken,
    worker: JoinSet<()>,
}

impl Bench {
    fn start(script: impl IntoIterator<Item = Act>) -> Self {
        Self::start_with(script, &http_config())
    }

    fn start_with(script: impl IntoIterator<Item = Act>, config: &DestinationConfig) -> Self {
        Self::start_as(script, config, |worker| worker)
    }

    /// As for a destination that may answer 410.
    fn start_telling(script: impl IntoIterator<Item = Act>) -> Self {
        Self::start_as(script, &http_config(), |worker| worker.telling_gone(Arc::default()))
    }

    fn start_as(
        script: impl IntoIterator<Item = Act>,
        config: &DestinationConfig,
        make: impl FnOnce(Worker) -> Worker,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock::start());
        let storage = MemoryStorage::new(Arc::clone(&clock));
        let carrier = Scripted::new(script);
        let stop = CancellationToken::new();
        let queue = Queue::new(Arc::clone(&storage) as _, clock, name("ledger"));
        let worker = make(Worker::new(queue, Arc::clone(&carrier) as _, config));
        let mut set = JoinSet::new();
        set.spawn(worker.run(stop.clone()));
        Self { storage, carrier, stop, worker: set }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.worker.join_next().await.unwrap().unwrap();
    }
}

fn is_settled(row: &Row) -> bool {
    row.state != DeliveryState::Pending
}

/// Seconds after receipt at which each attempt was made.
fn attempt_times(row: &Row) -> Vec<u64> {
    row.attempts.iter().map(|attempt| attempt.at.since(RECEIVED_AT).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_delivered_once() {
    let bench = Bench::start([]);
    let ids: Vec<_> = (0..20).map(|number| bench.storage.owe("ledger", number)).collect();
    let other = bench.storage.owe("elsewhere", 99);
    bench.storage.until_all(|row| row.destination == name("elsewhere") || is_settled(row)).await;
    for id in ids {
        let row = bench.storage.row(id);
        assert_eq!((row.state, row.attempts.len()), (DeliveryState::Delivered, 1));
    }
    assert!(bench.storage.row(other).attempts.is_empty());
    assert_eq!(bench.carrier.brought.lock().unwrap().len(), 20);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_nudges_it_is_only_late() {
    let bench = Bench::start([]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let id = bench.storage.owe_silently("ledger", event(1), true);
    bench.storage.until_all(is_settled).await;
    assert!(attempt_times(&bench.storage.row(id))[0] <= 12);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_on_the_schedule_and_then_given_up() {
    let mut config = http_config();
    config.retry.delays = [5, 300, 1_800, 7_200, 18_000, 36_000].map(Duration::from_secs).into();
    let bench = Bench::start_with((0..7).map(|_| refused(500, None)), &config);
    let id = bench.storage.owe("ledger", 1);
    bench.storage.until_all(is_settled).await;
    let row = bench.storage.row(id);
    assert_eq!(row.reason(), Some(DeadLetterReason::RetriesExhausted));
    assert_eq!(attempt_times(&row), [0, 5, 305, 2_105, 9_305, 27_305, 63_305]);
    let looks = bench.storage.leases.load(Ordering::SeqCst);
    // Once each poll of 10 s, and for the attempts: no busy loop in 17 hours.
    assert!(looks < 63_305 / 10 + 100, "{looks}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_destination_may_ask_for_a_longer_delay_up_to_a_day() {
    let bench = Bench::start([
        refused(429, Some(Duration::from_secs(60))),
        refused(503, Some(Duration::from_secs(1))),
        refused(503, Some(400 * DAY)),
    ]);
    let id = bench.storage.owe("ledger", 1);
    bench.storage.until_all(is_settled).await;
    let row = bench.storage.row(id);
    assert_eq!(row.state, DeliveryState::Delivered);
    assert_eq!(attempt_times(&row), [0, 60, 70, 70 + RETRY_AFTER_MAX.as_secs()]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn gone_stops_the_destination_and_leaves_the_rest_pending() {
    let mut config = http_config();
    config.concurrency = 1;
    let bench = Bench::start_with([refused(410, None)], &config);
    let first = bench.storage.owe("ledger", 1);
    let second = bench.storage.owe("ledger", 2);
    bench.storage.until_all(|row| row.event.id != event(1).id || is_settled(row)).await;
    tokio::time::sleep(DAY).await;
    assert_eq!(bench.storage.row(first).reason(), Some(DeadLetterReason::Gone));
    assert!(bench.storage.row(second).attempts.is_empty());
    assert_eq!(*bench.carrier.brought.lock().unwrap(), [event(1).id]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn of_all_that_hear_410_at_once_one_is_given_up() {
    let bench = Bench::start((0..4).map(|_| refused(410, None)));
    for number in 0..20 {
        bench.storage.owe("ledger", number);
    }
    tokio::time::sleep(DAY).await;
    let rows = bench.storage.rows();
    assert_eq!(bench.carrier.brought.lock().unwrap().len(), 4, "as many as were under way");
    let given_up: Vec<_> = rows.iter().filter(|row| is_settled(row)).collect();
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0].reason(), Some(DeadLetterReason::Gone));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whether_a_destination_is_gone_is_asked_with_one_delivery() {
    let bench = Bench::start_telling([refused(410, None)]);
    for number in 0..20 {
        bench.storage.owe("ledger", number);
    }
    tokio::time::sleep(DAY).await;
    assert_eq!(bench.carrier.brought.lock().unwrap().len(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_attempt_that_takes_long_is_alone_for_a_second() {
    let bench = Bench::start_telling([Act::Slow(Duration::from_secs(60))]);
    for number in 0..20 {
        bench.storage.owe("ledger", number);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.storage.rows().iter().filter(|row| is_settled(row)).count(), 19);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_event_is_never_sent() {
    let bench = Bench::start([]);
    let id = bench.storage.owe_silently("ledger", event(1), false);
    bench.storage.owe("ledger", 2);
    bench.storage.until_all(is_settled).await;
    assert_eq!(bench.storage.row(id).reason(), Some(DeadLetterReason::Corrupt));
    assert_eq!(*bench.carrier.brought.lock().unwrap(), [event(2).id]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_attempt_is_a_recorded_failure_and_frees_its_place() {
    let mut config = http_config();
    config.concurrency = 1;
    let bench = Bench::start_with((0..4).map(|_| Act::Panic), &config);
    let poison = bench.storage.owe("ledger", 1);
    bench.storage.until_all(is_settled).await;
    let row = bench.storage.row(poison);
    assert_eq!(row.reason(), Some(DeadLetterReason::RetriesExhausted));
    for attempt in &row.attempts {
        let AttemptOutcome::Failed { kind, .. } = &attempt.outcome else { panic!("a failure") };
        assert_eq!(kind, "panicked");
    }
    let next = bench.storage.owe("ledger", 2);
    bench.storage.until_all(is_settled).await;
    assert_eq!(bench.storage.row(next).state, DeliveryState::Delivered);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poison_event_does_not_hold_up_the_others() {
    let mut config = http_config();
    config.concurrency = 1;
    let bench = Bench::start_with([refused(500, None)], &config);
    let poison = bench.storage.owe("ledger", 1);
    let others: Vec<_> = (2..10).map(|number| bench.storage.owe("ledger", number)).collect();
    bench.storage.until_all(is_settled).await;
    for id in others {
        assert_eq!(attempt_times(&bench.storage.row(id)), [0]);
    }
    assert_eq!(attempt_times(&bench.storage.row(poison)), [0, 10]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_are_under_way_than_allowed() {
    let slow = (0..40).map(|_| Act::Slow(Duration::from_secs(2)));
    let bench = Bench::start(slow);
    for number in 0..40 {
        bench.storage.owe("ledger", number);
    }
    bench.storage.until_all(is_settled).await;
    assert_eq!(bench.carrier.peak.load(Ordering::SeqCst), 4);
    assert!(bench.storage.rows().iter().all(|row| row.attempts.len() == 1));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_what_was_started_is_finished_and_recorded_and_nothing_else_starts() {
    let bench = Bench::start((0..4).map(|_| Act::Slow(Duration::from_secs(2))));
    for number in 0..10 {
        bench.storage.owe("ledger", number);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let storage = Arc::clone(&bench.storage);
    bench.stop().await;
    let delivered = storage.rows().iter().filter(|row| is_settled(row)).count();
    let untouched = storage.rows().iter().filter(|row| row.fence == 0).count();
    assert_eq!((delivered, untouched), (4, 6));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_storage_refused_is_made_later_without_a_second_attempt() {
    let bench = Bench::start([]);
    bench.storage.refuse_records.store(3, Ordering::SeqCst);
    let id = bench.storage.owe("ledger", 1);
    bench.storage.until_all(is_settled).await;
    assert_eq!(bench.storage.row(id).attempts.len(), 1);
    assert_eq!(bench.carrier.brought.lock().unwrap().len(), 1);
    bench.stop().await;
}
