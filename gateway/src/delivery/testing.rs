//! Doubles for the tests of delivery and of the admin side: a store in memory, scripted
//! destinations, and a clock that follows the runtime's paused time.

mod scripted;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

pub(crate) use self::scripted::{Act, Scripted};
use crate::config::{DestinationConfig, DestinationKind, Location, RetryConfig};
use crate::model::{
    AdapterName, AttemptRecord, Clock, DeadLetterReason, DeliveryId, DeliveryState,
    DestinationName, Event, EventId, IdempotencyKey, LeasedDelivery, RequestId, RouteName,
    RouteSwitch, StateEntry, UnixMillis, Verified,
};
use crate::storage::{
    Claiming, Commit, Committed, ImportBegun, ImportRefused, IsOwed, Lane, Operated, RequestFilter,
    RequestSummary, StateImport, StateView, Storage, StorageError, StorageFuture, StorageHealth,
    StoredRequest,
};

/// 2024-06-15T11:51:35.807Z.
pub(crate) const RECEIVED_AT: UnixMillis = UnixMillis(1_718_452_295_807);

/// A small event; each number has an id of its own.
pub(crate) fn event(number: u8) -> Event {
    Event {
        id: EventId::from_bytes([number; 16]),
        request: RequestId::from_bytes([number; 16]),
        route: RouteName::new("vkyc").unwrap(),
        kind: "test.happened".to_owned(),
        subject: None,
        time: None,
        adapter: "vkyc/1.0.0".into(),
        adapter_name: AdapterName::new("vkyc").unwrap(),
        received_at: RECEIVED_AT,
        verified: Verified::SharedSecret,
        idempotency_key: None,
        partition_key: None,
        data_schema: None,
        replay_of: None,
        hops: 0,
        data: "{\"a\":1}".to_owned(),
    }
}

pub(crate) fn leased(number: u8) -> LeasedDelivery {
    LeasedDelivery {
        delivery: DeliveryId(i64::from(number)),
        fence: 1,
        until: RECEIVED_AT,
        attempts_before: 0,
        event: event(number),
        intact: true,
    }
}

pub(crate) fn name(text: &str) -> DestinationName {
    DestinationName::new(text).unwrap()
}

/// A destination with three retries, at 10 s each and no jitter.
pub(crate) fn config(destination: &str, kind: DestinationKind) -> DestinationConfig {
    DestinationConfig {
        name: name(destination),
        kind,
        retry: RetryConfig { delays: vec![Duration::from_secs(10); 3], jitter: 0.0 },
        timeout: Duration::from_secs(15),
        concurrency: 4,
        at: Location::default(),
    }
}

/// The wall clock of a runtime whose time is paused.
#[derive(Debug)]
pub(crate) struct RuntimeClock(Instant);

impl RuntimeClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> UnixMillis {
        RECEIVED_AT.after(self.0.elapsed())
    }
}

/// One delivery of a [`MemoryStorage`].
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) destination: DestinationName,
    pub(crate) event: Event,
    pub(crate) intact: bool,
    pub(crate) state: DeliveryState,
    pub(crate) due_at: UnixMillis,
    pub(crate) leased_until: UnixMillis,
    pub(crate) fence: u64,
    pub(crate) attempts: Vec<AttemptRecord>,
}

impl Row {
    pub(crate) fn reason(&self) -> Option<DeadLetterReason> {
        self.attempts.last().and_then(|last| last.reason)
    }
}

/// Deliveries in memory, with leases and fences as storage has them.
#[derive(Debug)]
pub(crate) struct MemoryStorage {
    clock: Arc<dyn Clock>,
    rows: Mutex<BTreeMap<DeliveryId, Row>>,
    changes: watch::Sender<u64>,
    /// Calls of `record` still to be refused.
    pub(crate) refuse_records: AtomicUsize,
    pub(crate) leases: AtomicUsize,
    /// Steps of retirement that may be made, of one row each.
    pub(crate) retirements: Semaphore,
    /// What the admin side may read.
    pub(crate) requests: Mutex<Vec<StoredRequest>>,
    pub(crate) health: Mutex<Result<StorageHealth, StorageError>>,
}

