//! One call: a fresh instance, every limit, exactly one of four ends.

use std::sync::Arc;

use wasmtime::Store;

use super::configure::Start;
use super::guard::{Broken, guarded};
use super::host::{Before, Exported, Host, Subject};
use super::inspect::{API_MAJOR, API_MINOR_MAX};
use super::linked::Returned;
use super::redaction::withheld;
use super::v1::sluice::adapter::types;
use super::{Adapter, CallEnd, End, OtherCall, ReceiveCall, ViewEnd, outcome};
use crate::model::{CallReads, Event, InboundRequest, PluginVersion};

/// How often `receive` runs for one request: once on what was received, once on what is left of it,
/// and once more for an adapter that finds only then what it has to mask.
const RUNS_MAX: u32 = 3;

/// Longest answer of a view, in bytes.
const VIEW_BYTES_MAX: usize = 1 << 20;

impl Adapter {
    /// Runs `receive`, and runs it again on the masked request for as long as it asks to have
    /// something masked: what is kept comes from a run that read nothing of what was.
    pub(super) fn run_receive(&self, call: ReceiveCall) -> CallEnd {
        let received = Arc::clone(&call.inbound);
        let (mut subject, mut before, mut masked) = (Subject::Receive(call), None, None);
        for _ in 0..RUNS_MAX {
            let (mut host, ran) = self.enter(subject, before, Start::receive);
            let asked = host.masked();
            let ran = match ran {
                // It may have had more to ask for, whatever it asked for so far.
                Err(broken) if masked.is_none() && self.description.redacts => {
                    host.reads = CallReads::default();
                    let nothing = Some(withheld(&received));
                    let ended = self.ended(host, Err(broken.without_words()), nothing);
                    return CallEnd { withheld: true, ..ended };
                }
                ran => ran,
            };
            let Some(call) = asked else {
                host.write_lines();
                return self.ended(host, ran, masked);
            };
            masked = Some(Arc::clone(&call.inbound));
            if let Err(broken) = ran {
                // It read what is to be masked, and may have said or asked anything about it.
                host.reads = CallReads::default();
                return self.ended(host, Err(broken.without_words()), masked);
            }
            before = Some(Before { body: received.body.clone(), verdicts: host.verdicts });
            subject = Subject::Receive(call);
        }
        let why = format!("asks to have more masked after {RUNS_MAX} runs");
        let verdicts = before.map_or_else(Vec::new, |before| before.verdicts);
        let end = End::Trap(message(&self.version, Exported::Receive, &why));
        let (reads, writes) = (CallReads::default(), Vec::new());
        CallEnd { end, verdicts, reads, masked, withheld: false, writes }
    }

    /// Gives the adapter one event of another, in a fresh instance on the calling thread. There
    /// is no inbound request and no secret: who asks for one traps.
    pub fn consume(&self, call: OtherCall, event: &Event) -> CallEnd {
        let event = delivered(event);
        let subject = Subject::Other(Exported::Consume, call);
        let (host, ran) = self.enter(subject, None, |start, store| {
            start.instantiate(store)?.call_consume(store, &event)
        });
        self.ended(host, ran, None)
    }

    /// Asks the adapter one of its views. `parameters`: a JSON object.
    pub fn view(&self, call: OtherCall, name: &str, parameters: &str) -> ViewEnd {
        let (host, ran) = self.enter(Subject::Other(Exported::View, call), None, |start, store| {
            start.instantiate(store)?.call_view(store, name, parameters)
        });
        let trap = |why: &str| ViewEnd::Trap(message(&self.version, host.exported(), why));
        match ran {
            Ok(Ok(answer)) if answer.len() > VIEW_BYTES_MAX => {
                trap(&format!("an answer of {} bytes; at most {VIEW_BYTES_MAX}", answer.len()))
            }
            Ok(Ok(answer)) => match serde_json::from_str::<serde::de::IgnoredAny>(&answer) {
                Ok(_) => ViewEnd::Answer(answer),
                Err(_) => trap("its answer is not JSON"),
            },
            Ok(Err(refused)) => match outcome::rejection(&refused) {
                Ok(rejection) => ViewEnd::Rejection(rejection),
                Err(why) => trap(&why),
            },
            Err(Broken::Trap { why, .. }) => trap(&why),
            Err(Broken::Deadline) => ViewEnd::Deadline,
        }
    }

    fn ended(
        &self,
        host: Host,
        ran: Result<Returned, Broken>,
        masked: Option<Arc<InboundRequest>>,
    ) -> CallEnd {
        let exported = host.exported();
        let trap = |why: &str| End::Trap(message(&self.version, exported, why));
        let end = match ran {
            Ok(Ok(returned)) => match outcome::outcome(returned, &self.description) {
                Ok(outcome) => End::Outcome(outcome),
                Err(why) => trap(&why),
            },
            Ok(Err(refused)) => match outcome::rejection(&refused) {
                Ok(rejection) => End::Rejection(rejection),
                Err(why) => trap(&why),
            },
            Err(Broken::Trap { why, .. }) => trap(&why),
            Err(Broken::Deadline) => End::Deadline,
        };
        let writes = match &end {
            End::Outcome(_) => host.state.into_writes(),
            End::Rejection(_) | End::Trap(_) | End::Deadline => Vec::new(),
        };
        let (verdicts, reads) = (host.verdicts, host.reads);
        CallEnd { end, verdicts, reads, masked, withheld: false, writes }
    }

    fn enter<R>(
        &self,
        subject: Subject,
        before: Option<Before>,
        call: impl FnOnce(&Start, &mut Store<Host>) -> wasmtime::Result<R>,
    ) -> (Host, Result<R, Broken>) {
        let _permit = self.runtime.enter();
        let mut store = self.runtime.store(&self.shared, subject);
        store.data_mut().before = before;
        let ran = guarded(&mut store, |store| call(&self.start, store));
        (store.into_data(), ran)
    }
}

fn message(version: &PluginVersion, call: Exported, why: &str) -> String {
    let PluginVersion { plugin, version, .. } = version;
    let call = call.as_str();
    format!(
        "plugin `{plugin}` {version} (adapter API {API_MAJOR}.{API_MINOR_MAX}), call `{call}`: {why}"
    )
}

fn delivered(event: &Event) -> types::DeliveredEvent {
    types::DeliveredEvent {
        id: event.id.to_string(),
        source: event.source().to_string(),
        type_: event.kind.clone(),
        subject: event.subject.clone(),
        time: event.time.clone(),
        received_at: event.received_at.to_string(),
        adapter: event.adapter.to_string(),
        verified: event.verified.as_str().to_owned(),
        data: event.data.clone(),
        partition_key: event.partition_key.clone(),
        extra: Vec::new(),
    }
}
