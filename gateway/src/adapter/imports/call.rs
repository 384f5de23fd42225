//! `call`: time and identity, and whether a key is known.

use std::sync::Arc;

use crate::adapter::host::{Breach, Host, Subject};
use crate::adapter::outcome;
use crate::adapter::v1::sluice::adapter::call;

impl call::Host for Host {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(match self.asked("call.now")? {
            Subject::Receive(call) => call.inbound.received_at.0,
            Subject::Other(_, call) => call.now.0,
            Subject::Loading(_) => 0,
        })
    }

    fn id(&mut self) -> wasmtime::Result<String> {
        Ok(match self.asked("call.id")? {
            Subject::Receive(call) => call.inbound.id.to_string(),
            Subject::Other(_, call) => call.id.to_string(),
            Subject::Loading(_) => String::new(),
        })
    }

    fn kind(&mut self) -> wasmtime::Result<String> {
        self.asked("call.kind")?;
        Ok(self.exported().as_str().to_owned())
    }

    fn cause(&mut self) -> wasmtime::Result<String> {
        Ok(match self.asked("call.cause")? {
            Subject::Receive(call) => call.cause.as_str().to_owned(),
            Subject::Other(_, call) => call.cause.as_str().to_owned(),
            Subject::Loading(_) => String::new(),
        })
    }

    fn route(&mut self) -> wasmtime::Result<String> {
        Ok(match self.asked("call.route")? {
            Subject::Receive(call) => call.route.as_str().to_owned(),
            Subject::Other(_, call) => call.adapter.as_str().to_owned(),
            Subject::Loading(_) => String::new(),
        })
    }

    fn seen(&mut self, key: call::IdempotencyKey) -> wasmtime::Result<bool> {
        let seen = match self.asked("call.seen")? {
            Subject::Receive(call) => Arc::clone(&call.seen),
            Subject::Other(_, call) => Arc::clone(&call.seen),
            Subject::Loading(_) => return Ok(false),
        };
        let key =
            outcome::key(key).map_err(|error| Breach::error(format!("call.seen: {error}")))?;
        // Within one call the answer stays: that is what makes the call repeatable.
        if let Some((_, known)) = self.reads.seen.iter().find(|(asked, _)| *asked == key) {
            return Ok(*known);
        }
        self.may_ask_seen()?;
        let known = seen.seen(&key).ok_or_else(|| {
            Breach::error("call.seen: the store could not be read (no fault of the plugin)")
        })?;
        self.reads.seen.push((key, known));
        Ok(known)
    }
}
