//! Where requests, events and deliveries live. One trait, so that every engine passes one suite.
//!
//! Invariants: an answer of [`Storage::commit`] other than an error means that what it says is on
//! disk; one [`Commit`] is applied whole or not at all; `ingest` and `delivery` meet only here.
//! Storage knows nothing of HTTP, adapters or destinations beyond their names.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod laws;
mod operated;
pub mod sqlite;
#[cfg(test)]
mod state_laws;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use operated::{
    ENTRIES_COUNTED_MAX, EntryPage, ImportBegun, ImportRefused, NamespaceSummary, Operated,
    StateImport,
};

use crate::model::{
    AdapterName, Answer, AttemptRecord, DeliveryId, DeliveryState, DestinationName, Disposition,
    Event, IdempotencyKey, KeyScope, LeasedDelivery, NewEvent, RequestId, RequestRecord, RouteName,
    RouteSwitch, Scanned, StateRange, StateWrite, UnixMillis,
};

/// A future that a trait object can return.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// Tells whether a destination is owed what is pending for it, when it is asked.
pub type IsOwed = Box<dyn Fn(&DestinationName) -> bool + Send>;

/// Everything that one adapter call leaves behind.
#[derive(Clone, Debug)]
pub struct Commit {
    pub request: RequestRecord,
    pub events: Vec<NewEvent>,
    /// Answered where every key is known; absent: the first answer again.
    pub duplicate_answer: Option<Answer>,
    /// Present where the call was granted its adapter's state: what it changes there. What it read
    /// of it is in the request's record.
    pub state: Option<StateChange>,
    /// The lane in which it is committed, where it holds its adapter's.
    pub lane: Option<LaneId>,
}

/// What a call changes of its adapter's state.
#[derive(Clone, Debug, Default)]
pub struct StateChange {
    /// `state_version` of the plugin that ran. A commit of another version than the namespace was
    /// claimed for fails.
    pub version: u32,
    /// At most one for each key.
    pub writes: Vec<StateWrite>,
}

/// Whether state is granted, or it is only asked whether it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claiming {
    Grant,
    Ask,
}

/// What an adapter asks for of its state.
#[derive(Clone, Copy, Debug)]
pub struct StateScan<'a> {
    pub range: &'a StateRange,
    /// Entries wanted; fewer may be returned although there are more, as
    /// [`Scanned::looked_at`] tells.
    pub limit: usize,
    /// From the end of the range to its start.
    pub reverse: bool,
    /// Entries that have expired by then are absent.
    pub now: UnixMillis,
}

/// One consistent view of an adapter's state: every read sees what was committed before the first
/// one, and nothing later. Each blocks for an indexed read. A view keeps the store from reusing
/// room: it is held for one call.
pub trait StateView: Send + std::fmt::Debug {
    /// Entries of a range, in its order. Looks at a part of it at least.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    fn scan(&self, scan: &StateScan<'_>) -> Result<Scanned, StorageError>;
}

/// Names a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneId(pub u64);

/// An adapter's exclusive lane: until a commit that names it is written, or it is dropped, no other
/// commit of the adapter is admitted.
pub struct Lane {
    id: LaneId,
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Lane {
    /// `end` is run when it is dropped.
    #[must_use]
    pub fn new(id: LaneId, end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self { id, end: Some(Box::new(end)) }
    }

    #[must_use]
    pub const fn id(&self) -> LaneId {
        self.id
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lane").field(&self.id).finish()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

/// What a commit came to. All but `Conflict` and `Contended` are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Stored, with this many new events.
    Stored { events: usize },
    /// Every key was known: only the duplicate's record was stored, with this answer.
    Duplicate { answer: Answer },
    /// A `seen(key)` or an entry, an absence or a range of its adapter's state that the call read is
    /// no longer so: nothing was stored, run the call again.
    Conflict,
    /// The same, while others hold the adapter's lane or wait for it: outside of it the call would
    /// most likely conflict with each of them.
    Contended,
}

/// What storage refuses to do, and what the caller may do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// No room. Nothing was stored; it resumes by itself when there is room.
    #[error("the disk is full")]
    Full,
    /// The queue of commits is at its bound.
    #[error("too many commits are waiting")]
    Busy,
    /// An I/O error at commit: this process must stop, and recover at its next start.
    #[error("storage failed and the gateway must restart: {detail}")]
    Fatal { detail: String },
    /// The gateway is stopping.
    #[error("storage is closed")]
    Closed,
    /// A question that failed without harm.
    #[error("storage could not answer: {detail}")]
    Failed { detail: String },
}

/// One row of a list of stored requests.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RequestSummary {
    pub id: RequestId,
    pub route: RouteName,
    pub adapter: AdapterName,
    pub received_at: UnixMillis,
    pub disposition: Disposition,
    pub status: u16,
    pub body_bytes: u64,
    pub events: u32,
    pub facts: Vec<crate::model::Fact>,
}

