//! What every engine must do, written against `dyn Storage`. An engine's own tests call [`suite`]
//! with its way of opening a store.

macro_rules! rules {
    ($($name:ident),* $(,)?) => { vec![$((stringify!($name), $name as Test<B>)),*] };
}

mod consuming;
pub(super) mod operated;
pub(super) mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::{Commit, Committed, RequestFilter, Storage, StorageError};
use crate::model::{
    AdapterName, Answer, AttemptOutcome, AttemptRecord, CallReads, DeadLetterReason, DeliveryState,
    DestinationName, Disposition, Event, EventId, IdempotencyKey, KeyScope, LeasedDelivery,
    ManualClock, NewEvent, PluginVersion, RequestHead, RequestId, RequestRecord, RouteName,
    RouteSwitch, UnixMillis, Verified,
};

/// When tests begin.
pub(super) const START: UnixMillis = UnixMillis(1_750_000_000_000);

pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A store under test that can be closed and opened again.
pub(super) trait Bench {
    fn store(&self) -> &dyn Storage;
    fn clock(&self) -> &ManualClock;
    /// Closes the store as a stop does, and opens it again.
    fn reopen(&mut self);
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

pub(super) fn route(name: &str) -> RouteName {
    RouteName::new(name).unwrap()
}

pub(super) fn destination(name: &str) -> DestinationName {
    DestinationName::new(name).unwrap()
}

pub(super) fn key(value: &str, window_seconds: u64) -> IdempotencyKey {
    IdempotencyKey { value: value.to_owned(), scope: KeyScope::Route, window_seconds }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

/// An accepted request of route `shop` that arrived at `at`, without events.
pub(super) fn commit(at: UnixMillis) -> Commit {
    static BODIES: AtomicU64 = AtomicU64::new(0);
    let body = Bytes::from(format!("body {}", BODIES.fetch_add(1, Ordering::Relaxed)));
    Commit {
        request: RequestRecord {
            id: RequestId::new(at),
            route: route("shop"),
            adapter: AdapterName::new("vkyc").unwrap(),
            plugin: PluginVersion {
                plugin: crate::model::PluginName::new("vkyc").unwrap(),
                version: "1.0.0".to_owned(),
                digest: "00".repeat(32),
            },
            generation: 1,
            received_at: at,
            client: [192, 0, 2, 7].into(),
            head: RequestHead {
                method: "POST".to_owned(),
                path: "/hooks/shop".to_owned(),
                query: Some("a=b".to_owned()),
                headers: vec![("x-secret".to_owned(), "***".to_owned())],
            },
            body_sha256: sha256(&body),
            kept_sha256: None,
            body,
            verdicts: Vec::new(),
            verified: Verified::Signature,
            disposition: Disposition::Accepted,
            facts: vec![crate::model::Fact { name: "status".to_owned(), value: "paid".to_owned() }],
            reads: CallReads::default(),
            answer: Answer::json(200, "{\"first\":true}"),
            note: None,
            consumed: None,
        },
        events: Vec::new(),
        duplicate_answer: None,
        state: None,
        lane: None,
    }
}

impl Commit {
    /// With one more event.
    pub(super) fn event(mut self, key: Option<IdempotencyKey>, destinations: &[&str]) -> Self {
        let request = &self.request;
        let event = Event {
            id: EventId::new(request.received_at),
            request: request.id,
            route: request.route.clone(),
            kind: "vkyc.session.completed".to_owned(),
            subject: Some("s-1".to_owned()),
            time: None,
            adapter: "vkyc/1.0.0".to_owned(),
            adapter_name: request.adapter.clone(),
            received_at: request.received_at,
            verified: request.verified,
            idempotency_key: key.as_ref().map(|key| key.value.clone()),
            partition_key: None,
            data_schema: None,
            replay_of: None,
            hops: 0,
            data: "{\"amount\": 1.10}".to_owned(),
        };
        let destinations = destinations.iter().map(|name| destination(name)).collect();
        self.events.push(NewEvent { event, key, destinations });
        self
    }

    pub(super) fn disposition(mut self, disposition: Disposition) -> Self {
        self.request.disposition = disposition;
        self
    }

    pub(super) fn of_route(mut self, name: &str) -> Self {
        self.request.route = route(name);
        self
    }

    pub(super) fn body(mut self, body: &str) -> Self {
        self.request.body = Bytes::copy_from_slice(body.as_bytes());
        self.request.body_sha256 = sha256(&self.request.body);
        self
    }

    pub(super) fn read(mut self, key: IdempotencyKey, seen: bool) -> Self {
        self.request.reads.seen.push((key, seen));
        self
    }
}

pub(super) fn put(store: &dyn Storage, commit: Commit) -> Committed {
    block_on(store.commit(commit)).unwrap()
}

pub(super) fn lease(store: &dyn Storage, name: &str, limit: usize) -> Vec<LeasedDelivery> {
    block_on(store.lease(&destination(name), limit, LEASE)).unwrap()
}

/// The record of an attempt at `leased`; delivered, unless changed.
pub(super) fn attempt(leased: &LeasedDelivery, name: &str, at: UnixMillis) -> AttemptRecord {
    AttemptRecord {
        delivery: leased.delivery,
        fence: leased.fence,
        destination: destination(name),
        number: leased.attempts_before + 1,
        at,
        took: Duration::from_millis(12),
        outcome: AttemptOutcome::Delivered,
        state: DeliveryState::Delivered,
        due_at: None,
        reason: None,
    }
}

impl AttemptRecord {
    /// Failed, and due again at `due`; a dead letter where there is no such time.
    pub(super) fn failed(mut self, due: Option<UnixMillis>) -> Self {
        let kind = "timed_out".to_owned();
        self.outcome =
            AttemptOutcome::Failed { kind, status: Some(504), detail: "late".to_owned() };
        self.due_at = due;
        self.state = if due.is_some() { DeliveryState::Pending } else { DeliveryState::DeadLetter };
        self.reason = due.is_none().then_some(DeadLetterReason::RetriesExhausted);
        self
    }
}

pub(super) fn record(store: &dyn Storage, attempts: Vec<AttemptRecord>) -> usize {
    block_on(store.record(attempts)).unwrap()
}

fn disposition_of(store: &dyn Storage, id: RequestId) -> Disposition {
    block_on(store.request(id)).unwrap().unwrap().record.disposition
}

fn count(store: &dyn Storage) -> usize {
    let filter = RequestFilter { limit: 500, ..RequestFilter::default() };
    block_on(store.requests(filter)).unwrap().len()
}

/// Runs every test of the suite, each on a store of its own.
pub(super) fn suite<B: Bench>(open: impl Fn() -> B) {
    let more = state::rules().into_iter().chain(operated::rules()).chain(consuming::rules());
    for (name, test) in tests::<B>().into_iter().chain(more) {
        // Shown by the harness where the test fails.
        eprintln_name(name);
        test(&mut open());
    }
}

#[expect(clippy::print_stderr, reason = "says which rule of the suite a failure belongs to")]
fn eprintln_name(name: &str) {
    eprintln!("rule: {name}");
}

type Test<B> = fn(&mut B);

fn tests<B: Bench>() -> Vec<(&'static str, Test<B>)> {
    rules![
        a_request_is_read_back_as_it_was_stored,
        a_redacted_request_is_whole_while_it_is_what_was_kept,
        a_request_without_events_is_stored,
        a_window_ends_after_its_last_millisecond,
        a_duplicate_gets_the_first_answer_or_its_own,
        of_a_partly_known_batch_only_the_new_events_are_stored,
        of_two_events_with_one_key_the_first_wins,
        a_key_reaches_as_far_as_its_scope,
        an_event_without_a_key_is_always_new,
        a_read_that_no_longer_holds_is_a_conflict,
        what_is_quarantined_holds_no_key_and_is_superseded,
        seen_says_what_a_commit_would_find,
        deliveries_are_leased_oldest_first_and_once,
        a_lease_that_ends_comes_back_and_its_fence_grows_stale,
        a_late_record_counts_while_nobody_else_has_the_lease,
        a_failed_attempt_is_due_again_when_it_says,
        a_dead_letter_is_not_leased_again,
        keys_and_deliveries_survive_a_restart,
        removed_destinations_are_dead_lettered,
        lists_are_filtered_and_paged,
        lists_go_by_id_whatever_the_order_of_commits,
        retention_keeps_what_is_pending_and_what_keys_need,
        a_nudge_follows_a_commit,
        switches_of_routes_stand_until_they_are_taken_away,
        a_closed_store_says_so,
    ]
}

fn a_request_is_read_back_as_it_was_stored<B: Bench>(bench: &mut B) {
    let new = commit(START).event(Some(key("k", 60)), &["a", "b", "a"]);
    let (request, event) = (new.request.clone(), new.events[0].event.clone());
    assert_eq!(put(bench.store(), new), Committed::Stored { events: 1 });
    for _ in 0..2 {
        let found = block_on(bench.store().request(request.id)).unwrap().unwrap();
        assert_eq!(format!("{:?}", found.record), format!("{request:?}"));
        assert!(found.intact);
        assert_eq!(found.events.len(), 1);
        assert!(found.events[0].intact);
        assert_eq!(found.events[0].event, event);
        let to: Vec<_> = found.events[0]
            .deliveries
            .iter()
            .map(|to| (to.destination.as_str(), to.state))
            .collect();
        assert_eq!(to, [("a", DeliveryState::Pending), ("b", DeliveryState::Pending)]);
        bench.reopen();
    }
    assert!(block_on(bench.store().request(RequestId::new(START))).unwrap().is_none());
}

fn a_redacted_request_is_whole_while_it_is_what_was_kept<B: Bench>(bench: &mut B) {
    let mut new = commit(START);
    new.request.body_sha256 = sha256(b"received");
    new.request.kept_sha256 = Some(sha256(&new.request.body));
    let id = new.request.id;
    put(bench.store(), new.clone());
    let stored = block_on(bench.store().request(id)).unwrap().unwrap();
    assert!(stored.intact && stored.record.is_redacted());
    assert_eq!(stored.record.body_sha256, sha256(b"received"));
    assert_eq!(stored.record.kept_sha256, new.request.kept_sha256);
    // The mark alone makes the difference.
    new.request.id = RequestId::new(START);
    new.request.kept_sha256 = None;
    let id = new.request.id;
    put(bench.store(), new);
    let stored = block_on(bench.store().request(id)).unwrap().unwrap();
    assert!(!stored.intact && !stored.record.is_redacted());
}

fn a_request_without_events_is_stored<B: Bench>(bench: &mut B) {
    for disposition in [Disposition::Accepted, Disposition::Ignored] {
        let new = commit(START).disposition(disposition);
        let id = new.request.id;
        assert_eq!(put(bench.store(), new), Committed::Stored { events: 0 });
        assert_eq!(disposition_of(bench.store(), id), disposition);
    }
}

fn a_window_ends_after_its_last_millisecond<B: Bench>(bench: &mut B) {
    let at = |ms| commit(UnixMillis(START.0 + ms)).event(Some(key("k", 60)), &[]);
    let stored = Committed::Stored { events: 1 };
    let is_duplicate = |committed| matches!(committed, Committed::Duplicate { .. });
    assert_eq!(put(bench.store(), at(0)), stored);
    assert!(is_duplicate(put(bench.store(), at(60_000))), "the edge belongs to the window");
    assert_eq!(put(bench.store(), at(60_001)), stored, "a duplicate does not prolong the window");
    assert!(is_duplicate(put(bench.store(), at(120_001))), "the second request set it anew");
    assert!(is_duplicate(put(bench.store(), at(60_000))), "arrival order need not be commit order");
    assert_eq!(put(bench.store(), at(120_002)), stored);
}

fn a_duplicate_gets_the_first_answer_or_its_own<B: Bench>(bench: &mut B) {
    let new = || commit(START).event(Some(key("k", 60)), &["a"]);
    let first = new();
    let answer = first.request.answer.clone();
    put(bench.store(), first);
    let mut second = new();
    second.request.answer = Answer::empty(299);
    let id = second.request.id;
    let committed = put(bench.store(), second);
    assert_eq!(committed, Committed::Duplicate { answer: answer.clone() });
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    assert_eq!(found.record.disposition, Disposition::Duplicate);
    assert_eq!(found.record.answer, answer, "the record says what was answered");
    assert_eq!(found.events.len(), 0);
    let mut third = new();
    third.duplicate_answer = Some(Answer::empty(208));
    assert_eq!(put(bench.store(), third), Committed::Duplicate { answer: Answer::empty(208) });
    assert_eq!(lease(bench.store(), "a", 9).len(), 1, "one event, however often it came");
}

fn of_a_partly_known_batch_only_the_new_events_are_stored<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(Some(key("1", 60)), &["a"]));
    let batch = commit(START)
        .event(Some(key("1", 60)), &["a"])
        .event(Some(key("2", 60)), &["a"])
        .event(Some(key("3", 60)), &["a"]);
    let wanted: Vec<_> = batch.events[1..].iter().map(|new| new.event.id).collect();
    let id = batch.request.id;
    assert_eq!(put(bench.store(), batch), Committed::Stored { events: 2 });
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    let ids: Vec<_> = found.events.iter().map(|stored| stored.event.id).collect();
    assert_eq!(ids, wanted);
    assert_eq!(found.record.disposition, Disposition::Accepted);
}

