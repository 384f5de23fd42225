//! Another adapter as a destination: its `consume` is given the event.
//!
//! Done exactly once: what the call leaves and the record of the attempt are one commit. Nothing is
//! kept of an attempt that failed but its record, and of one whose commit did not succeed not even
//! that: its lease ends and it is made again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{Carried, Carry, Carrying};
use crate::adapter::{Adapter, CallEnd, Cause, End, OtherCall, Outcome, OutcomeEvent, StateReader};
use crate::delivery::attempt::{AttemptError, Ticket};
use crate::model::{
    AdapterName, AttemptOutcome, AttemptRecord, Clock, Consumed, DeliveryState, DestinationName,
    Disposition, Event, EventId, HOPS_MAX, LeasedDelivery, NewEvent, RequestHead, RequestId,
    RequestRecord, RouteName, UnixMillis,
};
use crate::reading::{StoredKeys, StoredState};
use crate::snapshot::Snapshot;
use crate::storage::{Commit, Committed, Lane, StateChange, Storage, StorageError};
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::StorageRefused;
use crate::telemetry::ingest::{AdapterCalled, CallConflicted, CallTimes};

/// Conflicts after which the call runs in its adapter's exclusive lane, as ingest's do.
const CONFLICTS_MAX: u32 = 3;

/// Wait after storage refused: long enough not to add to its trouble.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Brings events to one adapter of the configuration in force.
#[derive(Debug)]
pub(in crate::delivery) struct AdapterDestination {
    pub(in crate::delivery) storage: Arc<dyn Storage>,
    pub(in crate::delivery) clock: Arc<dyn Clock>,
    pub(in crate::delivery) current: Arc<ArcSwap<Snapshot>>,
    /// Adapter calls at once, shared with ingest.
    pub(in crate::delivery) calls: Arc<Semaphore>,
    pub(in crate::delivery) destination: DestinationName,
    pub(in crate::delivery) adapter: AdapterName,
    pub(in crate::delivery) call_times: CallTimes,
    /// Of one attempt.
    pub(in crate::delivery) timeout: Duration,
}

/// One attempt: what stays the same however often the call runs in it.
#[derive(Debug)]
struct Attempt<'a> {
    leased: &'a LeasedDelivery,
    id: RequestId,
    now: UnixMillis,
    /// The adapter's name as `call.route` tells it.
    route: RouteName,
    began: Instant,
}

impl Carry for AdapterDestination {
    fn carry<'a>(&'a self, leased: &'a LeasedDelivery) -> Carrying<'a> {
        Box::pin(self.consume(leased))
    }
}

impl AdapterDestination {
    async fn consume(&self, leased: &LeasedDelivery) -> Result<Carried, AttemptError> {
        if leased.event.hops >= HOPS_MAX {
            return Err(AttemptError::TooManyHops);
        }
        // Names of adapters are names of routes.
        let route = RouteName::new(self.adapter.as_str()).map_err(|_| AttemptError::NotServing)?;
        let (now, began) = (self.clock.now(), Instant::now());
        let (id, deadline) = (RequestId::new(now), began + self.timeout);
        let attempt = Attempt { leased, id, now, route, began };
        let (mut lane, mut conflicts): (Option<Lane>, u32) = (None, 0);
        while Instant::now() < deadline {
            if conflicts >= CONFLICTS_MAX && lane.is_none() {
                match timeout_at(deadline, self.storage.lane(&self.adapter)).await {
                    Ok(Ok(entered)) => lane = Some(entered),
                    Ok(Err(error)) => return self.refused(None, &error).await,
                    Err(_late) => break,
                }
            }
            let snapshot = self.current.load_full();
            let adapter = snapshot.adapters.get(&self.adapter).ok_or(AttemptError::NotServing)?;
            let Ok(Ok(permit)) = timeout_at(deadline, self.calls.acquire()).await else { break };
            let ended = self.call(adapter, &attempt);
            drop(permit);
            let commit = self.commit(&snapshot, adapter, &attempt, ended)?;
            let commit = Commit { lane: lane.as_ref().map(Lane::id), ..commit };
            match self.storage.commit_attempt(self.record(&attempt), commit).await {
                Ok(Some(Committed::Stored { .. } | Committed::Duplicate { .. })) => {
                    return Ok(Carried::Recorded);
                }
                Ok(Some(Committed::Conflict)) => conflicts += 1,
                Ok(Some(Committed::Contended)) => conflicts += CONFLICTS_MAX,
                // Somebody else has been given it.
                Ok(None) => return Ok(Carried::Left),
                Err(error) => return self.refused(lane, &error).await,
            }
            CallConflicted { adapter: &self.adapter, in_lane: lane.is_some() }.emit();
        }
        if conflicts > 0 {
            Err(AttemptError::Conflict)
        } else {
            Err(AttemptError::TimedOut { timeout: self.timeout })
        }
    }

