//! The vocabulary of the gateway: what a webhook is called at each step of its life.
//!
//! Nothing here does I/O, reads a clock or knows HTTP, SQL or WebAssembly. Every other module may
//! use this one; this one uses none of them.

mod answer;
mod clock;
mod delivery;
mod event;
mod fault;
mod id;
mod name;
mod request;
mod state;
mod switch;
mod travels;
mod verdict;

pub use answer::{Answer, Rejection};
pub use clock::{Clock, ManualClock, SystemClock, UnixMillis};
pub use delivery::{
    AttemptOutcome, AttemptRecord, DeadLetterReason, DeliveryState, LeasedDelivery,
};
pub use event::{Event, Fact, HOPS_MAX, IdempotencyKey, KeyScope, NewEvent};
pub use fault::{Diagnosis, Disposition};
pub use id::{DeliveryId, EventId, RequestId};
pub use name::{
    AdapterName, DestinationName, ListenerName, NameError, PluginName, RouteName, SecretName,
};
pub use request::{
    BODY_BYTES_MAX, CallReads, Consumed, InboundRequest, PluginVersion, RequestHead, RequestRecord,
};
pub use state::{
    STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, Scanned, StateEntry, StatePut, StateRange,
    StateReads, StateVersion, StateWrite, is_live, next_key,
};
pub use switch::RouteSwitch;
pub use travels::Travels;
pub use verdict::{Found, KeyedDigest, Proof, VerdictRecord, Verified};
