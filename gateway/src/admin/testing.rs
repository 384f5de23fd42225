//! A listener for the tests of the admin side, with what they show.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Client, Response as Answered};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::adapter::{View, ViewEnd};
use crate::config::{SecretValue, SecretVersion};
use crate::delivery::testing::{MemoryStorage, RECEIVED_AT, event, name};
use crate::model::{
    AdapterName, Answer, AttemptOutcome, CallReads, DeliveryId, DeliveryState, Diagnosis,
    Disposition, Fact, Found, KeyedDigest, ManualClock, PluginName, PluginVersion, Proof,
    Rejection, RequestHead, RequestId, RequestRecord, RouteName, SecretName, UnixMillis,
    VerdictRecord, Verified,
};
use crate::reload::Ask;
use crate::storage::{StorageFuture, StoredAttempt, StoredDelivery, StoredEvent, StoredRequest};

pub(super) const TOKEN: &str = "correct horse battery staple";
pub(super) const OLD_TOKEN: &str = "the one before";
pub(super) const EXPIRED_TOKEN: &str = "the one before that";

/// Refused requests in a list.
#[derive(Debug, Default)]
pub(super) struct Ring(pub(super) Mutex<Vec<RefusedRequest>>);

impl RefusedRequests for Ring {
    /// As the last byte of its id says.
    fn verify(&self, id: RequestId) -> StorageFuture<'_, VerifiedAgain> {
        let again = match id.as_bytes()[15] {
            1 => VerifiedAgain::Stored { disposition: "accepted", status: 200 },
            2 => VerifiedAgain::Refused {
                status: 401,
                diagnosis: Diagnosis::SECRET_MISMATCH,
                detail: "still".to_owned(),
            },
            3 => VerifiedAgain::Impossible("its body was never read".to_owned()),
            _ => VerifiedAgain::Unknown,
        };
        Box::pin(async { Ok(again) })
    }

    fn list(&self, filter: &RefusedFilter) -> Vec<RefusedSummary> {
        let ring = self.0.lock().unwrap();
        let mut wanted: Vec<_> = ring
            .iter()
            .map(|one| one.summary.clone())
            .filter(|one| filter.route.is_none() || filter.route == one.route)
            .filter(|one| filter.before.is_none_or(|before| one.id < before))
            .collect();
        wanted.sort_by_key(|one| std::cmp::Reverse(one.id));
        wanted.truncate(filter.limit);
        wanted
    }

    fn get(&self, id: RequestId) -> Option<RefusedRequest> {
        self.0.lock().unwrap().iter().find(|one| one.summary.id == id).cloned()
    }
}

/// One adapter whose views end as they are named, and one that does not serve.
#[derive(Debug)]
pub(super) struct Scripted;

impl Adapters for Scripted {
    fn list(&self) -> Vec<AdapterSummary> {
        let view = |name: &str| View {
            name: name.to_owned(),
            summary: String::new(),
            parameters_schema: serde_json::json!({ "properties": { "n": { "type": "integer" } } }),
        };
        let summary = |name: &str, serving| AdapterSummary {
            name: AdapterName::new(name).unwrap(),
            plugin: PluginName::new("payout-matcher").unwrap(),
            serving,
            version: Some("1.2.0".to_owned()),
            digest: None,
            routes: vec![route("buyer")],
            state_version: Some(3),
            consumes: Vec::new(),
            views: ["echo", "refuse", "deny", "trap", "spin"].map(view).into(),
            facts: Vec::new(),
        };
        vec![summary("broken", false), summary("payouts", true)]
    }

    fn view(&self, adapter: &AdapterName, view: &str, parameters: &str) -> Option<ViewEnd> {
        assert_eq!(adapter.as_str(), "payouts");
        let refused = |status| {
            let diagnosis = Diagnosis::from_guest("no_such_call");
            ViewEnd::Rejection(Rejection { status, diagnosis, detail: "no such call".to_owned() })
        };
        Some(match view {
            "echo" => ViewEnd::Answer(parameters.to_owned()),
            "refuse" => refused(404),
            "deny" => refused(401),
            "trap" => ViewEnd::Trap("plugin `x`: unreachable".to_owned()),
            _ => ViewEnd::Deadline,
        })
    }
}

/// The route `buyer`, paused or not.
#[derive(Debug, Default)]
pub(super) struct OneRoute(Mutex<Option<bool>>);

impl Routes for OneRoute {
    fn list(&self) -> Vec<RouteSummary> {
        let switch = *self.0.lock().unwrap();
        vec![RouteSummary {
            name: route("buyer"),
            path: "/in/{token}".to_owned(),
            adapter: AdapterName::new("payouts").unwrap(),
            paused: switch.unwrap_or_default(),
            paused_in_config: false,
            switch: switch.map(|paused| RouteSwitchView { paused, since: RECEIVED_AT }),
        }]
    }

    fn switch(&self, name: RouteName, to: Switch) -> StorageFuture<'_, Option<RouteSummary>> {
        let answer = (name == route("buyer")).then(|| {
            *self.0.lock().unwrap() = match to {
                Switch::Pause => Some(true),
                Switch::Resume => Some(false),
                Switch::FollowConfig => None,
            };
            self.list().remove(0)
        });
        Box::pin(async { Ok(answer) })
    }
}

