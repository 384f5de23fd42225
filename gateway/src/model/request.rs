use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    AdapterName, Answer, DeliveryId, Disposition, EventId, Fact, IdempotencyKey, PluginName,
    RequestId, RouteName, StateReads, UnixMillis, VerdictRecord, Verified,
};

/// The head of an inbound request. Values that carry a secret of the route read `***`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    pub method: SmolStr,
    /// Percent-encoded, as received.
    pub path: String,
    /// Without `?`.
    pub query: Option<String>,
    /// In order of arrival, names in lower case; bytes outside UTF-8 have become U+FFFD.
    pub headers: Vec<(SmolStr, SmolStr)>,
}

/// Largest body that any route may take, in bytes. A sandbox has room for it several times over,
/// and must read it within a call's deadline.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// The HTTP request before it is believed, as an adapter may see it: its credentials masked.
#[derive(Clone, Debug)]
pub struct InboundRequest {
    pub id: RequestId,
    pub received_at: UnixMillis,
    pub client: IpAddr,
    pub head: RequestHead,
    pub body: Bytes,
    /// An adapter had parts of it masked, so that it can no longer be verified.
    pub redacted: bool,
}

/// Which component ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    pub plugin: PluginName,
    /// As its `describe` says.
    pub version: String,
    /// SHA-256 of the component file, lower-case hex.
    pub digest: String,
}

/// What a call read beyond its request: enough to run it again, and to see at commit whether it
/// still holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReads {
    /// Each `seen(key)` that was asked, with what was answered.
    pub seen: Vec<(IdempotencyKey, bool)>,
    /// Of its adapter's state.
    #[serde(skip)]
    pub state: StateReads,
    /// Of a stored request: it read more of the state than is kept, so `state` is empty and the
    /// request cannot be replayed.
    #[serde(skip)]
    pub state_not_kept: bool,
}

impl CallReads {
    /// Whether nothing was read that another call may change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.state.is_empty()
    }
}

/// One inbound request as it is stored.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    pub id: RequestId,
    pub route: RouteName,
    pub adapter: AdapterName,
    pub plugin: Arc<PluginVersion>,
    /// Number of the configuration snapshot that served it.
    pub generation: u64,
    pub received_at: UnixMillis,
    pub client: IpAddr,
    pub head: RequestHead,
    pub body: Bytes,
    /// SHA-256 of the body as received.
    pub body_sha256: [u8; 32],
    /// SHA-256 of [`Self::body`] where an adapter had parts of the request masked. Such a request
    /// is *redacted*: it replays with its recorded verdicts and is never verified again.
    pub kept_sha256: Option<[u8; 32]>,
    pub verdicts: Vec<VerdictRecord>,
    pub verified: Verified,
    pub disposition: Disposition,
    pub facts: Vec<Fact>,
    pub reads: CallReads,
    /// What the provider was (or is to be) answered.
    pub answer: Answer,
    /// For the operator: why it was quarantined.
    pub note: Option<String>,
    /// Present where an adapter consumed an event, and no request arrived: the body is the event in
    /// JSON, the route bears the adapter's name, and the client is unspecified.
    pub consumed: Option<Consumed>,
}

/// The event that a call of `consume` was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    pub event: EventId,
    pub delivery: DeliveryId,
}

impl RequestRecord {
    /// Whether parts of it were masked for an adapter.
    #[must_use]
    pub const fn is_redacted(&self) -> bool {
        self.kept_sha256.is_some()
    }
}