/// One stored request, whole.
#[derive(Clone, Debug)]
pub struct StoredRequest {
    pub record: RequestRecord,
    /// Whether the body still has its SHA-256.
    pub intact: bool,
    pub events: Vec<StoredEvent>,
}

/// One stored event with its deliveries.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StoredEvent {
    pub event: Event,
    /// Whether the stored event still has its SHA-256.
    pub intact: bool,
    pub deliveries: Vec<StoredDelivery>,
}

/// One delivery as it stands, with its attempts.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StoredDelivery {
    pub delivery: DeliveryId,
    pub destination: DestinationName,
    pub state: DeliveryState,
    pub due_at: Option<UnixMillis>,
    pub reason: Option<String>,
    pub attempts: Vec<StoredAttempt>,
}

/// One finished attempt.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredAttempt {
    pub number: u32,
    pub at: UnixMillis,
    pub took_ms: u64,
    #[serde(flatten)]
    pub outcome: crate::model::AttemptOutcome,
}

/// Which requests to list: newest first, at most `limit`, older than `before`.
#[derive(Clone, Debug, Default)]
pub struct RequestFilter {
    pub route: Option<RouteName>,
    pub disposition: Option<Disposition>,
    pub before: Option<RequestId>,
    /// At most 500.
    pub limit: usize,
}

/// What storage says of itself, for health and metrics.
#[derive(Clone, Debug, Default)]
pub struct StorageHealth {
    /// A sentence where commits are refused at present.
    pub refusing: Option<String>,
    pub pending_deliveries: u64,
    /// The same by destination, those among them that are configured no longer.
    pub pending_by_destination: Vec<(DestinationName, u64)>,
    pub dead_letters: u64,
}

/// One store of requests, events, deliveries and keys.
///
/// Every method may be called from any task. Dropping a returned future gives up waiting, never a
/// commit that was begun.
pub trait Storage: Operated + std::fmt::Debug {
    /// Commits one call: request, verdicts, keys, events and deliveries together.
    fn commit(&self, commit: Commit) -> StorageFuture<'_, Committed>;

    /// Commits one call that was an attempt at a delivery: the record of the attempt with what the
    /// call leaves, together. Where the call is to run again (`Conflict`, `Contended`) nothing is
    /// recorded either, and the lease stands; absent where the record's fence is not the delivery's current lease.
    fn commit_attempt(
        &self,
        attempt: AttemptRecord,
        commit: Commit,
    ) -> StorageFuture<'_, Option<Committed>>;

