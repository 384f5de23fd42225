//! A gateway that is nothing but ingest, with routes of a test's choice.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use sluice::config::{
    AdminConfig, AllowFrom, Config, Delivery, ForwardedBy, IngestConfig, LimitsConfig, Listen,
    ListenerConfig, Location, LogConfig, PluginsConfig, RouteAuth, RouteConfig, RoutePath, Secret,
    SecretValue, SecretVersion, Secrets, Sources, StorageConfig, TrustedProxies,
};
use sluice::ingest::{
    Drained, Ingest, Listener, Listeners, Parts, PauseSwitches, RefusedFilter, RefusedRequest,
    RefusedRing, Reverifier,
};
use sluice::model::{
    AdapterName, Answer, DestinationName, ManualClock, RouteName, SecretName, Travels, UnixMillis,
};
use sluice::service_manager::Handed;
use sluice::snapshot::{BoundRoute, Snapshot};
use sluice::verification::RouteSecrets;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::client::{Answer as Got, Client, PATIENCE, post};
use super::double::{Memory, Scripted};

/// Bodies up to this size are taken by default.
pub(crate) const BODY_MAX: usize = 65_519;

/// When every request of a test arrives.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// Where a listener of a test listens.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A running ingest and everything around it.
pub(crate) struct Gateway {
    pub(crate) addr: SocketAddr,
    pub(crate) adapter: Arc<Scripted>,
    pub(crate) storage: Arc<Memory>,
    pub(crate) ring: Arc<RefusedRing>,
    pub(crate) switches: Arc<PauseSwitches>,
    pub(crate) swap: Arc<ArcSwap<Snapshot>>,
    pub(crate) listeners: Listeners,
    pub(crate) reverifier: Reverifier,
    shutdown: CancellationToken,
    run: JoinSet<Drained>,
}

/// What a gateway is made from.
pub(crate) struct Plan {
    pub(crate) ingest: IngestConfig,
    pub(crate) routes: Vec<RouteConfig>,
    pub(crate) calls_in_flight_max: usize,
    pub(crate) adapter: Arc<Scripted>,
}

impl Default for Plan {
    /// One route, `/hook`, and deadlines that no healthy test meets.
    fn default() -> Self {
        Self {
            ingest: IngestConfig {
                listeners: vec![Arc::new(ListenerConfig::plain(Listen::Tcp(ANY_PORT)))],
                trusted_proxies: TrustedProxies::default(),
                forwarded: ForwardedBy::None,
                body_max: BODY_MAX,
                connections_max: 1_000,
                requests_in_flight_max: 512,
                head_deadline: PATIENCE * 2,
                body_deadline: PATIENCE * 2,
                body_rate_min: 0,
                idle_deadline: PATIENCE * 2,
                drain: PATIENCE,
                public_url: None,
            },
            routes: vec![route("hook", RoutePath::Exact("/hook".to_owned()))],
            calls_in_flight_max: 4,
            adapter: Arc::new(Scripted::new()),
        }
    }
}

pub(crate) fn route(name: &str, path: RoutePath) -> RouteConfig {
    RouteConfig {
        name: RouteName::new(name).unwrap(),
        path,
        adapter: AdapterName::new("scripted").unwrap(),
        secrets: BTreeMap::from([("shared".to_owned(), secret("shared", &[("s3cret", None)]))]),
        auth: RouteAuth::Required,
        settings: serde_json::Map::new(),
        deliver_to: vec![Delivery {
            destination: DestinationName::new("ledger").unwrap(),
            types: Vec::new(),
        }],
        body_max: BODY_MAX,
        deadline: PATIENCE,
        limits: LimitsConfig::default(),
        allow_from: AllowFrom::default(),
        paused: false,
        paused_answer: None,
        at: Location::default(),
    }
}

/// A route under `/in/{token}` with that token.
pub(crate) fn token_route(name: &str, token: &[(&str, Option<UnixMillis>)]) -> RouteConfig {
    let path = RoutePath::Token { prefix: "/in/".to_owned(), suffix: String::new() };
    let mut route = route(name, path);
    route.secrets = BTreeMap::from([("token".to_owned(), secret("token", token))]);
    route
}