fn of_two_events_with_one_key_the_first_wins<B: Bench>(bench: &mut B) {
    let batch = commit(START).event(Some(key("1", 60)), &["a"]).event(Some(key("1", 60)), &["a"]);
    let first = batch.events[0].event.id;
    assert_eq!(put(bench.store(), batch), Committed::Stored { events: 1 });
    let leased = lease(bench.store(), "a", 9);
    assert_eq!(leased.iter().map(|leased| leased.event.id).collect::<Vec<_>>(), [first]);
}

fn a_key_reaches_as_far_as_its_scope<B: Bench>(bench: &mut B) {
    let stored = Committed::Stored { events: 1 };
    let wide = || IdempotencyKey { scope: KeyScope::Adapter, ..key("k", 60) };
    assert_eq!(put(bench.store(), commit(START).event(Some(key("k", 60)), &[])), stored);
    let other = || commit(START).of_route("other");
    assert_eq!(put(bench.store(), other().event(Some(key("k", 60)), &[])), stored);
    assert_eq!(put(bench.store(), commit(START).event(Some(wide()), &[])), stored);
    let committed = put(bench.store(), other().event(Some(wide()), &[]));
    assert!(matches!(committed, Committed::Duplicate { .. }), "the adapter's key is known");
}

fn an_event_without_a_key_is_always_new<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(Some(key("k", 60)), &[]));
    let mixed = commit(START).event(Some(key("k", 60)), &[]).event(None, &[]).event(None, &[]);
    assert_eq!(put(bench.store(), mixed), Committed::Stored { events: 2 });
}

