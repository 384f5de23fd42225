//! One adapter call and its commit: from an admitted request to an ending.

use std::sync::Arc;
use std::time::Instant as StdInstant;

use ring::digest::{SHA256, digest};
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::admission::{Charged, Turn};
use super::answer::Refusal;
use super::route::{Routed, Served};
use super::settle::{Settled, WITHHELD, settle};
use crate::adapter::{
    CallEnd, Cause, Description, OutcomeEvent, ReceiveCall, StateReader, withheld,
};
use crate::faults::Fault;
use crate::model::{
    Answer, CallReads, Diagnosis, Disposition, Event, EventId, InboundRequest, NewEvent,
    RequestRecord, StateWrite, VerdictRecord, Verified,
};
use crate::reading::{StoredKeys, StoredState};
use crate::storage::{Commit, Committed, Lane, LaneId, StateChange};
use crate::telemetry::Happening as _;
use crate::telemetry::ingest::{AdapterCalled, CallConflicted};
use crate::verification::Presented;

/// Conflicts after which a call runs in its adapter's exclusive lane. Each one means that another
/// request changed what it read in between; three in a row are a flood of them, and so is one where
/// others already wait for the lane.
const CONFLICTS_MAX: u32 = 3;

/// Where and until when a request is called and committed.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) routed: &'a Routed,
    pub(super) served: &'a Served,
    pub(super) charged: &'a Charged<'a>,
    /// The verdict on the path token, where the route has one: it precedes the adapter's.
    pub(super) token: Option<VerdictRecord>,
    /// By when the sender has to have an answer.
    pub(super) deadline: Instant,
}

/// What became of a request that was called.
#[derive(Debug)]
pub(super) enum Ending {
    /// It is on disk.
    Committed {
        answer: Answer,
        disposition: Disposition,
        /// Of a quarantined one.
        diagnosis: Option<Diagnosis>,
    },
    /// Nothing was stored, or nobody knows yet.
    Refused {
        refusal: Refusal,
        verdicts: Vec<VerdictRecord>,
        /// Absent where it was handed to storage, as what follows.
        inbound: Option<Arc<InboundRequest>>,
        presented: Option<Arc<Presented>>,
    },
}

/// What is called, however often.
#[derive(Clone, Debug)]
struct Subject {
    inbound: Arc<InboundRequest>,
    presented: Arc<Presented>,
    /// Of the body as received.
    body_sha256: [u8; 32],
    /// What the adapter wants to be left of the request: all that may be kept or shown.
    masked: Option<Arc<InboundRequest>>,
    /// It was called, and could say so.
    was_called: bool,
    /// The lane that the call holds.
    lane: Option<LaneId>,
}

impl Subject {
    fn refused(self, refusal: Refusal, verdicts: Vec<VerdictRecord>) -> Ending {
        let inbound = Some(self.masked.unwrap_or(self.inbound));
        Ending::Refused { refusal, verdicts, inbound, presented: Some(self.presented) }
    }

    /// Refused without a further call. Of what an adapter never came to read that masks parts of
    /// it, nobody knows which.
    fn not_called(mut self, mut refusal: Refusal, adapter: &Description) -> Ending {
        if adapter.redacts && !self.was_called {
            self.masked = Some(withheld(&self.inbound));
            refusal.detail = format!("{}; {WITHHELD}", refusal.detail).into();
        }
        self.refused(refusal, Vec::new())
    }
}

/// What one run of the call came to.
#[derive(Debug)]
enum Attempt {
    Ended(Ending),
    /// What it read has changed, and nothing was stored: to be run again. With how many conflicts
    /// it counts.
    Conflict(Subject, u32),
}

/// What one run left besides its outcome.
#[derive(Debug)]
struct Ran {
    verdicts: Vec<VerdictRecord>,
    reads: CallReads,
    writes: Vec<StateWrite>,
    body_sha256: [u8; 32],
    lane: Option<LaneId>,
}

