//! The JSON of the API, apart from the types inside, so that neither binds the other.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::refused::{RefusedRequest, RefusedSummary};
use crate::model::{
    AdapterName, Answer, Consumed, DeliveryId, DeliveryState, DestinationName, Diagnosis,
    Disposition, Event, EventId, Fact, Found, IdempotencyKey, PluginVersion, Proof, RequestHead,
    RequestId, RouteName, UnixMillis, VerdictRecord, Verified,
};
use crate::storage::{RequestSummary, StoredAttempt, StoredDelivery, StoredEvent, StoredRequest};

/// One page of requests, newest first.
#[derive(Debug, Serialize)]
pub(super) struct RequestPage {
    pub(super) requests: Vec<RequestItem>,
    /// Given as `before`, it asks for the next page; null on the last.
    pub(super) next: Option<RequestId>,
}

/// One row of the list. What a refused request does not have is absent.
#[derive(Debug, Serialize)]
pub(super) struct RequestItem {
    pub(super) id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<RouteName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<AdapterName>,
    #[serde(serialize_with = "rfc3339")]
    received_at: UnixMillis,
    disposition: Disposition,
    status: u16,
    body_bytes: u64,
    events: u32,
    facts: Vec<Fact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
}

impl From<RequestSummary> for RequestItem {
    fn from(stored: RequestSummary) -> Self {
        Self {
            id: stored.id,
            route: Some(stored.route),
            adapter: Some(stored.adapter),
            received_at: stored.received_at,
            disposition: stored.disposition,
            status: stored.status,
            body_bytes: stored.body_bytes,
            events: stored.events,
            facts: stored.facts,
            diagnosis: None,
        }
    }
}

impl From<RefusedSummary> for RequestItem {
    fn from(refused: RefusedSummary) -> Self {
        Self {
            id: refused.id,
            route: refused.route,
            adapter: None,
            received_at: refused.received_at,
            disposition: Disposition::Rejected,
            status: refused.status,
            body_bytes: refused.body_bytes,
            events: 0,
            facts: Vec::new(),
            diagnosis: Some(refused.diagnosis),
        }
    }
}

/// One request with its whole story. What a refused request does not have is absent.
#[derive(Debug, Serialize)]
pub(super) struct RequestView {
    id: RequestId,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<RouteName>,
    #[serde(serialize_with = "rfc3339")]
    received_at: UnixMillis,
    client: std::net::IpAddr,
    disposition: Disposition,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
    /// For the operator: why it was refused or quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<RequestHead>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<BodyView>,
    /// The adapter had parts of query or body masked: it can be replayed, but not verified again.
    redacted: bool,
    verdicts: Vec<VerdictView>,
    #[serde(flatten)]
    stored: Option<StoredView>,
    events: Vec<EventView>,
}

/// What only a stored request has.
#[derive(Debug, Serialize)]
struct StoredView {
    adapter: AdapterName,
    plugin: PluginVersion,
    generation: u64,
    verified: Verified,
    /// Of the body as received.
    body_sha256: String,
    /// Whether the body still is what was stored.
    intact: bool,
    facts: Vec<Fact>,
    answer: AnswerView,
    /// What the call asked of the store, and was told.
    seen: Vec<SeenView>,
    /// The event that an adapter consumed, where that is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed: Option<Consumed>,
}

#[derive(Debug, Serialize)]
struct SeenView {
    key: IdempotencyKey,
    seen: bool,
}

/// Bytes as text where they are text, else in base64.
#[derive(Debug, Serialize)]
struct BodyView {
    bytes: usize,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Text(String),
    Base64(String),
}

impl From<&[u8]> for BodyView {
    fn from(body: &[u8]) -> Self {
        let content = match std::str::from_utf8(body) {
            Ok(text) => Content::Text(text.to_owned()),
            Err(_) => Content::Base64(STANDARD.encode(body)),
        };
        Self { bytes: body.len(), content }
    }
}

#[derive(Debug, Serialize)]
struct AnswerView {
    status: u16,
    headers: Vec<(SmolStr, SmolStr)>,
    body: BodyView,
}

impl From<Answer> for AnswerView {
    fn from(answer: Answer) -> Self {
        let body = BodyView::from(&*answer.body);
        Self { status: answer.status, headers: answer.headers, body }
    }
}

/// A verdict, without the keyed digest of what was presented: that is of use to the gateway alone.
#[derive(Debug, Serialize)]
struct VerdictView {
    role: SmolStr,
    proof: Proof,
    found: Found,
}