    /// Whether `key` is known to a request that arrived within its window before `now`.
    ///
    /// Blocks for one indexed read; called from inside an adapter call.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    fn seen(
        &self,
        route: Option<&RouteName>,
        adapter: &AdapterName,
        key: &IdempotencyKey,
        now: UnixMillis,
    ) -> Result<bool, StorageError>;

    /// Grants adapters their namespaces, made where they have none, each to a plugin of this
    /// `state_version`. Returns those that another version holds, which has left entries there, with
    /// that version: then nothing is granted to any.
    ///
    /// Before it, an adapter has no state; it may be asked any number of times.
    fn claim_state(
        &self,
        claims: Vec<(AdapterName, u32)>,
        claiming: Claiming,
    ) -> StorageFuture<'_, Vec<(AdapterName, u32)>>;

    /// A view of an adapter's state, for a plugin of this `state_version`.
    ///
    /// Blocks for a moment; called from inside an adapter call.
    ///
    /// # Errors
    ///
    /// Where the namespace is not claimed for that version, or the store cannot be read.
    fn state(
        &self,
        adapter: &AdapterName,
        version: u32,
    ) -> Result<Box<dyn StateView>, StorageError>;

    /// Waits for an adapter's exclusive lane. All commits of the adapter that were begun earlier can
    /// be read then, and are on disk no later than what is committed in it. Others wait until one that
    /// names it is written (a conflict is not), or it is dropped; those of other adapters go on.
    ///
    /// Cancel safe: a dropped call waits no longer.
    fn lane(&self, adapter: &AdapterName) -> StorageFuture<'_, Lane>;

    /// Leases up to `limit` deliveries of `destination` that are due, oldest first, for `lease`.
    ///
    /// Cancel safe: what a dropped call leased comes back when the lease ends.
    fn lease(
        &self,
        destination: &DestinationName,
        limit: usize,
        lease: Duration,
    ) -> StorageFuture<'_, Vec<LeasedDelivery>>;

    /// Records finished attempts and what follows from each. A record whose fence is not the
    /// delivery's current lease is left out; the number recorded is returned.
    fn record(&self, attempts: Vec<AttemptRecord>) -> StorageFuture<'_, usize>;

    /// When the next pending delivery of `destination` falls due; absent where there is none.
    fn next_due(&self, destination: &DestinationName) -> StorageFuture<'_, Option<UnixMillis>>;

    /// A signal that changes whenever deliveries of `destination` may have become due. Missing one costs
    /// latency only.
    fn nudges(&self, destination: &DestinationName) -> tokio::sync::watch::Receiver<u64>;

    /// Dead-letters some of what is pending for destinations that are owed nothing any more; returns
    /// how many deliveries, zero once there are none.
    ///
    /// `is_owed` is asked in the turn that dead-letters: what was committed before it for a
    /// destination that it speaks for stays owed.
    fn retire_destinations(&self, is_owed: IsOwed) -> StorageFuture<'_, u64>;

    fn requests(&self, filter: RequestFilter) -> StorageFuture<'_, Vec<RequestSummary>>;

    fn request(&self, id: RequestId) -> StorageFuture<'_, Option<StoredRequest>>;

    fn health(&self) -> StorageFuture<'_, StorageHealth>;

    /// Deletes what is older than `retention`, in small steps; returns how many requests went.
    /// Requests with pending deliveries stay. Keys outlive it until their windows end. Entries of
    /// adapters' state go some time after they have expired, whatever the retention.
    fn sweep(&self, retention: Duration) -> StorageFuture<'_, u64>;

    /// The switches of routes that are set.
    fn route_switches(&self) -> StorageFuture<'_, Vec<(RouteName, RouteSwitch)>>;

    /// Sets a route's switch, or takes it away. On disk when it returns.
    fn set_route_switch(
        &self,
        route: RouteName,
        switch: Option<RouteSwitch>,
    ) -> StorageFuture<'_, ()>;

    /// Changes the size of what is kept to be deleted on a full disk. An engine that keeps nothing
    /// of the kind does nothing.
    fn set_ballast(&self, _bytes: u64) -> StorageFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Returns once what writes has got round to answering. An engine that cannot hang answers at
    /// once.
    fn answers(&self) -> StorageFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Resolves with the reason once storage has failed for good.
    fn failed(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>>;

    /// Finishes what is queued and closes. Further calls answer [`StorageError::Closed`].
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The space in which a key is unique. `route`: absent while an adapter consumes; a route may have
/// the adapter's name and shares nothing with it.
#[must_use]
pub fn key_owner<'a>(
    key: &IdempotencyKey,
    route: Option<&'a RouteName>,
    adapter: &'a AdapterName,
) -> (&'static str, &'a str) {
    match (key.scope, route) {
        (KeyScope::Route, Some(route)) => ("route", route.as_str()),
        (KeyScope::Route, None) | (KeyScope::Adapter, _) => ("adapter", adapter.as_str()),
    }
}
