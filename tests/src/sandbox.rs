//! Calling adapters without a gateway around them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};
use sluice::adapter::{
    Cause, Description, OtherCall, ReceiveCall, SeenReader, StateReader, Unread,
};
use sluice::config::{RouteAuth, Secret, SecretValue, SecretVersion};
use sluice::model::{
    AdapterName, IdempotencyKey, InboundRequest, RequestHead, RequestId, RouteName, Scanned,
    SecretName, StateEntry, StateRange, StateVersion, StateWrite, Travels, UnixMillis,
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

/// An adapter's state in memory, as calls of one time see it.
#[derive(Debug, Default)]
pub struct Kept {
    now: UnixMillis,
    entries: Mutex<BTreeMap<Vec<u8>, StateEntry>>,
}

impl Kept {
    /// Nothing, for calls of `now`.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self { now, entries: Mutex::default() }
    }

    /// What is in it, as calls of another time see it.
    #[must_use]
    pub fn seen_at(&self, now: UnixMillis) -> Self {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Self { now, entries: Mutex::new(entries.clone()) }
    }

    /// Commits what a call wrote.
    pub fn apply(&self, writes: &[StateWrite]) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for StateWrite { key, put } in writes {
            match put {
                Some(put) => {
                    let entry = StateEntry {
                        key: key.clone(),
                        value: put.value.clone(),
                        expires_at: put.expires_at,
                        version: StateVersion::default(),
                    };
                    entries.insert(key.clone(), entry);
                }
                None => drop(entries.remove(key)),
            }
        }
    }
}

impl StateReader for Kept {
    fn scan(&self, range: &StateRange, limit: usize, reverse: bool) -> Result<Scanned, Unread> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let within = entries.range(range.start.clone()..range.end.clone()).map(|(_, entry)| entry);
        let live = |entry: &&StateEntry| entry.is_live(self.now);
        let found: Vec<StateEntry> = if reverse {
            within.rev().filter(live).take(limit).cloned().collect()
        } else {
            within.filter(live).take(limit).cloned().collect()
        };
        Ok(Scanned::cut(range.clone(), found, limit, reverse))
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
            method: "POST".into(),
            path: "/hooks/hostile".to_owned(),
            query: self.query.clone(),
            headers: self.headers.iter().map(|(n, v)| (n.into(), v.into())).collect(),
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
            recorded: None,
            seen: Arc::clone(&self.seen),
            state: None,
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
            state: None,
        }
    }
}

/// The secrets of a route that verifies nothing (`auth = "none"`) of an adapter that may.
#[must_use]
pub fn open_route(description: &Description) -> RouteSecrets {
    let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"of the installation");
    let roles =
        description.secrets.iter().map(|role| (role.role.clone(), role.travels.clone(), None));
    RouteSecrets::new(roles.collect(), None, RouteAuth::None, digest_key)
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