fn a_read_that_no_longer_holds_is_a_conflict<B: Bench>(bench: &mut B) {
    let k = || key("k", 60);
    put(bench.store(), commit(START).event(Some(k()), &["a"]));
    let before = count(bench.store());
    let stale = commit(START).read(k(), false).event(Some(key("other", 60)), &["a"]);
    assert_eq!(put(bench.store(), stale), Committed::Conflict);
    let wrong = commit(START).read(key("never", 60), true);
    assert_eq!(put(bench.store(), wrong), Committed::Conflict);
    assert_eq!(count(bench.store()), before, "a conflict stores nothing");
    let other = commit(START).event(Some(key("other", 60)), &["a"]);
    assert_eq!(put(bench.store(), other), Committed::Stored { events: 1 }, "nor its keys");
    assert_eq!(lease(bench.store(), "a", 9).len(), 2, "nor its deliveries");
    let right = commit(START).read(k(), true).read(key("never", 60), false);
    assert_eq!(put(bench.store(), right), Committed::Stored { events: 0 });
}

fn what_is_quarantined_holds_no_key_and_is_superseded<B: Bench>(bench: &mut B) {
    let quarantined = || commit(START).disposition(Disposition::Quarantined).body("same");
    let held = quarantined().event(Some(key("k", 60)), &["a"]);
    let ids = [held.request.id, {
        let elsewhere = quarantined().of_route("other");
        let id = elsewhere.request.id;
        put(bench.store(), elsewhere);
        id
    }];
    assert_eq!(put(bench.store(), held), Committed::Stored { events: 0 });
    assert!(lease(bench.store(), "a", 9).is_empty());
    bench.reopen();
    put(bench.store(), commit(START).body("another"));
    put(bench.store(), commit(START).body("same").disposition(Disposition::Ignored));
    assert_eq!(disposition_of(bench.store(), ids[0]), Disposition::Quarantined);
    let accepted = commit(START).body("same").event(Some(key("k", 60)), &["a"]);
    assert_eq!(put(bench.store(), accepted), Committed::Stored { events: 1 });
    assert_eq!(disposition_of(bench.store(), ids[0]), Disposition::Superseded);
    assert_eq!(disposition_of(bench.store(), ids[1]), Disposition::Quarantined, "another route");
}