impl MemoryStorage {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            rows: Mutex::default(),
            changes: watch::Sender::new(0),
            refuse_records: AtomicUsize::new(0),
            leases: AtomicUsize::new(0),
            retirements: Semaphore::new(Semaphore::MAX_PERMITS),
            requests: Mutex::default(),
            health: Mutex::new(Ok(StorageHealth::default())),
        })
    }

    /// Owes event `number` to `destination` from now on, and says so.
    pub(crate) fn owe(&self, destination: &str, number: u8) -> DeliveryId {
        let id = self.owe_silently(destination, event(number), true);
        self.changes.send_modify(|count| *count += 1);
        id
    }

    /// Owes without a nudge.
    pub(crate) fn owe_silently(&self, destination: &str, event: Event, intact: bool) -> DeliveryId {
        let mut rows = self.rows.lock().unwrap();
        let id = DeliveryId(i64::try_from(rows.len()).unwrap());
        let row = Row {
            destination: name(destination),
            event,
            intact,
            state: DeliveryState::Pending,
            due_at: self.clock.now(),
            leased_until: UnixMillis(0),
            fence: 0,
            attempts: Vec::new(),
        };
        rows.insert(id, row);
        id
    }

    pub(crate) fn row(&self, id: DeliveryId) -> Row {
        self.rows.lock().unwrap()[&id].clone()
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().values().cloned().collect()
    }

    /// Waits until every row satisfies `wanted`. Fails after an hour, which passes at once where
    /// time is paused and is cut by the harness where it is not.
    pub(crate) async fn until_all(&self, wanted: impl Fn(&Row) -> bool) {
        let mut changes = self.changes.subscribe();
        while !self.rows.lock().unwrap().values().all(&wanted) {
            tokio::time::timeout(Duration::from_secs(30 * 86_400), changes.changed())
                .await
                .unwrap_or_else(|_| panic!("never came true: {:#?}", self.rows()))
                .unwrap();
        }
    }
}

const NOT_HERE: StorageError = StorageError::Closed;

impl Operated for MemoryStorage {
    fn begin_import(&self, _: AdapterName, _: u32, _: bool) -> StorageFuture<'_, ImportBegun<'_>> {
        Box::pin(async { Ok(ImportBegun::Begun(Box::new(Forgotten))) })
    }
}

/// An import that takes everything and keeps nothing.
struct Forgotten;

impl StateImport for Forgotten {
    fn add(&mut self, _: Vec<StateEntry>) -> StorageFuture<'_, Option<usize>> {
        Box::pin(async { Ok(None) })
    }

    fn finish(&mut self) -> StorageFuture<'_, Result<(), ImportRefused>> {
        Box::pin(async { Ok(Ok(())) })
    }
}

