//! Takes the snapshot of a configured instance, from which every call starts.
//!
//! `wasmtime-wizer` adds functions to a component that read its memories and globals, and writes a
//! component that starts with what they read. The instance in between is ours: it runs in our
//! engine, under the limits of a call.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::{Instance, Lift, WasmList};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::engine::{Runtime, chain};
use super::guard::contained;
use super::host::Host;
use super::ticker::ticks;

/// Long enough for any machine, and not for ever.
const READING_DEADLINE: Duration = Duration::from_secs(60);

/// Writes a component that starts as `instance` now is. `component`: what it was instantiated
/// from, before it was instrumented.
///
/// # Errors
///
/// A sentence about why there is no snapshot; calls can do without.
pub(super) fn snapshot(
    runtime: &Runtime,
    component: &[u8],
    store: &mut Store<Host>,
    instance: Instance,
) -> Result<Vec<u8>, String> {
    // What runs from here on is the writer's own code in the sandbox, which ends by itself.
    store.set_epoch_deadline(ticks(READING_DEADLINE));
    store.set_hostcall_fuel(runtime.limits.memory);
    let mut reader = Reader { store, instance, failed: None };
    let snapshot = contained(|| {
        let mut wizer = Wizer::new();
        // The export stays: what is snapshotted has the same shape as what is not.
        wizer.keep_init_func(true);
        let (context, _) = wizer.instrument_component(component)?;
        let taken = pin!(wizer.snapshot_component(&context, &mut reader));
        match taken.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(snapshot) => snapshot,
            // Nothing in `Reader` ever waits.
            Poll::Pending => Err(wasmtime::Error::msg("the snapshot was left waiting")),
        }
    });
    match reader.failed {
        Some(error) => Err(format!("its memory could not be read: {}", chain(&error))),
        None => snapshot,
    }
}

/// Reads an instance's state. The trait knows no failure: the first is kept aside, and the
/// snapshot that is made of what was not read is thrown away.
struct Reader<'s> {
    store: &'s mut Store<Host>,
    instance: Instance,
    failed: Option<wasmtime::Error>,
}

impl Reader<'_> {
    fn call<R: Lift + 'static>(&mut self, interface: &str, function: &str) -> Option<R> {
        if self.failed.is_some() {
            return None;
        }
        self.try_call(interface, function).map_err(|error| self.failed = Some(error)).ok()
    }

    fn try_call<R: Lift + 'static>(
        &mut self,
        interface: &str,
        function: &str,
    ) -> wasmtime::Result<R> {
        let missing = || wasmtime::Error::msg("an accessor is missing");
        let store = &mut *self.store;
        let (_, interface) =
            self.instance.get_export(&mut *store, None, interface).ok_or_else(missing)?;
        let (_, function) = self
            .instance
            .get_export(&mut *store, Some(&interface), function)
            .ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *store, function)?;
        Ok(function.call(&mut *store, ())?.0)
    }
}

impl ComponentInstanceState for Reader<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        if let Some(list) = self.call::<WasmList<u8>>(instance, func) {
            contents(list.as_le_slice(&*self.store));
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call::<f32>(instance, func).unwrap_or_default().to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call::<f64>(instance, func).unwrap_or_default().to_bits()
    }
}