fn seen_says_what_a_commit_would_find<B: Bench>(bench: &mut B) {
    let adapter = AdapterName::new("vkyc").unwrap();
    put(bench.store(), commit(START).event(Some(key("k", 60)), &[]));
    for _ in 0..2 {
        let seen = |value: &str, ms| {
            let now = UnixMillis(START.0 + ms);
            bench.store().seen(Some(&route("shop")), &adapter, &key(value, 60), now).unwrap()
        };
        assert!(seen("k", 0) && seen("k", 60_000));
        assert!(!seen("k", 60_001) && !seen("other", 0));
        bench.reopen();
    }
}

fn deliveries_are_leased_oldest_first_and_once<B: Bench>(bench: &mut B) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        let new = commit(START).event(None, &["a", "b"]);
        ids.push(new.events[0].event.id);
        put(bench.store(), new);
        bench.clock().advance(Duration::from_millis(1));
    }
    let events = |leased: &[LeasedDelivery]| -> Vec<EventId> {
        leased.iter().map(|leased| leased.event.id).collect()
    };
    let first = lease(bench.store(), "a", 2);
    assert_eq!(events(&first), ids[..2]);
    assert!(first.iter().all(|leased| leased.intact && leased.attempts_before == 0));
    assert_eq!(events(&lease(bench.store(), "a", 9)), ids[2..]);
    assert!(lease(bench.store(), "a", 9).is_empty(), "all are leased");
    assert_eq!(events(&lease(bench.store(), "b", 9)), ids, "another destination, another delivery");
    assert!(lease(bench.store(), "unknown", 9).is_empty());
    let done = first.iter().map(|leased| attempt(leased, "a", START)).collect();
    assert_eq!(record(bench.store(), done), 2);
    assert_eq!(block_on(bench.store().health()).unwrap().pending_deliveries, 8);
}