impl Storage for MemoryStorage {
    fn commit(&self, _commit: Commit) -> StorageFuture<'_, Committed> {
        Box::pin(async { Err(NOT_HERE) })
    }

    fn commit_attempt(&self, _: AttemptRecord, _: Commit) -> StorageFuture<'_, Option<Committed>> {
        Box::pin(async { Err(NOT_HERE) })
    }

    fn seen(
        &self,
        _route: Option<&RouteName>,
        _adapter: &AdapterName,
        _key: &IdempotencyKey,
        _now: UnixMillis,
    ) -> Result<bool, StorageError> {
        Err(NOT_HERE)
    }

    fn claim_state(
        &self,
        _: Vec<(AdapterName, u32)>,
        _: Claiming,
    ) -> StorageFuture<'_, Vec<(AdapterName, u32)>> {
        Box::pin(async { Err(NOT_HERE) })
    }

    fn state(&self, _: &AdapterName, _: u32) -> Result<Box<dyn StateView>, StorageError> {
        Err(NOT_HERE)
    }

    fn lane(&self, _: &AdapterName) -> StorageFuture<'_, Lane> {
        Box::pin(async { Err(NOT_HERE) })
    }

    fn lease(
        &self,
        destination: &DestinationName,
        limit: usize,
        lease: Duration,
    ) -> StorageFuture<'_, Vec<LeasedDelivery>> {
        self.leases.fetch_add(1, Ordering::SeqCst);
        let now = self.clock.now();
        let mut rows = self.rows.lock().unwrap();
        let due = rows.iter_mut().filter(|(_, row)| {
            row.destination == *destination
                && row.state == DeliveryState::Pending
                && row.due_at <= now
                && row.leased_until <= now
        });
        let leased: Vec<_> = due
            .take(limit)
            .map(|(id, row)| {
                row.fence += 1;
                row.leased_until = now.after(lease);
                LeasedDelivery {
                    delivery: *id,
                    fence: row.fence,
                    until: row.leased_until,
                    attempts_before: u32::try_from(row.attempts.len()).unwrap(),
                    event: row.event.clone(),
                    intact: row.intact,
                }
            })
            .collect();
        Box::pin(async { Ok(leased) })
    }

    fn record(&self, attempts: Vec<AttemptRecord>) -> StorageFuture<'_, usize> {
        let refuse = self
            .refuse_records
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refuse.is_ok() {
            return Box::pin(async { Err(StorageError::Busy) });
        }
        let mut rows = self.rows.lock().unwrap();
        let mut recorded = 0;
        for attempt in attempts {
            let row = rows.get_mut(&attempt.delivery).unwrap();
            assert_eq!(row.destination, attempt.destination);
            if row.fence == attempt.fence && row.state == DeliveryState::Pending {
                row.state = attempt.state;
                let again = attempt.again_in.map(|delay| self.clock.now().after(delay));
                row.due_at = again.unwrap_or(row.due_at);
                row.leased_until = UnixMillis(0);
                row.attempts.push(attempt);
                recorded += 1;
            }
        }
        drop(rows);
        self.changes.send_modify(|count| *count += 1);
        Box::pin(async move { Ok(recorded) })
    }

    fn next_due(&self, destination: &DestinationName) -> StorageFuture<'_, Option<UnixMillis>> {
        let rows = self.rows.lock().unwrap();
        let pending = rows
            .values()
            .filter(|row| row.destination == *destination && row.state == DeliveryState::Pending);
        let next = pending.map(|row| row.due_at.max(row.leased_until)).min();
        Box::pin(async move { Ok(next) })
    }

    fn nudges(&self, _: &DestinationName) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn retire_destinations(&self, is_owed: IsOwed) -> StorageFuture<'_, u64> {
        Box::pin(async move {
            self.retirements.acquire().await.unwrap().forget();
            let mut rows = self.rows.lock().unwrap();
            let retired = rows
                .values_mut()
                .find(|row| row.state == DeliveryState::Pending && !is_owed(&row.destination));
            let Some(row) = retired else { return Ok(0) };
            row.state = DeliveryState::DeadLetter;
            drop(rows);
            self.changes.send_modify(|count| *count += 1);
            Ok(1)
        })
    }

    fn requests(&self, filter: RequestFilter) -> StorageFuture<'_, Vec<RequestSummary>> {
        assert!(filter.limit <= 500);
        let requests = self.requests.lock().unwrap();
        let mut wanted: Vec<_> = requests
            .iter()
            .filter(|one| filter.route.as_ref().is_none_or(|route| *route == one.record.route))
            .filter(|one| filter.disposition.is_none_or(|it| it == one.record.disposition))
            .filter(|one| filter.before.is_none_or(|before| one.record.id < before))
            .map(summary)
            .collect();
        wanted.sort_by_key(|one| std::cmp::Reverse(one.id));
        wanted.truncate(filter.limit);
        Box::pin(async { Ok(wanted) })
    }

    fn request(&self, id: RequestId) -> StorageFuture<'_, Option<StoredRequest>> {
        let found = self.requests.lock().unwrap().iter().find(|one| one.record.id == id).cloned();
        Box::pin(async { Ok(found) })
    }

    fn health(&self) -> StorageFuture<'_, StorageHealth> {
        let mut health = self.health.lock().unwrap().clone();
        if let Ok(health) = &mut health {
            let mut pending: BTreeMap<_, u64> = BTreeMap::new();
            for row in self.rows().into_iter().filter(|row| row.state == DeliveryState::Pending) {
                *pending.entry(row.destination).or_default() += 1;
            }
            health.pending_by_destination = pending.into_iter().collect();
        }
        Box::pin(async { health })
    }

    fn route_switches(&self) -> StorageFuture<'_, Vec<(RouteName, RouteSwitch)>> {
        Box::pin(async { Err(NOT_HERE) })
    }

    fn set_route_switch(&self, _: RouteName, _: Option<RouteSwitch>) -> StorageFuture<'_, ()> {
        Box::pin(async { Err(NOT_HERE) })
    }

    fn sweep(&self, _retention: Duration) -> StorageFuture<'_, u64> {
        Box::pin(async { Err(NOT_HERE) })
    }

    fn failed(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

fn summary(stored: &StoredRequest) -> RequestSummary {
    let record = &stored.record;
    RequestSummary {
        id: record.id,
        route: record.route.clone(),
        adapter: record.adapter.clone(),
        received_at: record.received_at,
        disposition: record.disposition,
        status: record.answer.status,
        body_bytes: record.body.len() as u64,
        events: u32::try_from(stored.events.len()).unwrap(),
        facts: record.facts.clone(),
    }
}
