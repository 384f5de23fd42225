//! A stored request, run again from its record: the same time, id, verdicts, known keys and state,
//! whatever has become of them since. Nothing is verified, read from the store or committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::adapter::{
    Adapter, CallEnd, Cause, OtherCall, Receive, ReceiveCall, RecordedRun, SeenReader, StateReader,
    Unread,
};
use crate::model::{
    CallReads, Event, IdempotencyKey, InboundRequest, Proof, RequestRecord, Scanned, StateRange,
};
use crate::verification::{Presented, RouteSecrets};

/// Why a request cannot be run again as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("the call read more of its adapter's state than is kept with a request")]
    NotKept,
    /// Another version of the plugin than ran, or other settings, may ask for more.
    #[error("the call asks for what the record of the request does not hold")]
    NotRecorded,
    /// It is the record of a consumed event, or the other way round.
    #[error("the record is not that of such a call")]
    OtherCall,
}

/// Runs the call of a stored request again with `adapter` and returns how it ends: as it did, where
/// the component and its settings are the same and `cause` is the one it ran for.
///
/// Bodies that are not intact any more are the caller's to refuse. `body_max`: of its route, in
/// bytes.
///
/// # Errors
///
/// Where the record does not hold what the call reads.
pub fn rerun(
    adapter: &dyn Receive,
    record: &RequestRecord,
    cause: Cause,
    body_max: usize,
) -> Result<CallEnd, ReplayError> {
    if record.consumed.is_some() {
        return Err(ReplayError::OtherCall);
    }
    if record.reads.state_not_kept {
        return Err(ReplayError::NotKept);
    }
    let missed = Arc::new(AtomicBool::new(false));
    let reads = Recorded { reads: record.reads.clone(), missed: Arc::clone(&missed) };
    let reads = Arc::new(reads);
    // The token's verdict comes before the adapter's, and is no answer to a question of its.
    let asked = record.verdicts.iter().filter(|verdict| verdict.proof != Proof::PathToken);
    let asked = asked.cloned().collect();
    let recorded = RecordedRun::new(asked, record.body_sha256, Arc::clone(&missed));
    let ended = adapter.receive(ReceiveCall {
        cause,
        route: record.route.clone(),
        inbound: Arc::new(InboundRequest {
            id: record.id,
            received_at: record.received_at,
            client: record.client,
            head: record.head.clone(),
            body: record.body.clone(),
            redacted: record.is_redacted(),
        }),
        presented: Arc::new(Presented::default()),
        secrets: Arc::new(RouteSecrets::none()),
        recorded: Some(Arc::new(recorded)),
        seen: Arc::<Recorded>::clone(&reads),
        state: adapter.description().state_version.map(|_| reads as Arc<dyn StateReader>),
        body_max,
    });
    if missed.load(Ordering::Relaxed) { Err(ReplayError::NotRecorded) } else { Ok(ended) }
}

/// The same for the record of an event that was consumed.
///
/// # Errors
///
/// Where the record does not hold what the call reads, or no event.
pub fn rerun_consumed(
    adapter: &Adapter,
    record: &RequestRecord,
    cause: Cause,
) -> Result<CallEnd, ReplayError> {
    if record.reads.state_not_kept {
        return Err(ReplayError::NotKept);
    }
    let event = record.consumed.and_then(|_| serde_json::from_slice(&record.body).ok());
    let event: Event = event.ok_or(ReplayError::OtherCall)?;
    let missed = Arc::new(AtomicBool::new(false));
    let reads = Recorded { reads: record.reads.clone(), missed: Arc::clone(&missed) };
    let reads = Arc::new(reads);
    let call = OtherCall {
        cause,
        adapter: record.adapter.clone(),
        id: record.id,
        now: record.received_at,
        seen: Arc::<Recorded>::clone(&reads),
        state: adapter.description.state_version.map(|_| reads as Arc<dyn StateReader>),
    };
    let ended = adapter.consume(call, &event);
    if missed.load(Ordering::Relaxed) { Err(ReplayError::NotRecorded) } else { Ok(ended) }
}

/// What a call read, read again.
#[derive(Debug)]
struct Recorded {
    reads: CallReads,
    missed: Arc<AtomicBool>,
}

impl SeenReader for Recorded {
    fn seen(&self, key: &IdempotencyKey) -> Option<bool> {
        let known = self.reads.seen.iter().find(|(asked, _)| asked == key);
        if known.is_none() {
            self.missed.store(true, Ordering::Relaxed);
        }
        known.map(|(_, seen)| *seen)
    }
}

impl StateReader for Recorded {
    fn scan(&self, range: &StateRange, limit: usize, reverse: bool) -> Result<Scanned, Unread> {
        self.reads.state.scan(range, limit, reverse).ok_or_else(|| {
            self.missed.store(true, Ordering::Relaxed);
            Unread::NotRecorded
        })
    }
}
