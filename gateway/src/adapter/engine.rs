//! The engine: one per process, with its pool of instances and its ticker.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig, Store};

use super::SandboxLimits;
use super::budget::{Budget, FIRST_LOOK};
use super::host::{
    CORE_INSTANCES, Host, MEMORIES, Shared, Subject, TABLE_ELEMENTS, TABLES, call_memory,
};
use super::ticker::Ticker;
use super::v1;
use crate::model::BODY_BYTES_MAX;

/// Stack of one call, in bytes: three hundred times what a JSON-parsing guest was seen to use, and
/// small beside the stack of the thread that it runs on.
const WASM_STACK: usize = 256 << 10;

/// Linear memory that a finished call leaves in its slot for the next, in bytes. More than the
/// bundled adapters touch; what lies beyond is given back to the system.
const KEEP_RESIDENT: usize = 2 << 20;

/// The same for tables. The largest table admitted ([`TABLE_ELEMENTS`]) takes 80 KB.
const TABLE_KEEP_RESIDENT: usize = 80 << 10;

/// Instances beside the calls in flight: `describe` and `configure` of a component that is being
/// loaded, and one to spare for a reload that overlaps.
const LOADING: usize = 2;

/// Memory slots that may wait for the component they last served. Each keeps what that component
/// touched, so this times [`KEEP_RESIDENT`] bounds what idle adapters hold: 24 MiB at worst.
const WARM_SLOTS: u32 = 12;

/// What the host copies for the guest in one host call, beyond twice the body.
const HOSTCALL_FUEL_BASE: usize = 256 << 10;

/// The same for what has no body: descriptions (1 MiB at most), settings' problems, views.
const HOSTCALL_FUEL_BODILESS: usize = 2 << 20;

/// How many times a call's deadline `describe` and `configure` have. They run off the request
/// path, once, and on a busy machine: a start or a reload must not fail for a moment's load.
const LOADING_DEADLINES: u32 = 10;

/// What calls run on. Adapters hold it too, so that the ticker outlives every one of them.
pub(super) struct Runtime {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Host>,
    pub(super) limits: SandboxLimits,
    gate: Gate,
    _ticker: Ticker,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Runtime {
    pub(super) fn new(limits: SandboxLimits) -> anyhow::Result<Self> {
        let slots = limits.calls_in_flight_max.max(1).saturating_add(LOADING);
        let engine = match Engine::new(&config(&limits, slots)) {
            Ok(engine) => engine,
            Err(error) => {
                return Err(anyhow::anyhow!(
                    "the sandbox engine does not start: {}",
                    chain(&error)
                ));
            }
        };
        let mut linker = Linker::new(&engine);
        v1::Adapter::add_to_linker::<_, HasSelf<Host>>(&mut linker, |host| host)
            .map_err(|error| anyhow::anyhow!("the sandbox does not link: {}", chain(&error)))?;
        let ticker = Ticker::start(engine.clone())?;
        Ok(Self { engine, linker, limits, gate: Gate::new(slots), _ticker: ticker })
    }

    /// Waits for a free slot of the pool. The wait is bounded by the deadline of the calls that
    /// hold them all.
    pub(super) fn enter(&self) -> Permit<'_> {
        self.gate.enter()
    }

    /// A store for one call, with every limit set: it may be instantiated into.
    pub(super) fn store(&self, shared: &Arc<Shared>, subject: Subject) -> Store<Host> {
        let limits = &self.limits;
        let (fuel, deadline) = match &subject {
            Subject::Receive(call) => (
                call.body_max.saturating_mul(2).saturating_add(HOSTCALL_FUEL_BASE),
                limits.deadline,
            ),
            Subject::Other(..) => (HOSTCALL_FUEL_BODILESS, limits.deadline),
            Subject::Loading(_) => {
                (HOSTCALL_FUEL_BODILESS, limits.deadline.saturating_mul(LOADING_DEADLINES))
            }
        };
        let host = Host::new(Arc::clone(shared), subject, limits.memory, Budget::new(deadline));
        let mut store = Store::new(&self.engine, host);
        store.limiter(|host| &mut host.space);
        store.set_epoch_deadline(FIRST_LOOK);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().budget.look()));
        store.set_hostcall_fuel(fuel);
        // The contract has no resources.
        store.set_max_component_handles(0);
        store
    }
}

/// An error of the engine with all its causes, as one text.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ")
}

fn config(limits: &SandboxLimits, slots: usize) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        // Guests are stripped: a backtrace of unnamed functions would cost time on every trap and
        // tell nobody anything.
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .generate_address_map(false)
        // Determinism: one bit pattern for every NaN, no instruction that machines may answer
        // differently.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Not needed by any guest, and so not there to be attacked. Threads, garbage collection
        // and exceptions are not even compiled in.
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .shared_memory(false)
        .concurrency_support(false)
        // A call starts from pages shared with every other until it writes to them.
        .memory_init_cow(true)
        .memory_may_move(false)
        .allocation_strategy(pool(limits, slots));
    config
}

fn pool(limits: &SandboxLimits, slots: usize) -> PoolingAllocationConfig {
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES))
        // Address space only: a slot takes memory when a guest writes to it.
        .total_memories(slots.saturating_mul(MEMORIES))
        .total_tables(slots.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memories_per_module(1)
        .max_tables_per_module(2)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(call_memory(limits.memory, BODY_BYTES_MAX))
        .max_unused_warm_slots(WARM_SLOTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        // Linux 6.7 and later can say which pages were written; elsewhere all that are kept
        // resident are cleared.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Counts slots of the pool, so that a call waits for one rather than fail.
struct Gate {
    slots: Mutex<Slots>,
    freed: Condvar,
}

struct Slots {
    free: usize,
    /// Calls that wait: waking nobody would still be a system call, and there mostly is nobody.
    waiting: usize,
}

/// One slot, until it is dropped.
pub(super) struct Permit<'g>(&'g Gate);

impl Gate {
    const fn new(slots: usize) -> Self {
        Self { slots: Mutex::new(Slots { free: slots, waiting: 0 }), freed: Condvar::new() }
    }

    fn enter(&self) -> Permit<'_> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.free == 0 {
            slots.waiting += 1;
            slots = self
                .freed
                .wait_while(slots, |slots| slots.free == 0)
                .unwrap_or_else(PoisonError::into_inner);
            slots.waiting -= 1;
        }
        slots.free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free += 1;
        if slots.waiting > 0 {
            self.0.freed.notify_one();
        }
    }
}
