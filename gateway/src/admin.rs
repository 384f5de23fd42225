//! The listener for operators: health, metrics, what became of requests, what adapters answer,
//! switches of routes, and reloads.
//!
//! It is apart from ingest in address, connections and limits, so that it answers when ingest
//! cannot. `/healthz` and `/readyz` are open; everything else wants the bearer token.
//!
//! Invariants: nothing here changes what was received or is owed; what can be asked for is a reload,
//! the switch of a route, and that adapters' state is replaced by what is imported; no secret is
//! shown, and of a request only what was masked before it was stored; every answer forbids caching;
//! every list is bounded and paged
//! by key; a new endpoint is added to [`endpoints`], from which both the router and the test of
//! access are made, so that none can be open by oversight.

mod access;
mod adapters;
mod backup;
mod health;
mod long_answer;
mod problem;
mod refused;
mod reloads;
mod requests;
mod routes;
mod serve;
mod state;
mod view;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

pub use adapters::{AdapterSummary, Adapters};
pub use refused::{RefusedFilter, RefusedRequest, RefusedRequests, RefusedSummary, VerifiedAgain};
pub use routes::{RouteSummary, RouteSwitchView, Routes, Switch};
pub use serve::run;

use crate::config::Secret;
use crate::model::Clock;
use crate::reload::Reloads;
use crate::storage::Storage;
use problem::Problem;

/// Where the gateway is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Loading; nothing is accepted yet.
    #[default]
    Starting,
    Serving,
    /// Finishing what was started; nothing new is accepted.
    Draining,
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// What the admin side needs of the rest of the gateway.
pub struct AdminState {
    pub storage: Arc<dyn Storage>,
    pub refused: Arc<dyn RefusedRequests>,
    pub adapters: Arc<dyn Adapters>,
    pub routes: Arc<dyn Routes>,
    pub metrics: PrometheusHandle,
    pub phase: watch::Receiver<Phase>,
    /// The bearer token in force; every active version is accepted.
    pub token: Arc<ArcSwap<Secret>>,
    pub clock: Arc<dyn Clock>,
    pub reloads: Reloads,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// [`AdminState`] with what the admin side keeps for itself.
#[derive(Debug)]
struct Admin {
    state: AdminState,
    failures: access::Failures,
    health: health::HealthCache,
    views: adapters::ViewPlaces,
    imports: state::ImportPlaces,
    /// Whether only this machine can connect, and so a browser is the way in for others.
    loopback: AtomicBool,
}

type Shared = Arc<Admin>;

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Open,
    Token,
}

struct Endpoint {
    path: &'static str,
    access: Access,
    methods: MethodRouter<Shared>,
}

/// Every endpoint there is.
fn endpoints() -> Vec<Endpoint> {
    use Access::{Open, Token};

    let endpoint = |path, access, methods| Endpoint { path, access, methods };
    vec![
        endpoint("/healthz", Open, get(health::healthz)),
        endpoint("/readyz", Open, get(health::readyz)),
        endpoint("/metrics", Token, get(metrics)),
        endpoint("/api/v1/adapters", Token, get(adapters::list)),
        endpoint("/api/v1/adapters/{name}/views/{view}", Token, get(adapters::view)),
        endpoint("/api/v1/backup", Token, get(backup::make)),
        endpoint("/api/v1/requests", Token, get(requests::list)),
        endpoint("/api/v1/requests/{id}", Token, get(requests::show).post(requests::act)),
        endpoint("/api/v1/routes", Token, get(routes::list)),
        endpoint("/api/v1/routes/{name}", Token, get(routes::show).post(routes::switch)),
        endpoint("/api/v1/state", Token, get(state::namespaces)),
        endpoint("/api/v1/state/{adapter}", Token, get(state::entries).post(state::import)),
        endpoint("/api/v1/reloads", Token, get(reloads::list).post(reloads::reload)),
    ]
}

fn router(admin: &Shared) -> Router {
    let mut router = Router::new();
    for Endpoint { path, access, methods } in endpoints() {
        let methods = match access {
            Access::Open => methods,
            Access::Token => {
                methods.layer(from_fn_with_state(Arc::clone(admin), access::require_token))
            }
        };
        router = router.route(path, methods);
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(admin), access::require_own_host))
        .layer(map_response(harden))
        .with_state(Arc::clone(admin))
}

async fn metrics(State(admin): State<Shared>) -> Response {
    if let Ok(health) = admin.health.get(&admin.state).await {
        metrics::gauge!("sluice_deliveries_pending").set(lossy(health.pending_deliveries));
        for (destination, pending) in health.pending_by_destination {
            metrics::gauge!("sluice_destination_pending", "destination" => destination.to_string())
                .set(lossy(pending));
        }
        metrics::gauge!("sluice_dead_letters").set(lossy(health.dead_letters));
    }
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], admin.state.metrics.render()).into_response()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a double; exact up to 2^53")]
const fn lossy(count: u64) -> f64 {
    count as f64
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at `{}`", uri.path()))
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this endpoint does not take that method")
}

/// Answers hold personal data and are for one reader: none is cached, framed, sniffed or run.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
