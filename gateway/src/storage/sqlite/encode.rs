//! Between the model and what columns hold. All of it runs on the caller's thread, never the
//! writer's.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

use super::columns::array;
use super::probe::KeyProbe;
use super::reads;
use super::shared::Shared;
use super::state_change::PreparedState;
use crate::model::{
    AdapterName, Answer, AttemptRecord, CallReads, Consumed, DestinationName, Disposition, Event,
    EventId, Fact, IdempotencyKey, PluginVersion, RequestHead, RequestId, RequestRecord, RouteName,
    StateReads, UnixMillis, VerdictRecord, Verified,
};
use crate::storage::{Commit, LaneId, StorageError};

/// Deliveries that one event may have: far above any configuration, and keeps counts in range.
const DESTINATIONS_PER_EVENT_MAX: usize = 4_096;

/// Room that a text of JSON has from the beginning, in bytes: the record of a usual request fits.
const JSON_BYTES: usize = 1 << 10;

/// A commit with everything computed that can be computed before its turn.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: RequestId,
    pub(super) route: RouteName,
    pub(super) adapter: AdapterName,
    pub(super) received_at: UnixMillis,
    pub(super) disposition: Disposition,
    pub(super) body_sha256: [u8; 32],
    pub(super) body: Bytes,
    pub(super) answer: Answer,
    pub(super) answer_json: String,
    pub(super) record_json: String,
    pub(super) duplicate_answer: Option<Answer>,
    pub(super) reads: Vec<(KeyProbe, bool)>,
    pub(super) state_reads: Option<Vec<u8>>,
    pub(super) state: Option<PreparedState>,
    pub(super) lane: Option<LaneId>,
    pub(super) events: Vec<PreparedEvent>,
    /// The attempt at a delivery that the call was, recorded with what it leaves or not at all.
    pub(super) attempt: Option<AttemptRecord>,
}

#[derive(Debug)]
pub(super) struct PreparedEvent {
    pub(super) key: Option<KeyProbe>,
    pub(super) sha256: [u8; 32],
    pub(super) json: String,
    pub(super) event: Arc<Event>,
    /// Without repetitions.
    pub(super) destinations: Vec<DestinationName>,
}

impl PreparedEvent {
    /// What it takes in memory, nearly.
    pub(super) fn bytes(&self) -> usize {
        self.json.len() + self.event.data.len()
    }
}

/// Does all work of a commit that needs no storage.
pub(super) fn prepare(
    commit: Commit,
    attempt: Option<AttemptRecord>,
    shared: &Shared,
) -> Result<Prepared, StorageError> {
    let Commit { request, events, duplicate_answer, state, lane } = commit;
    let salt = shared.salt()?;
    let route = request.consumed.is_none().then_some(&request.route);
    let adapter = &request.adapter;
    let probe = |key: &IdempotencyKey| KeyProbe::new(salt, key, route, adapter);
    let reads = request.reads.seen.iter().map(|(key, seen)| (probe(key), *seen)).collect();
    // What is quarantined holds no key and brings no event, whatever else was handed in.
    let quarantined = request.disposition == Disposition::Quarantined;
    let events = if quarantined { Vec::new() } else { events };
    let state = match state {
        Some(mut change) => {
            if quarantined {
                change.writes.clear();
            }
            shared.namespace(&request.adapter, change.version)?;
            PreparedState::new(&request.reads.state, change)
        }
        None if request.reads.state.is_empty() => None,
        None => return Err(failed("a call read state that it was not granted")),
    };
    let events = events
        .into_iter()
        .map(|new| {
            let json = json(&EventRow::from(&new.event))?;
            let mut destinations: Vec<DestinationName> = Vec::with_capacity(new.destinations.len());
            for destination in new.destinations {
                if !destinations.contains(&destination) {
                    destinations.push(destination);
                }
            }
            if destinations.len() > DESTINATIONS_PER_EVENT_MAX {
                return Err(failed("an event has too many destinations"));
            }
            Ok(PreparedEvent {
                key: new.key.as_ref().map(probe),
                sha256: event_sha256(&json, &new.event.data),
                json,
                event: Arc::new(new.event),
                destinations,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Prepared {
        id: request.id,
        received_at: request.received_at,
        disposition: request.disposition,
        body_sha256: request.body_sha256,
        answer_json: json(&request.answer)?,
        record_json: json(&RecordRow::from(&request))?,
        duplicate_answer,
        reads,
        state_reads: reads::pack(&request.reads.state)?,
        state,
        lane,
        events,
        attempt,
        route: request.route,
        adapter: request.adapter,
        body: request.body,
        answer: request.answer,
    })
}

/// `requests.record`.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordRow<'a> {
    pub(super) adapter: Cow<'a, AdapterName>,
    plugin: Cow<'a, PluginVersion>,
    generation: u64,
    client: IpAddr,
    head: Cow<'a, RequestHead>,
    verdicts: Cow<'a, [VerdictRecord]>,
    verified: Verified,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub(super) facts: Cow<'a, [Fact]>,
    #[serde(default, skip_serializing_if = "is_unread")]
    reads: Cow<'a, CallReads>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<Cow<'a, str>>,
    /// 64 hexadecimal digits; present where the request is redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_sha256: Option<Sha256>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consumed: Option<Consumed>,
}

/// A SHA-256, written in hexadecimal.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Sha256([u8; 32]);

impl From<Sha256> for String {
    fn from(sha256: Sha256) -> Self {
        hex::encode(sha256.0)
    }
}

impl TryFrom<String> for Sha256 {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(text, &mut sha256)?;
        Ok(Self(sha256))
    }
}

fn is_empty(facts: &[Fact]) -> bool {
    facts.is_empty()
}

fn is_unread(reads: &CallReads) -> bool {
    reads.seen.is_empty()
}

impl<'a> From<&'a RequestRecord> for RecordRow<'a> {
    fn from(record: &'a RequestRecord) -> Self {
        Self {
            adapter: Cow::Borrowed(&record.adapter),
            plugin: Cow::Borrowed(&record.plugin),
            generation: record.generation,
            client: record.client,
            head: Cow::Borrowed(&record.head),
            verdicts: Cow::Borrowed(&record.verdicts),
            verified: record.verified,
            facts: Cow::Borrowed(&record.facts),
            reads: Cow::Borrowed(&record.reads),
            note: record.note.as_deref().map(Cow::Borrowed),
            kept_sha256: record.kept_sha256.map(Sha256),
            consumed: record.consumed,
        }
    }
}

