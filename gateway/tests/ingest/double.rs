//! The two that ingest stands between: an adapter that follows a script, and a store in memory.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sluice::adapter::{CallEnd, Description, End, Outcome, OutcomeEvent, Receive, ReceiveCall};
use sluice::model::{
    AdapterName, Answer, AttemptRecord, CallReads, DestinationName, Diagnosis, Found,
    IdempotencyKey, InboundRequest, KeyScope, LeasedDelivery, PluginName, PluginVersion, Proof,
    Rejection, RequestId, RouteName, RouteSwitch, UnixMillis, VerdictRecord,
};
use sluice::storage::{
    Claiming, Commit, Committed, IsOwed, Lane, LaneId, RequestFilter, RequestSummary, StateView,
    Storage, StorageError, StorageFuture, StorageHealth, StoredRequest,
};
use tokio::sync::{Semaphore, watch};

type Script = dyn Fn(&ReceiveCall) -> CallEnd + Send + Sync;

/// An adapter that does as its script says, and remembers what it was called with.
pub(crate) struct Scripted {
    version: Arc<PluginVersion>,
    description: Arc<Description>,
    script: Mutex<Arc<Script>>,
    calls: Mutex<Vec<ReceiveCall>>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Scripted {
    pub(crate) fn new() -> Self {
        Self::that_redacts(false)
    }

    /// One that describes that it has parts of requests masked.
    pub(crate) fn that_redacts(redacts: bool) -> Self {
        let description = json!({
            "name": "scripted",
            "version": "1.2.3",
            "methods": ["POST"],
            "redacts": redacts,
            "events": [{ "type": "test.made", "schema": { "type": "object" } }],
            "secrets": [{
                "role": "shared",
                "travels": {
                    "in": "header", "name": "X-Webhook-Secret", "setting": "header",
                },
            }],
        });
        Self {
            version: Arc::new(PluginVersion {
                plugin: PluginName::new("scripted").unwrap(),
                version: "1.2.3".to_owned(),
                digest: "00".repeat(32),
            }),
            description: Arc::new(serde_json::from_value(description).unwrap()),
            script: Mutex::new(Arc::new(|_: &ReceiveCall| matched(accepted()))),
            calls: Mutex::default(),
        }
    }

    pub(crate) fn does(&self, script: impl Fn(&ReceiveCall) -> CallEnd + Send + Sync + 'static) {
        *self.script.lock().unwrap() = Arc::new(script);
    }

    pub(crate) fn calls(&self) -> Vec<ReceiveCall> {
        self.calls.lock().unwrap().clone()
    }
}

impl Receive for Scripted {
    fn version(&self) -> &Arc<PluginVersion> {
        &self.version
    }

    fn description(&self) -> &Arc<Description> {
        &self.description
    }

    fn receive(&self, call: ReceiveCall) -> CallEnd {
        let script = Arc::clone(&self.script.lock().unwrap());
        let end = script(&call);
        self.calls.lock().unwrap().push(call);
        end
    }
}

pub(crate) fn verdict(proof: Proof, found: Found) -> VerdictRecord {
    VerdictRecord { role: "shared".into(), proof, found, digest: None }
}

/// An end after a matching verdict on a header.
pub(crate) fn matched(end: End) -> CallEnd {
    let verdicts = vec![verdict(Proof::Header, Found::Matched { version: 0 })];
    let (reads, writes) = (CallReads::default(), Vec::new());
    CallEnd { end, verdicts, reads, masked: None, withheld: false, writes }
}

/// An end after a verdict that matches nothing.
pub(crate) fn after(found: Found, end: End) -> CallEnd {
    CallEnd { verdicts: vec![verdict(Proof::Header, found)], ..matched(end) }
}

/// The same end, of a call that had its body masked.
pub(crate) fn redacted(call: &ReceiveCall, ended: CallEnd) -> CallEnd {
    let masked = InboundRequest {
        body: "masked".into(),
        redacted: true,
        ..InboundRequest::clone(&call.inbound)
    };
    CallEnd { masked: Some(Arc::new(masked)), ..ended }
}

/// The same end, of a call that asked for one key.
pub(crate) fn having_seen(mut ended: CallEnd) -> CallEnd {
    ended.reads.seen.push((key("k"), false));
    ended
}

pub(crate) fn key(value: &str) -> IdempotencyKey {
    IdempotencyKey { value: value.to_owned(), scope: KeyScope::Route, window_seconds: 60 }
}

pub(crate) fn accepted() -> End {
    answered(Answer::json(200, r#"{"ok":true}"#))
}

/// An outcome with one event and this answer.
pub(crate) fn answered(answer: Answer) -> End {
    let event = OutcomeEvent {
        kind: "test.made".to_owned(),
        subject: Some("s".to_owned()),
        time: None,
        data: r#"{"a":1}"#.to_owned(),
        partition_key: None,
        key: Some(key("k")),
    };
    End::Outcome(Outcome {
        accepted: true,
        events: vec![event],
        facts: Vec::new(),
        answer,
        duplicate_answer: None,
    })
}

pub(crate) fn rejected(status: u16, diagnosis: Diagnosis) -> End {
    End::Rejection(Rejection { status, diagnosis, detail: "said the adapter".to_owned() })
}

/// A store that keeps commits in order and answers as told.
#[derive(Debug)]
pub(crate) struct Memory {
    commits: Mutex<Vec<Commit>>,
    replies: Mutex<VecDeque<Result<Committed, StorageError>>>,
    /// One permit a commit; as many as are wanted unless a test holds them.
    gate: Semaphore,
    /// One permit a lane: only one adapter is served.
    lanes: Arc<Semaphore>,
    begun: watch::Sender<usize>,
    nudges: watch::Sender<u64>,
    switches: Mutex<Result<BTreeMap<RouteName, RouteSwitch>, StorageError>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            commits: Mutex::default(),
            replies: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            lanes: Arc::new(Semaphore::new(1)),
            begun: watch::Sender::new(0),
            nudges: watch::Sender::new(0),
            switches: Mutex::new(Ok(BTreeMap::new())),
        }
    }
}

impl Memory {
    pub(crate) fn commits(&self) -> Vec<Commit> {
        self.commits.lock().unwrap().clone()
    }

