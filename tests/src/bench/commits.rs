//! Commits as the gateway makes them of webhooks, without a gateway.

use std::sync::Arc;

use bytes::Bytes;
use sluice::model::{
    AdapterName, Answer, CallReads, Clock as _, DestinationName, Disposition, Event, EventId, Fact,
    IdempotencyKey, KeyScope, NameError, NewEvent, PluginName, PluginVersion, RequestHead,
    RequestId, RequestRecord, RouteName, SystemClock, Verified,
};
use sluice::storage::Commit;

/// What they name.
#[derive(Debug)]
pub struct Names {
    pub route: RouteName,
    pub adapter: AdapterName,
    pub plugin: Arc<PluginVersion>,
    pub destination: DestinationName,
}

impl Names {
    /// Of one route and one destination.
    ///
    /// # Errors
    ///
    /// None: the names are good ones.
    pub fn new() -> Result<Self, NameError> {
        Ok(Self {
            route: RouteName::new("vkyc")?,
            adapter: AdapterName::new("vkyc")?,
            plugin: Arc::new(PluginVersion {
                plugin: PluginName::new("vkyc")?,
                version: "1.0.0".to_owned(),
                digest: "ab".repeat(32),
            }),
            destination: DestinationName::new("ledger")?,
        })
    }
}

/// A commit as the VKYC adapter makes them.
#[must_use]
pub fn webhook(names: &Names) -> Commit {
    let now = SystemClock.now();
    let id = RequestId::new(now);
    let body = format!(
        "{{\"eventId\":\"{id}\",\"eventType\":\"SESSION_COMPLETED\",\"timestamp\":\
         \"2026-11-22T08:00:00.000Z\",\"sessionId\":\"b7c9e2f0-5a1d-4c8e-9f3b-2d6a8e4c1b70\",\
         \"customer\":{{\"reference\":\"C-102938\",\"name\":\"Asha Rao\"}},\"result\":{{\"status\":\
         \"APPROVED\",\"score\":\"0.9871\",\"agent\":\"agent-17\"}}}}"
    );
    let digest = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
    let mut body_sha256 = [0; 32];
    body_sha256.copy_from_slice(digest.as_ref());
    let key = id.to_string();
    let data = body.clone();
    let mut commit = Commit {
        request: record(names, id, Bytes::from(body), body_sha256),
        events: Vec::new(),
        duplicate_answer: None,
        state: None,
        lane: None,
    };
    let event = event(names, &commit.request, key.clone(), data);
    let key = IdempotencyKey { value: key, scope: KeyScope::Route, window_seconds: 86_400 };
    let destinations = vec![names.destination.clone()];
    commit.events.push(NewEvent { event, key: Some(key), destinations });
    commit
}

fn record(names: &Names, id: RequestId, body: Bytes, body_sha256: [u8; 32]) -> RequestRecord {
    let header = |name: &str, value: &str| (name.into(), value.into());
    RequestRecord {
        id,
        route: names.route.clone(),
        adapter: names.adapter.clone(),
        plugin: Arc::clone(&names.plugin),
        generation: 1,
        received_at: SystemClock.now(),
        client: [127, 0, 0, 1].into(),
        head: RequestHead {
            method: "POST".into(),
            path: "/hooks/vkyc".to_owned(),
            query: None,
            headers: vec![
                header("host", "127.0.0.1:8080"),
                header("content-type", "application/json"),
                header("x-webhook-secret", "***"),
                header("content-length", "330"),
            ],
        },
        body,
        body_sha256,
        kept_sha256: None,
        verdicts: Vec::new(),
        verified: Verified::SharedSecret,
        disposition: Disposition::Accepted,
        facts: vec![Fact { name: "status".to_owned(), value: "APPROVED".to_owned() }],
        reads: CallReads::default(),
        answer: Answer::json(200, "{\"received\":true}"),
        note: None,
        consumed: None,
    }
}

/// An event of that request.
#[must_use]
pub fn event(names: &Names, request: &RequestRecord, key: String, data: String) -> Event {
    Event {
        id: EventId::new(request.received_at),
        request: request.id,
        route: names.route.clone(),
        kind: "sluice.vkyc.session.completed".to_owned(),
        subject: Some("C-102938".to_owned()),
        time: Some("2026-11-22T08:00:00.000Z".to_owned()),
        adapter: "vkyc/1.0.0".into(),
        adapter_name: names.adapter.clone(),
        received_at: request.received_at,
        verified: request.verified,
        idempotency_key: Some(key),
        partition_key: None,
        data_schema: None,
        replay_of: None,
        hops: 0,
        data,
    }
}
