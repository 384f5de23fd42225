//! `state`: the adapter's own entries. What is written is held back until the call is committed.

use crate::adapter::host::{Breach, Exported, Host, Subject};
use crate::adapter::state::{Asked, CallState, Reading, Stop};
use crate::adapter::v1::sluice::adapter::state::{self, Entry, Refusal};
use crate::adapter::{StateReader, Unread};
use crate::model::{StateEntry, UnixMillis};

impl Host {
    /// Asks for something of the state, where the call has any.
    fn state<T>(
        &mut self,
        import: &str,
        ask: impl FnOnce(&mut CallState, Reading<'_>) -> Result<T, Stop>,
    ) -> wasmtime::Result<Result<T, Refusal>> {
        let (source, now) = match self.asked(import)? {
            Subject::Receive(call) => (call.state.clone(), call.inbound.received_at),
            Subject::Other(_, call) => (call.state.clone(), call.now),
            Subject::Loading(_) => (None, UnixMillis::default()),
        };
        let Some(source) = source else {
            let detail = "the adapter was granted no state: `describe` says no `state_version`";
            return Ok(Err(refusal("not_granted", detail.to_owned())));
        };
        let source: &dyn StateReader = &*source;
        let reading = Reading { source, reads: &mut self.reads.state, now };
        match ask(&mut self.state, reading) {
            Ok(done) => Ok(Ok(done)),
            Err(Stop::Refused(refused)) => Ok(Err(refusal(refused.code, refused.detail))),
            Err(Stop::Unread(Unread::Store)) => Err(Breach::error(format!(
                "{import}: the store could not be read (no fault of the plugin)"
            ))),
            Err(Stop::Unread(Unread::NotRecorded)) => Err(Breach::error(format!(
                "{import}: reads what the record of the request does not hold"
            ))),
        }
    }

    fn change(
        &mut self,
        import: &str,
        change: impl FnOnce(&mut CallState) -> Result<(), Stop>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        let read_only = self.exported() == Exported::View;
        let changed = self
            .state(import, |state, _| if read_only { Ok(None) } else { change(state).map(Some) })?;
        Ok(match changed {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(refusal("read_only", "a view writes no state".to_owned())),
            Err(refusal) => Err(refusal),
        })
    }
}

fn refusal(code: &str, detail: String) -> Refusal {
    Refusal { code: code.to_owned(), detail, extra: Vec::new() }
}

fn entry(entry: StateEntry) -> Entry {
    Entry {
        key: entry.key,
        value: entry.value,
        expires_at: entry.expires_at.map(|at| at.0),
        extra: Vec::new(),
    }
}

impl state::Host for Host {
    fn get(&mut self, key: Vec<u8>) -> wasmtime::Result<Result<Option<Entry>, Refusal>> {
        let found = self.state("state.get", |state, reading| state.get(reading, &key))?;
        Ok(found.map(|found| found.map(entry)))
    }

    fn put(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
        expires_at: Option<u64>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.change("state.put", |state| state.put(key, value, expires_at.map(UnixMillis)))
    }

    fn delete(&mut self, key: Vec<u8>) -> wasmtime::Result<Result<(), Refusal>> {
        self.change("state.delete", |state| state.delete(key))
    }

    fn scan(
        &mut self,
        start: Vec<u8>,
        end: Option<Vec<u8>>,
        limit: u32,
        reverse: bool,
    ) -> wasmtime::Result<Result<Vec<Entry>, Refusal>> {
        let asked = Asked { start, end, limit, reverse };
        let found = self.state("state.scan", |state, reading| state.scan(reading, asked))?;
        Ok(found.map(|found| found.into_iter().map(entry).collect()))
    }
}