    /// What the next commits come to, instead of being stored.
    pub(crate) fn replies(
        &self,
        replies: impl IntoIterator<Item = Result<Committed, StorageError>>,
    ) {
        self.replies.lock().unwrap().extend(replies);
    }

    /// From now on switches can be neither read nor set.
    pub(crate) fn fail_switches(&self, error: StorageError) {
        *self.switches.lock().unwrap() = Err(error);
    }

    /// From now on they can, and none is set.
    pub(crate) fn mend_switches(&self) {
        *self.switches.lock().unwrap() = Ok(BTreeMap::new());
    }

    /// From now on commits wait for [`Self::release`].
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until that many commits have begun.
    pub(crate) async fn begun(&self, commits: usize) {
        self.begun.subscribe().wait_for(|begun| *begun >= commits).await.unwrap();
    }
}

impl sluice::storage::Operated for Memory {}

impl Storage for Memory {
    fn commit(&self, commit: Commit) -> StorageFuture<'_, Committed> {
        Box::pin(async move {
            self.begun.send_modify(|begun| *begun += 1);
            let _permit = self.gate.acquire().await;
            if let Some(reply) = self.replies.lock().unwrap().pop_front() {
                return reply;
            }
            let events = commit.events.len();
            self.commits.lock().unwrap().push(commit);
            Ok(Committed::Stored { events })
        })
    }

    fn commit_attempt(&self, _: AttemptRecord, _: Commit) -> StorageFuture<'_, Option<Committed>> {
        unasked()
    }

    fn seen(
        &self,
        _: Option<&RouteName>,
        _: &AdapterName,
        key: &IdempotencyKey,
        _: UnixMillis,
    ) -> Result<bool, StorageError> {
        match key.value.as_str() {
            "known" => Ok(true),
            "unreadable" => Err(StorageError::Failed { detail: "scripted".to_owned() }),
            _ => Ok(false),
        }
    }

    fn claim_state(
        &self,
        _: Vec<(AdapterName, u32)>,
        _: Claiming,
    ) -> StorageFuture<'_, Vec<(AdapterName, u32)>> {
        unasked()
    }

    fn state(&self, _: &AdapterName, _: u32) -> Result<Box<dyn StateView>, StorageError> {
        panic!("the scripted adapter has no state")
    }

    fn lane(&self, adapter: &AdapterName) -> StorageFuture<'_, Lane> {
        assert_eq!(adapter.as_str(), "scripted");
        Box::pin(async {
            let turn = Arc::clone(&self.lanes).acquire_owned().await.unwrap();
            Ok(Lane::new(LaneId(7), move || drop(turn)))
        })
    }

    fn lease(
        &self,
        _: &DestinationName,
        _: usize,
        _: Duration,
    ) -> StorageFuture<'_, Vec<LeasedDelivery>> {
        unasked()
    }

    fn record(&self, _: Vec<AttemptRecord>) -> StorageFuture<'_, usize> {
        unasked()
    }

    fn next_due(&self, _: &DestinationName) -> StorageFuture<'_, Option<UnixMillis>> {
        unasked()
    }

    fn nudges(&self, _: &DestinationName) -> watch::Receiver<u64> {
        self.nudges.subscribe()
    }

    fn retire_destinations(&self, _: IsOwed) -> StorageFuture<'_, u64> {
        unasked()
    }

    fn requests(&self, _: RequestFilter) -> StorageFuture<'_, Vec<RequestSummary>> {
        unasked()
    }

    fn request(&self, id: RequestId) -> StorageFuture<'_, Option<StoredRequest>> {
        let commits = self.commits.lock().unwrap();
        let found = commits.iter().find(|commit| commit.request.id == id);
        let stored = |commit: &Commit| StoredRequest {
            record: commit.request.clone(),
            intact: true,
            events: Vec::new(),
        };
        let found = found.map(stored);
        Box::pin(async { Ok(found) })
    }

    fn health(&self) -> StorageFuture<'_, StorageHealth> {
        unasked()
    }

    fn route_switches(&self) -> StorageFuture<'_, Vec<(RouteName, RouteSwitch)>> {
        let switches = self.switches.lock().unwrap().clone();
        Box::pin(async { switches.map(|switches| switches.into_iter().collect()) })
    }

    fn set_route_switch(
        &self,
        route: RouteName,
        switch: Option<RouteSwitch>,
    ) -> StorageFuture<'_, ()> {
        let mut switches = self.switches.lock().unwrap();
        if let Ok(switches) = &mut *switches {
            match switch {
                Some(switch) => drop(switches.insert(route, switch)),
                None => drop(switches.remove(&route)),
            }
        }
        let set = switches.clone().map(drop);
        Box::pin(async { set })
    }

    fn sweep(&self, _: Duration) -> StorageFuture<'_, u64> {
        unasked()
    }

    fn failed(&self) -> Pin<Box<dyn Future<Output = String> + Send + '_>> {
        Box::pin(pending())
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// Ingest has no business with the rest of the store.
fn unasked<T>() -> StorageFuture<'static, T> {
    panic!("ingest asks storage for nothing of the kind")
}
