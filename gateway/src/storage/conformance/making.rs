//! What rules commit and record.

use std::sync::Arc;

use super::*;

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

/// An accepted request of route `shop` that arrived at `at`, without events.
pub(in crate::storage) fn commit(at: UnixMillis) -> Commit {
    static BODIES: AtomicU64 = AtomicU64::new(0);
    let body = Bytes::from(format!("body {}", BODIES.fetch_add(1, Ordering::Relaxed)));
    Commit {
        request: RequestRecord {
            id: RequestId::new(at),
            route: route("shop"),
            adapter: AdapterName::new("vkyc").unwrap(),
            plugin: Arc::new(PluginVersion {
                plugin: crate::model::PluginName::new("vkyc").unwrap(),
                version: "1.0.0".to_owned(),
                digest: "00".repeat(32),
            }),
            generation: 1,
            received_at: at,
            client: [192, 0, 2, 7].into(),
            head: RequestHead {
                method: "POST".into(),
                path: "/hooks/shop".to_owned(),
                query: Some("a=b".to_owned()),
                headers: vec![("x-secret".into(), "***".into())],
            },
            body_sha256: sha256(&body),
            kept_sha256: None,
            body,
            verdicts: Vec::new(),
            verified: Verified::Signature,
            disposition: Disposition::Accepted,
            facts: vec![crate::model::Fact { name: "status".to_owned(), value: "paid".to_owned() }],
            reads: CallReads::default(),
            answer: Answer::json(200, "{\"first\":true}"),
            note: None,
            consumed: None,
        },
        events: Vec::new(),
        duplicate_answer: None,
        state: None,
        lane: None,
    }
}

impl Commit {
    /// With one more event.
    pub(in crate::storage) fn event(
        mut self,
        key: Option<IdempotencyKey>,
        destinations: &[&str],
    ) -> Self {
        let request = &self.request;
        let event = Event {
            id: EventId::new(request.received_at),
            request: request.id,
            route: request.route.clone(),
            kind: "vkyc.session.completed".to_owned(),
            subject: Some("s-1".to_owned()),
            time: None,
            adapter: "vkyc/1.0.0".into(),
            adapter_name: request.adapter.clone(),
            received_at: request.received_at,
            verified: request.verified,
            idempotency_key: key.as_ref().map(|key| key.value.clone()),
            partition_key: None,
            data_schema: None,
            replay_of: None,
            hops: 0,
            data: "{\"amount\": 1.10}".to_owned(),
        };
        let destinations = destinations.iter().map(|name| destination(name)).collect();
        self.events.push(NewEvent { event, key, destinations });
        self
    }

    pub(in crate::storage) fn disposition(mut self, disposition: Disposition) -> Self {
        self.request.disposition = disposition;
        self
    }

    pub(in crate::storage) fn of_route(mut self, name: &str) -> Self {
        self.request.route = route(name);
        self
    }

    pub(in crate::storage) fn body(mut self, body: &str) -> Self {
        self.request.body = Bytes::copy_from_slice(body.as_bytes());
        self.request.body_sha256 = sha256(&self.request.body);
        self
    }

    pub(in crate::storage) fn read(mut self, key: IdempotencyKey, seen: bool) -> Self {
        self.request.reads.seen.push((key, seen));
        self
    }
}

/// The record of an attempt at `leased`; delivered, unless changed.
pub(in crate::storage) fn attempt(
    leased: &LeasedDelivery,
    name: &str,
    at: UnixMillis,
) -> AttemptRecord {
    AttemptRecord {
        delivery: leased.delivery,
        fence: leased.fence,
        destination: destination(name),
        number: leased.attempts_before + 1,
        at,
        took: Duration::from_millis(12),
        outcome: AttemptOutcome::Delivered,
        state: DeliveryState::Delivered,
        again_in: None,
        reason: None,
    }
}

impl AttemptRecord {
    /// Failed, and due again after so long; a dead letter where it is not.
    pub(in crate::storage) fn failed(mut self, again_in: Option<Duration>) -> Self {
        let kind = "timed_out".to_owned();
        self.outcome =
            AttemptOutcome::Failed { kind, status: Some(504), detail: "late".to_owned() };
        self.again_in = again_in;
        self.state =
            if again_in.is_some() { DeliveryState::Pending } else { DeliveryState::DeadLetter };
        self.reason = again_in.is_none().then_some(DeadLetterReason::RetriesExhausted);
        self
    }
}
