//! `state`: no adapter is granted it yet, and each is told so.

use crate::adapter::host::Host;
use crate::adapter::v1::sluice::adapter::state::{self, Entry, Refusal};

impl Host {
    fn not_granted<T>(&mut self, import: &str) -> wasmtime::Result<Result<T, Refusal>> {
        self.asked(import)?;
        Ok(Err(Refusal {
            code: "not_granted".to_owned(),
            detail: "this gateway grants no adapter state".to_owned(),
            extra: Vec::new(),
        }))
    }
}

impl state::Host for Host {
    fn get(&mut self, _key: Vec<u8>) -> wasmtime::Result<Result<Option<Entry>, Refusal>> {
        self.not_granted("state.get")
    }

    fn put(
        &mut self,
        _key: Vec<u8>,
        _value: Vec<u8>,
        _expires_at: Option<u64>,
    ) -> wasmtime::Result<Result<(), Refusal>> {
        self.not_granted("state.put")
    }

    fn delete(&mut self, _key: Vec<u8>) -> wasmtime::Result<Result<(), Refusal>> {
        self.not_granted("state.delete")
    }

    fn scan(
        &mut self,
        _start: Vec<u8>,
        _end: Option<Vec<u8>>,
        _limit: u32,
        _reverse: bool,
    ) -> wasmtime::Result<Result<Vec<Entry>, Refusal>> {
        self.not_granted("state.scan")
    }
}
