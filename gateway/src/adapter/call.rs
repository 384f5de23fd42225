//! One call: a fresh instance, every limit, exactly one of four ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::{Store, Trap};

use super::engine::chain;
use super::host::{Exported, Host, Subject, store};
use super::inspect::{API_MAJOR, API_MINOR_MAX};
use super::text::tame;
use super::v1::sluice::adapter::types;
use super::{Adapter, CallEnd, End, OtherCall, ReceiveCall, ViewEnd, outcome, v1};
use crate::model::{Event, PluginVersion};
use crate::telemetry::Happening as _;
use crate::telemetry::adapter::CallPanicked;

/// Text of a guest in a trap's message, in bytes.
const GUEST_TEXT_BYTES_MAX: usize = 256;

/// Longest answer of a view, in bytes.
const VIEW_BYTES_MAX: usize = 1 << 20;

/// A call that returned nothing.
#[derive(Debug)]
pub(super) enum Broken {
    Trap(String),
    Deadline,
}

/// Runs guest code. Whatever happens in it, and a panic in our own host functions, comes back as
/// an error; the store is not to be entered again after one.
pub(super) fn guarded<R>(
    store: &mut Store<Host>,
    run: impl FnOnce(&mut Store<Host>) -> wasmtime::Result<R>,
) -> Result<R, Broken> {
    // The store is only read and dropped after a panic.
    let Ok(ran) = catch_unwind(AssertUnwindSafe(|| run(store))) else {
        let host = store.data();
        CallPanicked { plugin: &host.shared.version, call: host.exported().as_str() }.emit();
        return Err(Broken::Trap("the gateway's own code failed".to_owned()));
    };
    ran.map_err(|error| {
        if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            return Broken::Deadline;
        }
        let mut message = tame(&chain(&error), GUEST_TEXT_BYTES_MAX);
        if store.data().space.refused {
            // The trap itself tells only of what the guest did next.
            message.push_str("; it had been refused more memory");
        }
        Broken::Trap(message)
    })
}

/// Runs a library on untrusted bytes; its panic is an error like its errors.
pub(super) fn contained<R>(run: impl FnOnce() -> wasmtime::Result<R>) -> Result<R, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(ran) => ran.map_err(|error| chain(&error)),
        Err(_) => Err("it makes the snapshot's writer panic".to_owned()),
    }
}

type Returned = Result<types::Outcome, types::Rejection>;

impl Adapter {
    pub(super) fn run_receive(&self, call: ReceiveCall) -> CallEnd {
        self.run(Subject::Receive(call), |adapter, store| adapter.call_receive(store))
    }

    /// Gives the adapter one event of another, in a fresh instance on the calling thread. There
    /// is no inbound request and no secret: who asks for one traps.
    pub fn consume(&self, call: OtherCall, event: &Event) -> CallEnd {
        let event = delivered(event);
        self.run(Subject::Other(Exported::Consume, call), |adapter, store| {
            adapter.call_consume(store, &event)
        })
    }

    /// Asks the adapter one of its views. `parameters`: a JSON object.
    pub fn view(&self, call: OtherCall, name: &str, parameters: &str) -> ViewEnd {
        let (host, ran) = self.enter(Subject::Other(Exported::View, call), |adapter, store| {
            adapter.call_view(store, name, parameters)
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
            Err(Broken::Trap(why)) => trap(&why),
            Err(Broken::Deadline) => ViewEnd::Deadline,
        }
    }

    fn run(
        &self,
        subject: Subject,
        call: impl FnOnce(&v1::Adapter, &mut Store<Host>) -> wasmtime::Result<Returned>,
    ) -> CallEnd {
        let (host, ran) = self.enter(subject, call);
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
            Err(Broken::Trap(why)) => trap(&why),
            Err(Broken::Deadline) => End::Deadline,
        };
        CallEnd { end, verdicts: host.verdicts, reads: host.reads }
    }

    fn enter<R>(
        &self,
        subject: Subject,
        call: impl FnOnce(&v1::Adapter, &mut Store<Host>) -> wasmtime::Result<R>,
    ) -> (Host, Result<R, Broken>) {
        let _permit = self.runtime.enter();
        let mut store = store(&self.runtime, &self.shared, subject);
        let ran = guarded(&mut store, |store| {
            let adapter = self.start.instantiate(store)?;
            call(&adapter, store)
        });
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
        source: format!("/routes/{}", event.route),
        type_: event.kind.clone(),
        subject: event.subject.clone(),
        time: event.time.clone(),
        received_at: event.received_at.to_string(),
        adapter: event.adapter.clone(),
        verified: event.verified.as_str().to_owned(),
        data: event.data.clone(),
        partition_key: event.partition_key.clone(),
        extra: Vec::new(),
    }
}