fn a_lease_that_ends_comes_back_and_its_fence_grows_stale<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(None, &["a"]));
    let old = lease(bench.store(), "a", 9).remove(0);
    let due = |bench: &B| block_on(bench.store().next_due(&destination("a"))).unwrap();
    assert_eq!(due(bench), Some(old.until));
    bench.clock().advance(LEASE - Duration::from_millis(1));
    assert!(lease(bench.store(), "a", 9).is_empty(), "the lease still runs");
    bench.clock().advance(Duration::from_millis(1));
    let new = lease(bench.store(), "a", 9).remove(0);
    assert_eq!((new.delivery, &new.event), (old.delivery, &old.event));
    assert!(new.fence != old.fence && new.intact);
    let (stale, good) = (attempt(&old, "a", START), attempt(&new, "a", START));
    assert_eq!(record(bench.store(), vec![stale.clone()]), 0);
    assert_eq!(record(bench.store(), vec![stale, good.clone(), good.clone()]), 1);
    assert_eq!(record(bench.store(), vec![good]), 0, "recorded once");
    assert_eq!(due(bench), None);
}

fn a_late_record_counts_while_nobody_else_has_the_lease<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(None, &["a"]));
    let leased = lease(bench.store(), "a", 9).remove(0);
    bench.clock().advance(LEASE * 2);
    let due = block_on(bench.store().next_due(&destination("a"))).unwrap();
    assert!(due.is_some());
    assert_eq!(record(bench.store(), vec![attempt(&leased, "a", START)]), 1);
    assert!(lease(bench.store(), "a", 9).is_empty(), "it is delivered");
}