    /// Nothing is stored, or nobody knows: the lease tells, when it ends. What storage cannot do
    /// however often it is asked goes by the schedule. The lane is given on before anything is waited
    /// for: others can use it.
    async fn refused(
        &self,
        lane: Option<Lane>,
        error: &StorageError,
    ) -> Result<Carried, AttemptError> {
        drop(lane);
        match error {
            StorageError::Failed { detail } => {
                return Err(AttemptError::NotStored { detail: detail.clone() });
            }
            StorageError::Full | StorageError::Busy => {
                StorageRefused { destination: &self.destination, error }.emit();
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            StorageError::Fatal { .. } | StorageError::Closed => {}
        }
        Ok(Carried::Left)
    }

    /// Runs the adapter on this thread: what bounds it is this thread's time.
    fn call(&self, adapter: &Adapter, attempt: &Attempt<'_>) -> CallEnd {
        let now = attempt.now;
        let seen = StoredKeys {
            storage: Arc::clone(&self.storage),
            route: None,
            adapter: self.adapter.clone(),
            now,
        };
        let state = adapter.description.state_version.map(|version| {
            let storage = Arc::clone(&self.storage);
            let state = StoredState::new(storage, self.adapter.clone(), version, now);
            Arc::new(state) as Arc<dyn StateReader>
        });
        let call = OtherCall {
            cause: Cause::Live,
            adapter: self.adapter.clone(),
            id: attempt.id,
            now,
            seen: Arc::new(seen),
            state,
        };
        let began = std::time::Instant::now();
        let ended = adapter.consume(call, &attempt.leased.event);
        AdapterCalled { times: &self.call_times, took: began.elapsed() }.emit();
        ended
    }

    /// The record of the attempt, where it succeeds.
    fn record(&self, attempt: &Attempt<'_>) -> AttemptRecord {
        let ticket = Ticket::from(attempt.leased);
        AttemptRecord {
            delivery: ticket.delivery,
            fence: ticket.fence,
            destination: self.destination.clone(),
            number: ticket.number,
            at: attempt.now,
            took: attempt.began.elapsed(),
            outcome: AttemptOutcome::Delivered,
            state: DeliveryState::Delivered,
            again_in: None,
            reason: None,
        }
    }

    /// What an outcome leaves; anything else is why the attempt failed.
    fn commit(
        &self,
        snapshot: &Snapshot,
        adapter: &Adapter,
        attempt: &Attempt<'_>,
        ended: CallEnd,
    ) -> Result<Commit, AttemptError> {
        let CallEnd { end, verdicts, reads, masked: _, withheld: _, writes } = ended;
        let outcome = match end {
            End::Outcome(outcome) => outcome,
            End::Rejection(rejection) => return Err(AttemptError::Rejected(rejection)),
            End::Trap(message) => return Err(AttemptError::Trapped { message }),
            End::Deadline => return Err(AttemptError::OutOfTime),
        };
        let Outcome { accepted, events, facts, answer, duplicate_answer } = outcome;
        let making = Making { destination: self, snapshot, adapter, attempt };
        let events = events.into_iter().map(|made| making.event(made)).collect();
        let consumed = &attempt.leased.event;
        let body = serde_json::to_vec(consumed)
            .map_err(|error| AttemptError::NotStored { detail: error.to_string() })?;
        let mut body_sha256 = [0; 32];
        body_sha256.copy_from_slice(digest(&SHA256, &body).as_ref());
        let request = RequestRecord {
            id: attempt.id,
            route: attempt.route.clone(),
            adapter: self.adapter.clone(),
            plugin: Arc::clone(&adapter.version),
            generation: snapshot.generation,
            received_at: attempt.now,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            head: RequestHead {
                method: "CONSUME".into(),
                path: format!("/events/{}", consumed.id),
                query: None,
                headers: Vec::new(),
            },
            body: Bytes::from(body),
            body_sha256,
            kept_sha256: None,
            verdicts,
            verified: consumed.verified,
            disposition: if accepted { Disposition::Accepted } else { Disposition::Ignored },
            facts,
            reads,
            answer,
            note: None,
            consumed: Some(Consumed { event: consumed.id, delivery: attempt.leased.delivery }),
        };
        let version = adapter.description.state_version;
        let state = version.map(|version| StateChange { version, writes });
        Ok(Commit { request, events, duplicate_answer, state, lane: None })
    }
}

/// What events are made of.
struct Making<'a> {
    destination: &'a AdapterDestination,
    snapshot: &'a Snapshot,
    adapter: &'a Adapter,
    attempt: &'a Attempt<'a>,
}

