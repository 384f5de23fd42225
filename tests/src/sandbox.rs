//! Calling adapters without a gateway around them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use sluice::adapter::{Cause, OtherCall, ReceiveCall, SeenReader, Travels};
use sluice::config::{RouteAuth, Secret, SecretValue, SecretVersion};
use sluice::model::{
    AdapterName, IdempotencyKey, InboundRequest, RequestHead, RequestId, RouteName, SecretName,
    UnixMillis,
};
use sluice::verification::RouteSecrets;

/// When every call of these tests arrives.
pub const NOW: UnixMillis = UnixMillis(1_767_323_045_678);

/// The `body_max` of these tests' route, in bytes.
pub const BODY_MAX: usize = 1 << 20;

/// A store that knows these keys.
#[derive(Debug, Default)]
pub struct Known(pub BTreeSet<String>);

impl SeenReader for Known {
    fn seen(&self, key: &IdempotencyKey) -> Option<bool> {
        Some(self.0.contains(&key.value))
    }
}

/// A store that cannot be read.
#[derive(Debug)]
pub struct Unreadable;

impl SeenReader for Unreadable {
    fn seen(&self, _key: &IdempotencyKey) -> Option<bool> {
        None
    }
}

/// A request with its route's secrets; every call made of it is the same.
#[derive(Clone, Debug)]
pub struct Request {
    pub secrets: Arc<RouteSecrets>,
    pub headers: Vec<(String, String)>,
    pub query: Option<String>,
    pub seen: Arc<dyn SeenReader>,
    pub id: RequestId,
    /// Of the route, in bytes.
    pub body_max: usize,
}

impl Request {
    /// To a route with these secrets, by role.
    #[must_use]
    pub fn new(roles: Vec<(String, Travels, Option<Secret>)>, headers: &[(&str, &str)]) -> Self {
        let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"of the installation");
        Self {
            secrets: Arc::new(RouteSecrets::new(roles, None, RouteAuth::Required, digest_key)),
            headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            query: Some("a=1&b=%20".to_owned()),
            seen: Arc::new(Known(BTreeSet::from(["known".to_owned()]))),
            id: RequestId::from_bytes([7; 16]),
            body_max: BODY_MAX,
        }
    }

    /// The call that this request with that body makes.
    #[must_use]
    pub fn call(&self, route: &RouteName, body: impl Into<Bytes>) -> ReceiveCall {
        let head = RequestHead {
            method: "POST".to_owned(),
            path: "/hooks/hostile".to_owned(),
            query: self.query.clone(),
            headers: self.headers.clone(),
        };
        let (head, presented) = self.secrets.mask(head, None);
        ReceiveCall {
            cause: Cause::Test,
            route: route.clone(),
            inbound: Arc::new(InboundRequest {
                id: self.id,
                received_at: NOW,
                client: IpAddr::V4(Ipv4Addr::LOCALHOST),
                head,
                body: body.into(),
                redacted: false,
            }),
            presented: Arc::new(presented),
            secrets: Arc::clone(&self.secrets),
            seen: Arc::clone(&self.seen),
            body_max: self.body_max,
        }
    }

    /// A call that has no request.
    #[must_use]
    pub fn other(&self, adapter: AdapterName) -> OtherCall {
        OtherCall {
            cause: Cause::Test,
            adapter,
            id: self.id,
            now: NOW,
            seen: Arc::clone(&self.seen),
        }
    }
}

/// A secret with one value that never expires.
#[must_use]
pub fn secret(name: SecretName, value: &str) -> Secret {
    let version =
        SecretVersion { value: SecretValue::new(value.as_bytes().to_vec()), expires_at: None };
    Secret { name, versions: Arc::new([version]) }
}

/// A JSON object as settings; anything else is no settings at all.
#[must_use]
pub fn settings(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(settings) => settings,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