/// An admin listener on a port of its own.
pub(super) struct Desk {
    pub(super) address: SocketAddr,
    pub(super) client: Client,
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) ring: Arc<Ring>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) reloads: Reloads,
    /// What is asked of the gateway; who takes it answers.
    pub(super) asks: Option<mpsc::Receiver<Ask>>,
    pub(super) moves: mpsc::Sender<std::net::TcpListener>,
    pub(super) shutdown: CancellationToken,
    pub(super) running: JoinSet<std::io::Result<()>>,
}

impl Desk {
    pub(super) async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(RECEIVED_AT));
        let storage = MemoryStorage::new(Arc::clone(&clock) as _);
        let ring = Arc::new(Ring::default());
        let phase = watch::Sender::new(Phase::Serving);
        let version = |value: &str, expires_at| SecretVersion {
            value: SecretValue::new(value.as_bytes().to_vec()),
            expires_at,
        };
        let end = RECEIVED_AT.after(Duration::from_secs(60));
        let token = Secret {
            name: SecretName::new("admin-token").unwrap(),
            versions: [
                version(TOKEN, None),
                version(OLD_TOKEN, Some(end)),
                version(EXPIRED_TOKEN, Some(RECEIVED_AT)),
            ]
            .into(),
        };
        let (reloads, asks) = Reloads::new();
        let state = AdminState {
            storage: Arc::clone(&storage) as _,
            refused: Arc::clone(&ring) as _,
            adapters: Arc::new(Scripted),
            routes: Arc::new(OneRoute::default()),
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            phase: phase.subscribe(),
            token: Arc::new(ArcSwap::from_pointee(token)),
            clock: Arc::clone(&clock) as _,
            reloads: reloads.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let (moves, moved) = mpsc::channel(1);
        running.spawn(run(listener, state, moved, shutdown.clone()));
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let asks = Some(asks);
        Self {
            address,
            client,
            storage,
            ring,
            clock,
            phase,
            reloads,
            asks,
            moves,
            shutdown,
            running,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) async fn get_with(&self, path: &str, authorization: Option<&str>) -> Answered {
        let mut request = self.client.get(self.url(path));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.send().await.unwrap()
    }

    /// With the right token; status and JSON.
    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.get_with(path, Some(&format!("Bearer {TOKEN}"))).await;
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

pub(super) fn id(number: u8) -> RequestId {
    RequestId::from_bytes([number; 16])
}

pub(super) fn route(text: &str) -> RouteName {
    RouteName::new(text).unwrap()
}

pub(super) fn head() -> RequestHead {
    RequestHead {
        method: "POST".into(),
        path: "/hooks/vkyc".to_owned(),
        query: None,
        headers: vec![("x-secret".into(), "***".into())],
    }
}

pub(super) fn verdict() -> VerdictRecord {
    VerdictRecord {
        role: "shared".into(),
        proof: Proof::Header,
        found: Found::Matched { version: 0 },
        digest: Some(KeyedDigest([0xab; 32])),
    }
}

pub(super) fn stored(number: u8, route_name: &str, disposition: Disposition) -> StoredRequest {
    let record = RequestRecord {
        id: id(number),
        route: route(route_name),
        adapter: AdapterName::new("vkyc").unwrap(),
        plugin: Arc::new(PluginVersion {
            plugin: PluginName::new("vkyc").unwrap(),
            version: "1.0.0".to_owned(),
            digest: "00".repeat(32),
        }),
        generation: 3,
        received_at: RECEIVED_AT,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        head: head(),
        body: Bytes::from_static(b"{\"n\":1.10}"),
        body_sha256: [0xcd; 32],
        kept_sha256: None,
        verdicts: vec![verdict()],
        verified: Verified::SharedSecret,
        disposition,
        facts: vec![Fact { name: "agent".to_owned(), value: "7".to_owned() }],
        reads: CallReads::default(),
        answer: Answer::json(200, "{}"),
        note: None,
        consumed: None,
    };
    StoredRequest { record, intact: true, events: Vec::new() }
}

/// An event whose one delivery failed once.
pub(super) fn failed_event() -> StoredEvent {
    StoredEvent {
        event: crate::model::Event { data: r#"{"b":1.10,"a":2}"#.to_owned(), ..event(8) },
        intact: true,
        deliveries: vec![StoredDelivery {
            delivery: DeliveryId(5),
            destination: name("ledger"),
            state: DeliveryState::Pending,
            due_at: Some(UnixMillis(0)),
            reason: None,
            attempts: vec![StoredAttempt {
                number: 1,
                at: RECEIVED_AT,
                took_ms: 12,
                outcome: AttemptOutcome::Failed {
                    kind: "refused".to_owned(),
                    status: Some(500),
                    detail: "the destination answered 500".to_owned(),
                },
            }],
        }],
    }
}

pub(super) fn refused(number: u8, route_name: Option<&str>) -> RefusedRequest {
    RefusedRequest {
        summary: RefusedSummary {
            id: id(number),
            route: route_name.map(route),
            received_at: RECEIVED_AT,
            status: 401,
            diagnosis: Diagnosis::SECRET_MISMATCH,
            body_bytes: 2,
        },
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        detail: "the header `x-secret` does not match".to_owned(),
        head: Some(head()),
        body: Some(Bytes::from_static(&[0xff, 0x00])),
        redacted: false,
        verdicts: vec![VerdictRecord { found: Found::Mismatched, ..verdict() }],
    }
}
