//! Where requests, events and deliveries live. One trait, so that every engine passes one suite.
//!
//! Invariants: an answer of [`Storage::commit`] other than an error means that what it says is on
//! disk; one [`Commit`] is applied whole or not at all; `ingest` and `delivery` meet only here.
//! Storage knows nothing of HTTP, adapters or destinations beyond their names.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod laws;
pub mod sqlite;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::model::{
    AdapterName, Answer, AttemptRecord, DeliveryId, DeliveryState, DestinationName, Disposition,
    Event, IdempotencyKey, KeyScope, LeasedDelivery, NewEvent, RequestId, RequestRecord, RouteName,
    UnixMillis,
};

/// A future that a trait object can return.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// Everything that one adapter call leaves behind.
#[derive(Clone, Debug)]
pub struct Commit {
    pub request: RequestRecord,
    pub events: Vec<NewEvent>,
    /// Answered where every key is known; absent: the first answer again.
    pub duplicate_answer: Option<Answer>,
}

/// What a commit came to. All but `Conflict` are on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Stored, with this many new events.
    Stored { events: usize },
    /// Every key was known: only the duplicate's record was stored, with this answer.
    Duplicate { answer: Answer },
    /// A `seen(key)` that the call read no longer holds: nothing was stored, run the call again.
    Conflict,
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
    pub dead_letters: u64,
}

/// One store of requests, events, deliveries and keys.
///
/// Every method may be called from any task. Dropping a returned future gives up waiting, never a
/// commit that was begun.
pub trait Storage: Send + Sync + std::fmt::Debug {
    /// Commits one call: request, verdicts, keys, events and deliveries together.
    fn commit(&self, commit: Commit) -> StorageFuture<'_, Committed>;

    /// Whether `key` is known to a request that arrived within its window before `now`.
    ///
    /// Blocks for one indexed read; called from inside an adapter call.
    ///
    /// # Errors
    ///
    /// Where the store cannot be read.
    fn seen(
        &self,
        route: &RouteName,
        adapter: &AdapterName,
        key: &IdempotencyKey,
        now: UnixMillis,
    ) -> Result<bool, StorageError>;

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

    /// A signal that changes whenever deliveries may have become due. Missing one costs latency
    /// only.
    fn nudges(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Dead-letters what is pending for destinations that are not among `configured`.
    fn retire_destinations(&self, configured: Vec<DestinationName>) -> StorageFuture<'_, u64>;

    fn requests(&self, filter: RequestFilter) -> StorageFuture<'_, Vec<RequestSummary>>;

    fn request(&self, id: RequestId) -> StorageFuture<'_, Option<StoredRequest>>;

    fn health(&self) -> StorageFuture<'_, StorageHealth>;

    /// Deletes what is older than `retention`, in small steps; returns how many requests went.
    /// Requests with pending deliveries stay. Keys outlive it until their windows end.
    fn sweep(&self, retention: Duration) -> StorageFuture<'_, u64>;

    /// Changes the size of what is kept to be deleted on a full disk. An engine that keeps nothing
    /// of the kind does nothing.
    fn set_ballast(&self, _bytes: u64) -> StorageFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Resolves with the reason once storage has failed for good.
    fn failed(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>>;

    /// Finishes what is queued and closes. Further calls answer [`StorageError::Closed`].
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The space in which a key is unique.
#[must_use]
pub fn key_owner<'a>(
    key: &IdempotencyKey,
    route: &'a RouteName,
    adapter: &'a AdapterName,
) -> (&'static str, &'a str) {
    match key.scope {
        KeyScope::Route => ("route", route.as_str()),
        KeyScope::Adapter => ("adapter", adapter.as_str()),
    }
}
