use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{AdapterName, EventId, RequestId, RouteName, UnixMillis, Verified};

/// How far an idempotency key reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyScope {
    Route,
    Adapter,
}

/// What makes a provider's redelivery the same event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// 1 to 256 bytes.
    pub value: String,
    pub scope: KeyScope,
    /// Seconds, counted between the arrivals of the two requests; from 1 to 400 days' worth.
    pub window_seconds: u64,
}

/// The immutable, normalised record of something that happened; a `CloudEvent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    /// The inbound request that brought it.
    pub request: RequestId,
    /// The adapter's name where it was made while consuming.
    pub route: RouteName,
    /// `CloudEvents` type.
    #[serde(rename = "type")]
    pub kind: String,
    pub subject: Option<String>,
    /// RFC 3339 in UTC: when it happened at the provider.
    pub time: Option<String>,
    /// Name and version of the adapter, as `ottu/1.0.0`.
    pub adapter: SmolStr,
    pub adapter_name: AdapterName,
    pub received_at: UnixMillis,
    pub verified: Verified,
    pub idempotency_key: Option<String>,
    pub partition_key: Option<String>,
    /// URI of the JSON Schema of `data`.
    pub data_schema: Option<SmolStr>,
    /// The request that was replayed, where this event comes from a replay.
    pub replay_of: Option<RequestId>,
    /// How many adapters consumed on the way to it: 0 where a request brought it, one more than the
    /// consumed event has otherwise.
    #[serde(default)]
    pub hops: u8,
    /// One JSON object, exactly as the adapter wrote it.
    pub data: String,
}

/// Hops that an event may have behind it and none more: longer chains of adapters are mistakes.
pub const HOPS_MAX: u8 = 4;

impl Event {
    /// `CloudEvents` source: the route that brought it, or the adapter that made it of another event.
    #[must_use]
    pub fn source(&self) -> impl fmt::Display {
        let of = if self.hops == 0 { "routes" } else { "adapters" };
        fmt::from_fn(move |f| write!(f, "/{of}/{}", self.route))
    }
}

/// An event on its way into storage, with what storage decides by.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub event: Event,
    pub key: Option<IdempotencyKey>,
    /// Where it is to be delivered.
    pub destinations: Vec<super::DestinationName>,
}

/// A labelled value that an adapter records about a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    pub value: String,
}
