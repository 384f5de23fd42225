//! What a call of an adapter is given, and how it ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Description;
use crate::model::{
    AdapterName, Answer, CallReads, Fact, IdempotencyKey, InboundRequest, PluginVersion, Proof,
    Rejection, RequestId, RouteName, Scanned, StateRange, StateWrite, UnixMillis, VerdictRecord,
};
use crate::verification::{Presented, RouteSecrets};

/// Why a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Live,
    Replay,
    Test,
}

impl Cause {
    /// The word an adapter is told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Replay => "replay",
            Self::Test => "test",
        }
    }
}

/// Answers `seen(key)` from what is stored. `None`: the store could not be read (the call traps
/// and the request is answered 503).
pub trait SeenReader: Send + Sync + fmt::Debug {
    fn seen(&self, key: &IdempotencyKey) -> Option<bool>;
}

/// Why a part of the state could not be read. Ends the call as a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The store could not be read: no fault of the plugin.
    Store,
    /// The call runs again from its record, which does not hold that.
    NotRecorded,
}

/// Reads what is stored of an adapter's state: one view for the whole call.
pub trait StateReader: Send + Sync + fmt::Debug {
    /// Entries of a range that are live at the call's time, in its order (from the end where
    /// `reverse`), at most `limit`. It may look at a part of the range only, from its beginning in
    /// that order; but it always looks at some.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    fn scan(&self, range: &StateRange, limit: usize, reverse: bool) -> Result<Scanned, Unread>;
}

/// What is given again to a call that runs again from its record: its verdicts, in their order, to the
/// same questions, and the digest of what it received.
#[derive(Debug)]
pub struct RecordedRun {
    verdicts: Vec<VerdictRecord>,
    pub(super) body_sha256: [u8; 32],
    missed: Arc<AtomicBool>,
}

impl RecordedRun {
    /// `body_sha256`: of the body as received, of which parts may have been masked since. `missed`
    /// is set where the call asks for a verdict that is not among these.
    #[must_use]
    pub const fn new(
        verdicts: Vec<VerdictRecord>,
        body_sha256: [u8; 32],
        missed: Arc<AtomicBool>,
    ) -> Self {
        Self { verdicts, body_sha256, missed }
    }

    /// The verdict on the question that is asked after `before` others.
    pub(super) fn after(&self, before: usize, role: &str, proof: Proof) -> Option<VerdictRecord> {
        let recorded = self.verdicts.get(before);
        let recorded = recorded.filter(|verdict| verdict.role == role && verdict.proof == proof);
        if recorded.is_none() {
            self.missed.store(true, Ordering::Relaxed);
        }
        recorded.cloned()
    }
}

/// One call of `receive`.
#[derive(Clone, Debug)]
pub struct ReceiveCall {
    pub cause: Cause,
    pub route: RouteName,
    /// Already masked.
    pub inbound: Arc<InboundRequest>,
    /// The credentials that masking took out; stays with the host.
    pub presented: Arc<Presented>,
    pub secrets: Arc<RouteSecrets>,
    /// Present where nothing is verified: what an earlier run was told instead.
    pub recorded: Option<Arc<RecordedRun>>,
    pub seen: Arc<dyn SeenReader>,
    /// Present where the adapter is granted state.
    pub state: Option<Arc<dyn StateReader>>,
    /// Of the route, in bytes: bounds what the host copies for the guest.
    pub body_max: usize,
}

/// One event given to `consume`, or one question given to `view`: no inbound request, no secrets.
#[derive(Clone, Debug)]
pub struct OtherCall {
    pub cause: Cause,
    /// What the adapter is told as its route: it serves none in this call.
    pub adapter: AdapterName,
    pub id: RequestId,
    pub now: UnixMillis,
    pub seen: Arc<dyn SeenReader>,
    /// Present where the adapter is granted state.
    pub state: Option<Arc<dyn StateReader>>,
}

/// An outcome as the guest returned it, checked against the contract. Ids, source, receipt and
/// verdict are added by the host when it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `false`: `ignored`.
    pub accepted: bool,
    pub events: Vec<OutcomeEvent>,
    pub facts: Vec<Fact>,
    pub answer: Answer,
    pub duplicate_answer: Option<Answer>,
}

/// One event of an [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeEvent {
    pub kind: String,
    pub subject: Option<String>,
    pub time: Option<String>,
    /// One JSON object, checked to be one.
    pub data: String,
    pub partition_key: Option<String>,
    pub key: Option<IdempotencyKey>,
}

/// The four ways in which a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Outcome(Outcome),
    Rejection(Rejection),
    /// A trap, an exhausted limit, or a result that breaks the contract. The message names plugin,
    /// version and call, and is for the operator.
    Trap(String),
    Deadline,
}

/// A finished call of `receive` or `consume`: how it ended and what is recorded of it.
#[derive(Clone, Debug)]
pub struct CallEnd {
    pub end: End,
    pub verdicts: Vec<VerdictRecord>,
    pub reads: CallReads,
    /// What may be kept and shown of the request, where the adapter had parts of it masked.
    pub masked: Option<Arc<InboundRequest>>,
    /// It ended before it could say what must not be kept: nothing of body and query is.
    pub withheld: bool,
    /// What an outcome changes of the adapter's state, in the order of keys; nothing otherwise.
    pub writes: Vec<StateWrite>,
}

/// How a call of `view` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewEnd {
    /// JSON.
    Answer(String),
    Rejection(Rejection),
    Trap(String),
    Deadline,
}

/// What serves a route's requests: an [`Adapter`], or a scripted one in tests.
pub trait Receive: Send + Sync + fmt::Debug {
    fn version(&self) -> &Arc<PluginVersion>;
    fn description(&self) -> &Arc<Description>;

    /// Runs one call in a fresh instance, on the calling thread: at most
    /// [`SandboxLimits::deadline`]. A call that has parts of its request masked runs
    /// again, in another instance and with a deadline of its own.
    fn receive(&self, call: ReceiveCall) -> CallEnd;
}
