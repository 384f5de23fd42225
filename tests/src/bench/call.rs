//! One adapter call by itself: the sandbox in this process, no HTTP and no store.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use ring::hmac;
use sluice::adapter::{
    Cause, Description, End, Receive as _, ReceiveCall, Sandbox, SandboxLimits, SeenReader,
};
use sluice::config::{RouteAuth, Secret, SecretValue, SecretVersion};
use sluice::model::{
    Clock as _, IdempotencyKey, InboundRequest, PluginName, RequestHead, RequestId, RouteName,
    SecretName, SystemClock, Travels,
};
use sluice::verification::RouteSecrets;

use crate::artifacts;
use crate::home::VKYC_SECRET;
use crate::provider::{VKYC_PATH, vkyc_payload};

/// Calls before the measured ones: pages touched, branches learned.
const WARM_UP: usize = 1_000;

/// Nothing was ever seen.
#[derive(Debug)]
struct NothingSeen;

impl SeenReader for NothingSeen {
    fn seen(&self, _key: &IdempotencyKey) -> Option<bool> {
        Some(false)
    }
}

/// Calls the configured VKYC adapter with its usual payload, each time in a fresh instance, and
/// returns how long each call took, sorted.
///
/// # Errors
///
/// Where the adapter does not load, or a call ends in anything but an outcome.
pub fn times(calls: usize) -> anyhow::Result<Vec<Duration>> {
    let sandbox = Sandbox::new(SandboxLimits::default())?;
    let name = PluginName::new("vkyc")?;
    let bytes = fs::read(artifacts::plugin("vkyc")?).context("reading the adapter")?;
    let plugin = sandbox.load(&name, &bytes)?;
    let route = RouteName::new("vkyc")?;
    let none = serde_json::Map::new();
    let adapter = sandbox.configure(&plugin, &none, &[(route.clone(), none.clone())])?;
    let call = prepare(&adapter.description, route)?;
    let mut times = Vec::with_capacity(calls);
    for number in 0..WARM_UP + calls {
        let call = call.clone();
        let started = Instant::now();
        let ended = adapter.receive(call);
        let took = started.elapsed();
        if !matches!(ended.end, End::Outcome(_)) {
            bail!("a call ended otherwise than in an outcome: {:?}", ended.end);
        }
        if number >= WARM_UP {
            times.push(took);
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn prepare(description: &Description, route: RouteName) -> anyhow::Result<ReceiveCall> {
    let secret = Secret {
        name: SecretName::new("vkyc-secret")?,
        versions: Arc::new([SecretVersion {
            value: SecretValue::new(VKYC_SECRET.into()),
            expires_at: None,
        }]),
    };
    let mut headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    let mut roles = Vec::new();
    for role in &description.secrets {
        let mut given = None;
        if let Travels::Header { name, prefix, .. } = &role.travels {
            headers.insert(name.to_lowercase(), format!("{prefix}{VKYC_SECRET}"));
            given = Some(secret.clone());
        }
        roles.push((role.role.clone(), role.travels.clone(), given));
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let secrets = RouteSecrets::new(roles, None, RouteAuth::Required, key);
    let head = RequestHead {
        method: "POST".into(),
        path: VKYC_PATH.to_owned(),
        query: None,
        headers: headers.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
    };
    let (head, presented) = secrets.mask(head, None);
    let now = SystemClock.now();
    let inbound = InboundRequest {
        id: RequestId::new(now),
        received_at: now,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        head,
        body: Bytes::from(vkyc_payload("trn:vkyc:6f1c1f0e-8d8e-4c55-9a43-0d6ff7f5a001")),
        redacted: false,
    };
    Ok(ReceiveCall {
        cause: Cause::Test,
        route,
        inbound: Arc::new(inbound),
        presented: Arc::new(presented),
        secrets: Arc::new(secrets),
        recorded: None,
        seen: Arc::new(NothingSeen),
        state: None,
        body_max: 1 << 20,
    })
}
