//! A component linked to the host, and where its `receive` lies.
//!
//! The generated bindings look up and check every export of an instance before they call one.
//! That is right for what runs once, and a good part of a call: so a call looks up its own export
//! alone.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use super::host::Host;
use super::v1::sluice::adapter::types;
use super::v1::{Adapter, AdapterPre};

/// What `receive` and `consume` return.
pub(super) type Returned = Result<types::Outcome, types::Rejection>;

/// A component whose imports and exports are those of the contract.
#[derive(Clone)]
pub(super) struct Linked {
    all: AdapterPre<Host>,
    receive: ComponentExportIndex,
}

impl Linked {
    /// # Errors
    ///
    /// Where an export is missing or has another type.
    pub(super) fn new(pre: InstancePre<Host>) -> wasmtime::Result<Self> {
        let receive = pre
            .component()
            .get_export_index(None, "receive")
            .ok_or_else(|| wasmtime::Error::msg("there is no export `receive`"))?;
        Ok(Self { all: AdapterPre::new(pre)?, receive })
    }

    pub(super) fn pre(&self) -> &InstancePre<Host> {
        self.all.instance_pre()
    }

    /// A fresh instance with all its exports.
    pub(super) fn instantiate(&self, store: &mut Store<Host>) -> wasmtime::Result<Adapter> {
        self.all.instantiate(store)
    }

    /// Calls `receive` in a fresh instance.
    pub(super) fn receive(&self, store: &mut Store<Host>) -> wasmtime::Result<Returned> {
        let instance = self.pre().instantiate(&mut *store)?;
        let receive = instance.get_typed_func::<(), (Returned,)>(&mut *store, &self.receive)?;
        let (returned,) = receive.call(&mut *store, ())?;
        Ok(returned)
    }
}