/// The columns of a request that are not in its [`RecordRow`].
#[derive(Debug)]
pub(super) struct RequestColumns {
    pub(super) id: RequestId,
    pub(super) route: RouteName,
    pub(super) received_at: UnixMillis,
    pub(super) disposition: Disposition,
    pub(super) body_sha256: [u8; 32],
    pub(super) answer: Answer,
    pub(super) body: Bytes,
    /// Absent where they were not kept.
    pub(super) state_reads: Option<StateReads>,
}

impl RecordRow<'_> {
    pub(super) fn into_record(self, columns: RequestColumns) -> RequestRecord {
        let mut reads = self.reads.into_owned();
        reads.state_not_kept = columns.state_reads.is_none();
        reads.state = columns.state_reads.unwrap_or_default();
        RequestRecord {
            id: columns.id,
            route: columns.route,
            adapter: self.adapter.into_owned(),
            plugin: Arc::new(self.plugin.into_owned()),
            generation: self.generation,
            received_at: columns.received_at,
            client: self.client,
            head: self.head.into_owned(),
            body: columns.body,
            body_sha256: columns.body_sha256,
            verdicts: self.verdicts.into_owned(),
            verified: self.verified,
            disposition: columns.disposition,
            facts: self.facts.into_owned(),
            reads,
            answer: columns.answer,
            note: self.note.map(Cow::into_owned),
            kept_sha256: self.kept_sha256.map(|sha256| sha256.0),
            consumed: self.consumed,
        }
    }
}

/// `events.event`: an event without its data.
#[derive(Serialize, Deserialize)]
struct EventRow<'a> {
    id: EventId,
    request: RequestId,
    route: Cow<'a, RouteName>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<Cow<'a, str>>,
    adapter: Cow<'a, str>,
    adapter_name: Cow<'a, AdapterName>,
    received_at: UnixMillis,
    verified: Verified,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_key: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_schema: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replay_of: Option<RequestId>,
    #[serde(default, skip_serializing_if = "is_zero")]
    hops: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
const fn is_zero(hops: &u8) -> bool {
    *hops == 0
}

impl<'a> From<&'a Event> for EventRow<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            id: event.id,
            request: event.request,
            route: Cow::Borrowed(&event.route),
            kind: Cow::Borrowed(&event.kind),
            subject: event.subject.as_deref().map(Cow::Borrowed),
            time: event.time.as_deref().map(Cow::Borrowed),
            adapter: Cow::Borrowed(&event.adapter),
            adapter_name: Cow::Borrowed(&event.adapter_name),
            received_at: event.received_at,
            verified: event.verified,
            idempotency_key: event.idempotency_key.as_deref().map(Cow::Borrowed),
            partition_key: event.partition_key.as_deref().map(Cow::Borrowed),
            data_schema: event.data_schema.as_deref().map(Cow::Borrowed),
            replay_of: event.replay_of,
            hops: event.hops,
        }
    }
}

/// An event as its row has it, and whether the row still has its SHA-256.
///
/// # Errors
///
/// Where the row cannot even be read as an event.
pub(super) fn event_from_row(
    sha256: &[u8],
    json: &str,
    data: String,
) -> Result<(Event, bool), serde_json::Error> {
    let intact = event_sha256(json, &data).as_slice() == sha256;
    let row: EventRow<'_> = serde_json::from_str(json)?;
    let event = Event {
        id: row.id,
        request: row.request,
        route: row.route.into_owned(),
        kind: row.kind.into_owned(),
        subject: row.subject.map(Cow::into_owned),
        time: row.time.map(Cow::into_owned),
        adapter: row.adapter.into(),
        adapter_name: row.adapter_name.into_owned(),
        received_at: row.received_at,
        verified: row.verified,
        idempotency_key: row.idempotency_key.map(Cow::into_owned),
        partition_key: row.partition_key.map(Cow::into_owned),
        data_schema: row.data_schema.map(Into::into),
        replay_of: row.replay_of,
        hops: row.hops,
        data,
    };
    Ok((event, intact))
}

/// `events.sha256`.
pub(super) fn event_sha256(json: &str, data: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&(json.len() as u64).to_le_bytes());
    context.update(json.as_bytes());
    context.update(data.as_bytes());
    array(context.finish().as_ref())
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    array(digest(&SHA256, bytes).as_ref())
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String, StorageError> {
    let mut json = Vec::with_capacity(JSON_BYTES);
    serde_json::to_writer(&mut json, value).map_err(|error| failed(&error.to_string()))?;
    String::from_utf8(json).map_err(|error| failed(&error.to_string()))
}

fn failed(detail: &str) -> StorageError {
    StorageError::Failed { detail: detail.to_owned() }
}