fn a_failed_attempt_is_due_again_when_it_says<B: Bench>(bench: &mut B) {
    let new = commit(START).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    let later = START.after(Duration::from_secs(5));
    let leased = lease(bench.store(), "a", 9).remove(0);
    let failed = attempt(&leased, "a", START).failed(Some(later));
    assert_eq!(record(bench.store(), vec![failed]), 1);
    for _ in 0..2 {
        assert!(lease(bench.store(), "a", 9).is_empty(), "not before it is due");
        assert_eq!(block_on(bench.store().next_due(&destination("a"))).unwrap(), Some(later));
        bench.reopen();
    }
    bench.clock().advance(Duration::from_secs(5));
    let again = lease(bench.store(), "a", 9).remove(0);
    assert_eq!((again.attempts_before, &again.event), (1, &leased.event));
    assert_eq!(record(bench.store(), vec![attempt(&again, "a", later)]), 1);
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    let delivery = &found.events[0].deliveries[0];
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(delivery.due_at, None);
    let attempts: Vec<_> = delivery
        .attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.at, attempt.outcome == AttemptOutcome::Delivered))
        .collect();
    assert_eq!(attempts, [(1, START, false), (2, later, true)]);
}

fn a_dead_letter_is_not_leased_again<B: Bench>(bench: &mut B) {
    let new = commit(START).event(None, &["a"]);
    let id = new.request.id;
    put(bench.store(), new);
    let leased = lease(bench.store(), "a", 9).remove(0);
    assert_eq!(record(bench.store(), vec![attempt(&leased, "a", START).failed(None)]), 1);
    for _ in 0..2 {
        bench.clock().advance(Duration::from_secs(86_400));
        assert!(lease(bench.store(), "a", 9).is_empty());
        let health = block_on(bench.store().health()).unwrap();
        assert_eq!((health.pending_deliveries, health.dead_letters), (0, 1));
        let found = block_on(bench.store().request(id)).unwrap().unwrap();
        let delivery = &found.events[0].deliveries[0];
        assert_eq!(delivery.state, DeliveryState::DeadLetter);
        assert_eq!(delivery.reason.as_deref(), Some("retries_exhausted"));
        bench.reopen();
    }
}

fn keys_and_deliveries_survive_a_restart<B: Bench>(bench: &mut B) {
    let new = || commit(START).event(Some(key("k", 600)), &["a"]);
    let first = new();
    let event = first.events[0].event.clone();
    put(bench.store(), first);
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
    bench.reopen();
    let leased = lease(bench.store(), "a", 9);
    assert_eq!(leased.len(), 1, "a lease dies with its process");
    assert_eq!(leased[0].event, event);
    assert!(leased[0].intact);
    assert!(matches!(put(bench.store(), new()), Committed::Duplicate { .. }));
    assert_eq!(record(bench.store(), vec![attempt(&leased[0], "a", START)]), 1);
    bench.reopen();
    assert!(lease(bench.store(), "a", 9).is_empty(), "what is delivered stays so");
}

fn removed_destinations_are_dead_lettered<B: Bench>(bench: &mut B) {
    let new = commit(START).event(None, &["a", "b", "c"]);
    let id = new.request.id;
    put(bench.store(), new);
    let leased = lease(bench.store(), "b", 9).remove(0);
    let parked = lease(bench.store(), "c", 9).remove(0);
    record(bench.store(), vec![attempt(&parked, "c", START).failed(Some(START))]);
    let kept = vec![destination("a")];
    assert_eq!(block_on(bench.store().retire_destinations(kept.clone())).unwrap(), 2);
    assert_eq!(block_on(bench.store().retire_destinations(kept)).unwrap(), 0);
    assert_eq!(record(bench.store(), vec![attempt(&leased, "b", START)]), 0, "its lease is gone");
    assert!(lease(bench.store(), "b", 9).is_empty() && lease(bench.store(), "c", 9).is_empty());
    assert_eq!(lease(bench.store(), "a", 9).len(), 1);
    let found = block_on(bench.store().request(id)).unwrap().unwrap();
    let states: Vec<_> = found.events[0].deliveries.iter().map(|to| to.reason.as_deref()).collect();
    assert_eq!(states, [None, Some("destination_removed"), Some("destination_removed")]);
    let health = block_on(bench.store().health()).unwrap();
    assert_eq!((health.pending_deliveries, health.dead_letters), (1, 2));
}

