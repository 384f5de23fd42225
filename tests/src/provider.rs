//! What providers send.

/// Where [`crate::HomeBuilder::vkyc`] receives.
pub const VKYC_PATH: &str = "/hooks/vkyc";

/// The header that carries the shared secret of that route.
pub const VKYC_SECRET_HEADER: &str = "x-webhook-secret";

/// The adapter's name for that secret.
pub const VKYC_SECRET_ROLE: &str = "shared_secret";

/// The payload of a completed video call, as long as a real one, with this id.
#[must_use]
pub fn vkyc_payload(event_id: &str) -> String {
    format!(
        r#"{{"appId":"app_demo","transactionId":"txn-0001","eventDetails":{{"status":"DECLINED","reason":"Face mismatch","agentId":"agent@example.com"}},"eventVersion":"1.0.0","eventType":"VCIP_CALL_COMPLETED","eventTime":"2026-01-02T03:04:05.678Z","eventId":"{event_id}"}}"#
    )
}

/// The provider's own id in a delivered event of the `vkyc` adapter (structured `CloudEvents`).
#[must_use]
pub fn vkyc_event_id(event: &serde_json::Value) -> Option<&str> {
    event.pointer("/data/event_id")?.as_str()
}