impl Making<'_> {
    /// What the host adds to an event that a guest made: it is as well verified as the one it
    /// comes from.
    fn event(&self, made: OutcomeEvent) -> NewEvent {
        let Self { destination, snapshot, adapter, attempt } = self;
        let config = snapshot.config.adapters.get(&destination.adapter);
        let deliver_to = config.map(|config| config.deliver_to.as_slice()).unwrap_or_default();
        let wanting = deliver_to.iter().filter(|delivery| delivery.wants(&made.kind));
        let destinations = wanting.map(|delivery| delivery.destination.clone()).collect();
        let consumed = &attempt.leased.event;
        let event = Event {
            id: EventId::new(attempt.now),
            request: attempt.id,
            route: attempt.route.clone(),
            data_schema: adapter.description.schema_uri(&made.kind).map(Into::into),
            kind: made.kind,
            subject: made.subject,
            time: made.time,
            adapter: adapter.description.adapter().into(),
            adapter_name: destination.adapter.clone(),
            received_at: attempt.now,
            verified: consumed.verified,
            idempotency_key: made.key.as_ref().map(|key| key.value.clone()),
            partition_key: made.partition_key,
            replay_of: None,
            hops: consumed.hops.saturating_add(1),
            data: made.data,
        };
        NewEvent { event, key: made.key, destinations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::testing::{MemoryStorage, RuntimeClock, name};
    use crate::delivery::tests::snapshot;
    use crate::storage::LaneId;

    #[tokio::test(start_paused = true)]
    async fn a_lane_is_given_on_before_the_pause_that_follows_a_refusal() {
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock::start());
        let adapter = AdapterName::new("payouts").unwrap();
        let destination = AdapterDestination {
            storage: MemoryStorage::new(Arc::clone(&clock)),
            clock,
            current: Arc::new(ArcSwap::from_pointee(snapshot(1, Vec::new()))),
            calls: Arc::new(Semaphore::new(1)),
            destination: name("payouts"),
            call_times: CallTimes::new(adapter.clone()),
            adapter,
            timeout: Duration::from_secs(15),
        };
        for error in [StorageError::Busy, StorageError::Full] {
            let began = Instant::now();
            let (end, ended) = tokio::sync::oneshot::channel();
            let lane = Lane::new(LaneId(1), move || {
                end.send(Instant::now()).ok();
            });
            let carried = destination.refused(Some(lane), &error).await;
            assert!(matches!(carried, Ok(Carried::Left)), "{carried:?}");
            assert_eq!(began.elapsed(), REFUSED_PAUSE);
            assert_eq!(ended.await.unwrap(), began, "{error}");
        }
    }
}