impl Call<'_> {
    /// Runs the adapter and commits what it came to; runs it again, with the same id and the same
    /// time, where what it read is no longer so. After some conflicts, or one where others are in
    /// it, it does so in its adapter's lane, where nothing can change what it reads.
    ///
    /// Dropping it before the commit leaves nothing behind. Dropping it later gives up waiting:
    /// storage finishes what it was given.
    pub(super) async fn run(&self, inbound: InboundRequest, presented: Presented) -> Ending {
        let body_sha256 = sha256(&inbound.body);
        let mut subject = Subject {
            inbound: Arc::new(inbound),
            presented: Arc::new(presented),
            body_sha256,
            masked: None,
            was_called: false,
            lane: None,
        };
        let mut lane = None;
        let mut conflicts = 0_u32;
        loop {
            if conflicts >= CONFLICTS_MAX && lane.is_none() {
                match self.lane().await {
                    Ok(entered) => {
                        subject.lane = Some(entered.id());
                        lane = Some(entered);
                    }
                    Err(refusal) => return subject.refused(refusal, Vec::new()),
                }
            }
            subject = match self.attempt(subject).await {
                Attempt::Ended(ending) => return ending,
                Attempt::Conflict(again, counts) => {
                    conflicts = conflicts.saturating_add(counts);
                    again
                }
            };
            let adapter = &self.served.route.config.adapter;
            CallConflicted { adapter, in_lane: lane.is_some() }.emit();
        }
    }

    /// Waits for the adapter's exclusive lane.
    async fn lane(&self) -> Result<Lane, Refusal> {
        let lane = self.shared.storage.lane(&self.served.route.config.adapter);
        match timeout_at(self.deadline, lane).await {
            Ok(Ok(lane)) => Ok(lane),
            Ok(Err(error)) => Err(Refusal::storage(&error)),
            Err(_late) => {
                let why = "the adapter's exclusive lane was not free before the deadline";
                Err(Refusal::overloaded(why))
            }
        }
    }

    /// One run and its commit.
    async fn attempt(&self, mut subject: Subject) -> Attempt {
        let turn = match self.shared.load.turn(self.deadline).await {
            Ok(turn) => turn,
            Err(why) => {
                let refusal = Refusal::overloaded(why);
                let adapter = self.served.route.adapter.description();
                return Attempt::Ended(subject.not_called(refusal, adapter));
            }
        };
        let CallEnd { end, verdicts, reads, masked, withheld, writes } =
            self.receive(&subject.inbound, &subject.presented, turn);
        subject.masked = masked.or(subject.masked);
        subject.was_called = true;
        let route = &self.served.route;
        let plugin = route.adapter.version();
        let settled = match settle(end, withheld, &verdicts, &route.secrets, plugin) {
            Ok(settled) => settled,
            Err(refusal) => return Attempt::Ended(subject.refused(refusal, verdicts)),
        };
        // A commit begun now would be stored, and the sender told that it was not.
        if Instant::now() >= self.deadline {
            let refusal = Refusal::overloaded("the answer was due before the call had ended");
            return Attempt::Ended(subject.refused(refusal, verdicts));
        }
        if let Err(refusal) = self.charged.charge_route() {
            return Attempt::Ended(subject.refused(refusal, verdicts));
        }
        let (disposition, diagnosis) = (settled.disposition, settled.diagnosis.clone());
        let answer = settled.outcome.answer.clone();
        // Only a call that read something can conflict, and only then is the request needed
        // once more. All others move on to storage without a copy.
        let again = (!reads.is_empty()).then(|| subject.clone());
        let Subject { inbound, masked, body_sha256, lane, .. } = subject;
        let ran = Ran { verdicts: verdicts.clone(), reads, writes, body_sha256, lane };
        let commit = self.commit(Arc::unwrap_or_clone(masked.unwrap_or(inbound)), settled, ran);
        let early = Fault::AckBeforeCommit.is_on();
        let deadline = if early { Instant::now() } else { self.deadline };
        let committed = timeout_at(deadline, self.shared.storage.commit(commit)).await;
        let refusal = match (committed, again) {
            (Err(_late), _) if early => {
                return Attempt::Ended(Ending::Committed { answer, disposition, diagnosis });
            }
            (Ok(Ok(Committed::Stored { .. })), _) => {
                self.shared.signatures.remember(&verdicts, body_sha256);
                return Attempt::Ended(Ending::Committed { answer, disposition, diagnosis });
            }
            (Ok(Ok(Committed::Duplicate { answer })), _) => {
                let disposition = Disposition::Duplicate;
                return Attempt::Ended(Ending::Committed { answer, disposition, diagnosis: None });
            }
            (Ok(Ok(Committed::Conflict)), Some(again)) => return Attempt::Conflict(again, 1),
            (Ok(Ok(Committed::Contended)), Some(again)) => {
                return Attempt::Conflict(again, CONFLICTS_MAX);
            }
            (Ok(Ok(Committed::Conflict | Committed::Contended)), None) => {
                Refusal::overloaded("storage reports a conflict with a call that read nothing")
            }
            (Ok(Err(error)), _) => Refusal::storage(&error),
            (Err(_late), _) => Refusal::unconfirmed(),
        };
        Attempt::Ended(Ending::Refused { refusal, verdicts, inbound: None, presented: None })
    }

    /// Runs the adapter on this thread: what bounds it is this thread's time, so a call must not
    /// wait for its turn once it has begun.
    fn receive(
        &self,
        inbound: &Arc<InboundRequest>,
        presented: &Arc<Presented>,
        turn: Turn<'_>,
    ) -> CallEnd {
        let route = &self.served.route;
        let (storage, adapter) = (&self.shared.storage, &route.config.adapter);
        let now = inbound.received_at;
        let seen = StoredKeys {
            storage: Arc::clone(storage),
            route: Some(route.config.name.clone()),
            adapter: adapter.clone(),
            now,
        };
        let state = route.adapter.description().state_version.map(|version| {
            let state = StoredState::new(Arc::clone(storage), adapter.clone(), version, now);
            Arc::new(state) as Arc<dyn StateReader>
        });
        let began = StdInstant::now();
        let mut ended = route.adapter.receive(ReceiveCall {
            cause: Cause::Live,
            route: route.config.name.clone(),
            inbound: Arc::clone(inbound),
            presented: Arc::clone(presented),
            secrets: Arc::clone(&route.secrets),
            recorded: None,
            seen: Arc::new(seen),
            state,
            body_max: route.config.body_max,
        });
        drop(turn);
        AdapterCalled { times: &self.served.call_times, took: began.elapsed() }.emit();
        if let Some(token) = &self.token {
            ended.verdicts.insert(0, token.clone());
        }
        ended
    }

    fn commit(&self, inbound: InboundRequest, settled: Settled, ran: Ran) -> Commit {
        let Ran { verdicts, reads, writes, body_sha256, lane } = ran;
        let Settled { outcome, verified, disposition, note, .. } = settled;
        let route = &self.served.route;
        let events = outcome.events.into_iter();
        let events = events.map(|event| self.event(&inbound, verified, event)).collect();
        let request = RequestRecord {
            id: inbound.id,
            route: route.config.name.clone(),
            adapter: route.config.adapter.clone(),
            plugin: Arc::clone(route.adapter.version()),
            generation: self.routed.snapshot.generation,
            received_at: inbound.received_at,
            client: inbound.client,
            head: inbound.head,
            kept_sha256: inbound.redacted.then(|| sha256(&inbound.body)),
            body: inbound.body,
            body_sha256,
            verdicts,
            verified,
            disposition,
            facts: outcome.facts,
            reads,
            answer: outcome.answer,
            note,
            consumed: None,
        };
        let duplicate_answer = outcome.duplicate_answer;
        let version = route.adapter.description().state_version;
        let state = version.map(|version| StateChange { version, writes });
        Commit { request, events, duplicate_answer, state, lane }
    }

    /// What the host adds to an event that a guest made.
    fn event(&self, inbound: &InboundRequest, verified: Verified, made: OutcomeEvent) -> NewEvent {
        let config = &self.served.route.config;
        let wanting = config.deliver_to.iter().filter(|delivery| delivery.wants(&made.kind));
        let mut destinations = Vec::with_capacity(config.deliver_to.len());
        for delivery in wanting {
            // Listed twice, for two sets of types, it is owed the event once all the same.
            if !destinations.contains(&delivery.destination) {
                destinations.push(delivery.destination.clone());
            }
        }
        let event = Event {
            id: EventId::new(inbound.received_at),
            request: inbound.id,
            route: config.name.clone(),
            data_schema: self.served.schemas.get(&made.kind).cloned(),
            kind: made.kind,
            subject: made.subject,
            time: made.time,
            adapter: self.served.adapter.clone(),
            adapter_name: config.adapter.clone(),
            received_at: inbound.received_at,
            verified,
            idempotency_key: made.key.as_ref().map(|key| key.value.clone()),
            partition_key: made.partition_key,
            replay_of: None,
            hops: 0,
            data: made.data,
        };
        NewEvent { event, key: made.key, destinations }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sha256
}
