//! The adapter's component, called without a gateway: asked what it sees in a store, and run again
//! on what a store recorded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sluice::adapter::{Adapter, Cause, End, OtherCall, Outcome, Sandbox, SandboxLimits, ViewEnd};
use sluice::model::{AdapterName, Disposition, PluginName, RequestId, RouteName, UnixMillis};
use sluice::reading::StoredState;
use sluice::replay::rerun;
use sluice::storage::{Storage, StoredRequest};
use sluice_tests::artifacts;
use sluice_tests::sandbox::{BODY_MAX, Known, settings};

use super::traffic::{own_settings, route_settings};

/// `state_version` of the adapter.
pub(super) const STATE_VERSION: u32 = 1;

pub(super) struct Component {
    adapter: Adapter,
    /// Ends spinning calls.
    _sandbox: Sandbox,
}

impl Component {
    pub(super) fn load() -> Self {
        let deadline = Duration::from_secs(5);
        let sandbox = Sandbox::new(SandboxLimits { deadline, ..SandboxLimits::default() }).unwrap();
        let bytes = std::fs::read(artifacts::plugin("payout-matcher").unwrap()).unwrap();
        let plugin = sandbox.load(&PluginName::new("payout-matcher").unwrap(), &bytes).unwrap();
        let routes: Vec<_> = route_settings()
            .into_iter()
            .map(|(name, own)| (RouteName::new(name).unwrap(), settings(own)))
            .collect();
        let adapter = sandbox.configure(&plugin, &settings(own_settings()), &routes).unwrap();
        Self { adapter, _sandbox: sandbox }
    }

    pub(super) fn view(
        &self,
        storage: &Arc<dyn Storage>,
        adapter: &AdapterName,
        now: u64,
        (name, parameters): (&str, &Value),
    ) -> Value {
        let now = UnixMillis(now);
        let storage = Arc::clone(storage);
        let state = StoredState::new(storage, adapter.clone(), STATE_VERSION, now);
        let call = OtherCall {
            cause: Cause::Live,
            adapter: adapter.clone(),
            id: RequestId::new(now),
            now,
            seen: Arc::new(Known(BTreeSet::new())),
            state: Some(Arc::new(state)),
        };
        match self.adapter.view(call, name, &parameters.to_string()) {
            ViewEnd::Answer(text) => serde_json::from_str(&text).unwrap(),
            other @ (ViewEnd::Rejection(_) | ViewEnd::Trap(_) | ViewEnd::Deadline) => {
                panic!("{name}: {other:?}")
            }
        }
    }

    /// Runs the call of a stored request again: what is another byte than it was.
    pub(super) fn differs_again(&self, request: &StoredRequest) -> Option<String> {
        let record = &request.record;
        let again = match rerun(&self.adapter, record, Cause::Live, BODY_MAX) {
            Ok(again) => again,
            Err(why) => return Some(format!("{}: {why}", record.id)),
        };
        let End::Outcome(outcome) = again.end else {
            return Some(format!("{}: again it is {:?}", record.id, again.end));
        };
        let same = same_facts(&outcome, request)
            && (record.disposition == Disposition::Duplicate
                || same_answer_and_events(&outcome, request));
        (!same).then(|| format!("{}: {outcome:?} again, and was {request:?}", record.id))
    }
}

fn same_facts(outcome: &Outcome, request: &StoredRequest) -> bool {
    let again = outcome.facts.iter().map(|fact| (&fact.name, &fact.value));
    again.eq(request.record.facts.iter().map(|fact| (&fact.name, &fact.value)))
}

fn same_answer_and_events(outcome: &Outcome, request: &StoredRequest) -> bool {
    let again = outcome.events.iter().map(|event| {
        let key = event.key.as_ref().map(|key| &key.value);
        (&event.kind, &event.subject, &event.partition_key, key, &event.data)
    });
    let stored = request.events.iter().map(|stored| {
        let event = &stored.event;
        let key = event.idempotency_key.as_ref();
        (&event.kind, &event.subject, &event.partition_key, key, &event.data)
    });
    outcome.answer == request.record.answer && again.eq(stored)
}