fn lists_are_filtered_and_paged<B: Bench>(bench: &mut B) {
    let mut ids = Vec::new();
    for n in 0..9_u64 {
        let at = UnixMillis(START.0 + n);
        let disposition = if n % 3 == 0 { Disposition::Ignored } else { Disposition::Accepted };
        let new =
            commit(at).of_route(if n % 2 == 0 { "even" } else { "odd" }).disposition(disposition);
        ids.push(new.request.id);
        put(bench.store(), new);
    }
    let list = |route_: Option<&str>, disposition, before, limit| -> Vec<usize> {
        let route = route_.map(route);
        let filter = RequestFilter { route, disposition, before, limit };
        let rows = block_on(bench.store().requests(filter)).unwrap();
        rows.iter().map(|row| ids.iter().position(|id| *id == row.id).unwrap()).collect()
    };
    assert_eq!(list(None, None, None, 4), [8, 7, 6, 5]);
    assert_eq!(list(None, None, Some(ids[5]), 4), [4, 3, 2, 1]);
    assert_eq!(list(Some("even"), None, None, 500), [8, 6, 4, 2, 0]);
    assert_eq!(list(Some("odd"), None, Some(ids[5]), 500), [3, 1]);
    assert_eq!(list(None, Some(Disposition::Ignored), None, 500), [6, 3, 0]);
    assert_eq!(list(Some("even"), Some(Disposition::Ignored), Some(ids[6]), 500), [0]);
    assert_eq!(list(Some("none"), None, None, 500), [] as [usize; 0]);
    assert_eq!(list(None, Some(Disposition::Superseded), None, 500), [] as [usize; 0]);
    assert_eq!(list(None, None, None, 0), [] as [usize; 0]);
    let filter = RequestFilter { limit: 1, ..RequestFilter::default() };
    let row = block_on(bench.store().requests(filter)).unwrap().remove(0);
    assert_eq!((row.status, row.events, row.adapter.as_str()), (200, 0, "vkyc"));
    assert_eq!(row.facts[0].value, "paid");
}

fn lists_go_by_id_whatever_the_order_of_commits<B: Bench>(bench: &mut B) {
    let arrived = [3, 0, 4, 1, 5, 2];
    let mut ids: Vec<_> = arrived
        .map(|n| {
            let new = commit(UnixMillis(START.0 + n)).of_route(if n < 3 { "x" } else { "y" });
            let id = new.request.id;
            put(bench.store(), new);
            id
        })
        .into();
    ids.sort_unstable();
    ids.reverse();
    for (of, wanted) in [(None, &ids[..]), (Some("y"), &ids[..3]), (Some("x"), &ids[3..])] {
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let filter =
                RequestFilter { route: of.map(route), before, limit: 2, disposition: None };
            let page = block_on(bench.store().requests(filter)).unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.id);
            found.extend(page.iter().map(|row| row.id));
        }
        assert_eq!(found, wanted, "each once, newest first");
    }
    // A cursor need not be the id of a stored request: refused ones are merged into the list.
    let between = RequestId::new(UnixMillis(START.0 + 3));
    let filter = RequestFilter { before: Some(between), limit: 9, route: None, disposition: None };
    let page: Vec<_> = block_on(bench.store().requests(filter)).unwrap();
    let wanted: Vec<_> = ids.iter().copied().filter(|id| *id < between).collect();
    assert_eq!(page.iter().map(|row| row.id).collect::<Vec<_>>(), wanted);
}