impl From<VerdictRecord> for VerdictView {
    fn from(verdict: VerdictRecord) -> Self {
        Self { role: verdict.role, proof: verdict.proof, found: verdict.found }
    }
}

#[derive(Debug, Serialize)]
struct EventView {
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    adapter: SmolStr,
    verified: Verified,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_schema: Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay_of: Option<RequestId>,
    /// Whether it still has the SHA-256 that was stored with it.
    intact: bool,
    data: DataView,
    deliveries: Vec<DeliveryView>,
}

/// Data as the adapter wrote it; as a text where damage made it something else than JSON.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum DataView {
    Json(Box<RawValue>),
    Damaged(String),
}

impl From<String> for DataView {
    fn from(data: String) -> Self {
        match serde_json::from_str::<&RawValue>(&data) {
            Ok(json) => Self::Json(json.to_owned()),
            Err(_) => Self::Damaged(data),
        }
    }
}

#[derive(Debug, Serialize)]
struct DeliveryView {
    id: DeliveryId,
    destination: DestinationName,
    state: DeliveryState,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "rfc3339_some")]
    due_at: Option<UnixMillis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    attempts: Vec<AttemptView>,
}

#[derive(Debug, Serialize)]
struct AttemptView {
    number: u32,
    #[serde(serialize_with = "rfc3339")]
    at: UnixMillis,
    took_ms: u64,
    #[serde(flatten)]
    outcome: crate::model::AttemptOutcome,
}

impl From<StoredEvent> for EventView {
    fn from(stored: StoredEvent) -> Self {
        let StoredEvent { event, intact, deliveries } = stored;
        let Event { id, kind, subject, time, adapter, verified, .. } = event;
        Self {
            id,
            kind,
            subject,
            time,
            adapter,
            verified,
            idempotency_key: event.idempotency_key,
            partition_key: event.partition_key,
            data_schema: event.data_schema,
            replay_of: event.replay_of,
            intact,
            data: DataView::from(event.data),
            deliveries: deliveries.into_iter().map(DeliveryView::from).collect(),
        }
    }
}

impl From<StoredDelivery> for DeliveryView {
    fn from(stored: StoredDelivery) -> Self {
        Self {
            id: stored.delivery,
            destination: stored.destination,
            state: stored.state,
            due_at: stored.due_at,
            reason: stored.reason,
            attempts: stored.attempts.into_iter().map(AttemptView::from).collect(),
        }
    }
}

impl From<StoredAttempt> for AttemptView {
    fn from(stored: StoredAttempt) -> Self {
        let StoredAttempt { number, at, took_ms, outcome } = stored;
        Self { number, at, took_ms, outcome }
    }
}

impl From<StoredRequest> for RequestView {
    fn from(stored: StoredRequest) -> Self {
        let StoredRequest { record, intact, events } = stored;
        let redacted = record.is_redacted();
        let seen = record.reads.seen.into_iter().map(|(key, seen)| SeenView { key, seen });
        Self {
            id: record.id,
            route: Some(record.route),
            received_at: record.received_at,
            client: record.client,
            disposition: record.disposition,
            status: record.answer.status,
            diagnosis: None,
            note: record.note,
            head: Some(record.head),
            redacted,
            body: Some(BodyView::from(&*record.body)),
            verdicts: record.verdicts.into_iter().map(VerdictView::from).collect(),
            stored: Some(StoredView {
                adapter: record.adapter,
                plugin: Arc::unwrap_or_clone(record.plugin),
                generation: record.generation,
                verified: record.verified,
                body_sha256: hex::encode(record.body_sha256),
                intact,
                facts: record.facts,
                answer: AnswerView::from(record.answer),
                seen: seen.collect(),
                consumed: record.consumed,
            }),
            events: events.into_iter().map(EventView::from).collect(),
        }
    }
}

impl From<RefusedRequest> for RequestView {
    fn from(refused: RefusedRequest) -> Self {
        let RefusedSummary { id, route, received_at, status, diagnosis, .. } = refused.summary;
        Self {
            id,
            route,
            received_at,
            client: refused.client,
            disposition: Disposition::Rejected,
            status,
            diagnosis: Some(diagnosis),
            note: Some(refused.detail).filter(|detail| !detail.is_empty()),
            head: refused.head,
            body: refused.body.map(|body| BodyView::from(&*body)),
            redacted: refused.redacted,
            verdicts: refused.verdicts.into_iter().map(VerdictView::from).collect(),
            stored: None,
            events: Vec::new(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(super) fn rfc3339<S: Serializer>(time: &UnixMillis, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
fn rfc3339_some<S: Serializer>(time: &Option<UnixMillis>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(time),
        None => to.serialize_none(),
    }
}