pub(crate) fn secret(name: &str, versions: &[(&str, Option<UnixMillis>)]) -> Secret {
    let versions = versions.iter().map(|(value, expires_at)| SecretVersion {
        value: SecretValue::new(value.as_bytes().to_vec()),
        expires_at: *expires_at,
    });
    Secret { name: SecretName::new(name).unwrap(), versions: versions.collect() }
}

pub(crate) fn snapshot(generation: u64, plan: &Plan) -> Snapshot {
    let config = Config {
        ingest: plan.ingest.clone(),
        admin: AdminConfig { listen: ANY_PORT, token: secret("admin", &[("x", None)]) },
        storage: StorageConfig {
            sqlite_path: "unused".into(),
            retention: Duration::from_secs(1),
            removed_grace: Duration::ZERO,
            ballast: 0,
        },
        plugins: PluginsConfig { directory: "unused".into(), size_max: 1, cache: "unused".into() },
        log: LogConfig::default(),
        secrets: Secrets::default(),
        adapters: BTreeMap::new(),
        routes: BTreeMap::new(),
        destinations: BTreeMap::new(),
        sources: Sources::default(),
        files: Vec::new(),
    };
    let bind = |config: &RouteConfig| {
        let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
        let name = config.settings.get("header").and_then(serde_json::Value::as_str);
        let travels = Travels::Header {
            name: name.unwrap_or("x-webhook-secret").to_owned(),
            prefix: String::new(),
            setting: None,
        };
        let shared = config.secrets.get("shared").cloned();
        let secrets = RouteSecrets::new(
            vec![("shared".to_owned(), travels, shared)],
            config.secrets.get("token").cloned(),
            config.auth,
            digest_key,
        );
        let bound = BoundRoute {
            config: config.clone(),
            adapter: Arc::clone(&plan.adapter) as Arc<dyn sluice::adapter::Receive>,
            secrets: Arc::new(secrets),
            paused_answer: config.paused_answer.clone().unwrap_or(Answer::unavailable(60)),
        };
        (config.name.clone(), Arc::new(bound))
    };
    let routes = plan.routes.iter().map(bind).collect();
    Snapshot::new(generation, Arc::new(config), BTreeMap::new(), routes)
}

impl Gateway {
    pub(crate) fn start(plan: &Plan) -> Self {
        let open = |config| Listener::open(config, &Handed::default()).unwrap();
        let listeners: Vec<Listener> = plan.ingest.listeners.iter().flat_map(open).collect();
        let addr = listeners.first().and_then(Listener::local_addr).unwrap();
        let swap = Arc::new(ArcSwap::from_pointee(snapshot(1, plan)));
        let storage = Arc::new(Memory::default());
        let ring = Arc::new(RefusedRing::default());
        let switches = Arc::new(PauseSwitches::new(Arc::clone(&storage) as _));
        let parts = Parts {
            snapshot: Arc::clone(&swap),
            storage: Arc::clone(&storage) as Arc<dyn sluice::storage::Storage>,
            clock: Arc::new(ManualClock::at(NOW)),
            ring: Arc::clone(&ring),
            switches: Arc::clone(&switches),
            calls: Arc::new(Semaphore::new(plan.calls_in_flight_max)),
        };
        let shutdown = CancellationToken::new();
        let mut run = JoinSet::new();
        let ingest = Ingest::new(listeners, parts);
        let listeners = ingest.listeners();
        let reverifier = ingest.reverifier();
        run.spawn(ingest.run(shutdown.clone()));
        let adapter = Arc::clone(&plan.adapter);
        Self { addr, adapter, storage, ring, switches, swap, listeners, reverifier, shutdown, run }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// One POST on a connection of its own.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Got {
        self.exchange(post(path, body)).await
    }

    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> Got {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await.expect("an answer")
    }

    /// All refused requests, newest first.
    pub(crate) fn refused(&self) -> Vec<Arc<RefusedRequest>> {
        self.ring.list(&RefusedFilter { limit: usize::MAX, ..RefusedFilter::default() })
    }

    /// The only refused request.
    pub(crate) fn refusal(&self) -> Arc<RefusedRequest> {
        let [only] = self.refused().try_into().expect("one refused request");
        only
    }

    /// Says that it is to stop, and does not wait.
    pub(crate) fn stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(&mut self) -> Drained {
        let joined = timeout(PATIENCE * 2, self.run.join_next()).await;
        joined.expect("a stop in time").unwrap().unwrap()
    }
}