fn retention_keeps_what_is_pending_and_what_keys_need<B: Bench>(bench: &mut B) {
    let old = || commit(START);
    let (plain, keyed) = (old(), old().event(Some(key("k", 7_200)), &["a"]));
    let pending = old().event(None, &["b"]);
    let ids = [plain.request.id, keyed.request.id, pending.request.id];
    let answer = keyed.request.answer.clone();
    for new in [plain, keyed, pending] {
        put(bench.store(), new);
    }
    let leased = lease(bench.store(), "a", 9).remove(0);
    record(bench.store(), vec![attempt(&leased, "a", START)]);
    let hour = Duration::from_secs(3_600);
    bench.clock().advance(hour);
    assert_eq!(block_on(bench.store().sweep(hour)).unwrap(), 0, "not older than that yet");
    bench.clock().advance(Duration::from_millis(1));
    assert_eq!(block_on(bench.store().sweep(hour)).unwrap(), 2);
    for (id, stays) in ids.iter().zip([false, false, true]) {
        let found = block_on(bench.store().request(*id)).unwrap();
        assert_eq!(found.is_some(), stays);
    }
    assert_eq!(lease(bench.store(), "b", 9).len(), 1, "its request was kept");
    bench.reopen();
    let mut again = commit(UnixMillis(START.0 + 7_200_000)).event(Some(key("k", 7_200)), &["a"]);
    again.request.answer = Answer::empty(299);
    assert_eq!(
        put(bench.store(), again.clone()),
        Committed::Duplicate { answer },
        "keys outlive it"
    );
    bench.clock().advance(hour);
    block_on(bench.store().sweep(hour * 1_000)).unwrap();
    again.request.id = RequestId::new(START);
    again.request.received_at = UnixMillis(START.0 + 7_200_001);
    assert_eq!(put(bench.store(), again), Committed::Stored { events: 1 }, "its window has ended");
}

fn a_nudge_follows_a_commit<B: Bench>(bench: &mut B) {
    let mut nudges = bench.store().nudges();
    put(bench.store(), commit(START));
    assert!(!nudges.has_changed().unwrap(), "nothing is due");
    put(bench.store(), commit(START).event(None, &["a"]));
    assert!(nudges.has_changed().unwrap());
    nudges.borrow_and_update();
    let leased = lease(bench.store(), "a", 9).remove(0);
    record(bench.store(), vec![attempt(&leased, "a", START).failed(Some(START))]);
    assert!(nudges.has_changed().unwrap(), "it is due again");
}

fn switches_of_routes_stand_until_they_are_taken_away<B: Bench>(bench: &mut B) {
    let switch = |paused, since| RouteSwitch { paused, since: UnixMillis(since) };
    let set = |bench: &B, name: &str, switch| {
        block_on(bench.store().set_route_switch(route(name), switch)).unwrap();
    };
    let all = |bench: &B| {
        let mut all = block_on(bench.store().route_switches()).unwrap();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    };
    assert_eq!(all(bench), []);
    set(bench, "a", Some(switch(true, 1)));
    set(bench, "b", Some(switch(false, 2)));
    set(bench, "a", Some(switch(false, 3)));
    set(bench, "c", None);
    let expected = [(route("a"), switch(false, 3)), (route("b"), switch(false, 2))];
    assert_eq!(all(bench), expected);
    bench.reopen();
    assert_eq!(all(bench), expected);
    set(bench, "a", None);
    assert_eq!(all(bench), expected[1..]);
}

fn a_closed_store_says_so<B: Bench>(bench: &mut B) {
    put(bench.store(), commit(START).event(None, &["a"]));
    block_on(bench.store().close());
    block_on(bench.store().close());
    let closed = |error: StorageError| assert!(matches!(error, StorageError::Closed), "{error}");
    closed(block_on(bench.store().commit(commit(START))).unwrap_err());
    closed(block_on(bench.store().record(Vec::new())).unwrap_err());
    closed(block_on(bench.store().lease(&destination("a"), 1, LEASE)).unwrap_err());
    closed(block_on(bench.store().request(RequestId::new(START))).unwrap_err());
    closed(block_on(bench.store().sweep(LEASE)).unwrap_err());
    assert!(block_on(bench.store().health()).unwrap().refusing.is_some());
}
