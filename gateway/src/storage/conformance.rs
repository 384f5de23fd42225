//! What every engine must do, written against `dyn Storage`. An engine's own tests call [`suite`]
//! with its way of opening a store.

macro_rules! rules {
    ($($name:ident),* $(,)?) => { vec![$((stringify!($name), $name as Test<B>)),*] };
}

mod consuming;
mod deliveries;
mod keys;
mod lists;
mod making;
pub(super) mod operated;
pub(super) mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::{Commit, Committed, RequestFilter, Storage, StorageError};
use crate::model::{
    AdapterName, Answer, AttemptOutcome, AttemptRecord, CallReads, Clock as _, DeadLetterReason,
    DeliveryState, DestinationName, Disposition, Event, EventId, IdempotencyKey, KeyScope,
    LeasedDelivery, ManualClock, NewEvent, PluginVersion, RequestHead, RequestId, RequestRecord,
    RouteName, RouteSwitch, UnixMillis, Verified,
};

use making::sha256;
pub(super) use making::{attempt, commit};

/// When tests begin.
pub(super) const START: UnixMillis = UnixMillis(1_750_000_000_000);

pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A store under test that can be closed and opened again.
pub(super) trait Bench {
    fn store(&self) -> &dyn Storage;
    fn clock(&self) -> &ManualClock;
    /// Closes the store as a stop does, and opens it again.
    fn reopen(&mut self);
    /// Opens what the end of the process at this moment would leave behind.
    fn crash(&mut self);
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

pub(super) fn put(store: &dyn Storage, commit: Commit) -> Committed {
    block_on(store.commit(commit)).unwrap()
}

pub(super) fn lease(store: &dyn Storage, name: &str, limit: usize) -> Vec<LeasedDelivery> {
    block_on(store.lease(&destination(name), limit, LEASE)).unwrap()
}

pub(super) fn record(store: &dyn Storage, attempts: Vec<AttemptRecord>) -> usize {
    block_on(store.record(attempts)).unwrap()
}

/// Retires all but these destinations.
pub(super) fn retire(store: &dyn Storage, configured: &[&str]) -> Result<u64, StorageError> {
    let configured: Vec<_> = configured.iter().map(|name| destination(name)).collect();
    let mut all = 0;
    loop {
        let configured = configured.clone();
        let is_owed = move |name: &DestinationName| configured.contains(name);
        match block_on(store.retire_destinations(Box::new(is_owed)))? {
            0 => return Ok(all),
            step => all += step,
        }
    }
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
    let more = [
        keys::rules(),
        deliveries::rules(),
        lists::rules(),
        state::rules(),
        operated::rules(),
        consuming::rules(),
    ];
    for (name, test) in tests::<B>().into_iter().chain(more.into_iter().flatten()) {
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
        retention_keeps_what_is_pending_and_what_keys_need,
        retention_goes_by_arrival_whatever_was_stored_first,
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

fn retention_goes_by_arrival_whatever_was_stored_first<B: Bench>(bench: &mut B) {
    let (hour, year) = (Duration::from_secs(3_600), Duration::from_secs(365 * 86_400));
    let stored = |bench: &B, at: UnixMillis| {
        let new = commit(at);
        let id = new.request.id;
        put(bench.store(), new);
        id
    };
    // The clock is ahead, put right, and once behind.
    let ahead: Vec<_> = (0..40).map(|_| stored(bench, START.after(year))).collect();
    let mut old = vec![stored(bench, START)];
    bench.clock().advance(hour * 2);
    let young = stored(bench, bench.clock().now());
    old.push(stored(bench, START));
    let there = |bench: &B, id: &RequestId| block_on(bench.store().request(*id)).unwrap().is_some();
    assert_eq!(block_on(bench.store().sweep(hour)).unwrap(), old.len() as u64);
    assert!(!old.iter().any(|id| there(bench, id)));
    assert!(there(bench, &young) && ahead.iter().all(|id| there(bench, id)));
    bench.clock().advance(year);
    assert_eq!(block_on(bench.store().sweep(hour)).unwrap(), 1 + ahead.len() as u64);
}

fn a_nudge_follows_a_commit<B: Bench>(bench: &mut B) {
    let mut nudges = bench.store().nudges(&destination("a"));
    put(bench.store(), commit(START));
    put(bench.store(), commit(START).event(None, &["b"]));
    assert!(!nudges.has_changed().unwrap(), "nothing is due there");
    put(bench.store(), commit(START).event(None, &["a"]));
    assert!(nudges.has_changed().unwrap());
    nudges.borrow_and_update();
    let leased = lease(bench.store(), "a", 9).remove(0);
    record(bench.store(), vec![attempt(&leased, "a", START).failed(Some(Duration::ZERO))]);
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
