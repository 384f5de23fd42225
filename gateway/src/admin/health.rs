//! Liveness and readiness.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{AdminState, Phase, Shared};
use crate::storage::{StorageError, StorageHealth};

/// How long an answer of storage is good for: anyone may ask for readiness, as often as they like.
const HEALTH_AGE_MAX: Duration = Duration::from_millis(500);

/// How long storage may take to say how it is; after that it is not well.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// What probes are told.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    phase: &'static str,
    /// A sentence where the answer is not 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The last health of storage: asked for once, however many want it.
#[derive(Debug, Default)]
pub(super) struct HealthCache(Mutex<Option<(Instant, Result<StorageHealth, String>)>>);

impl HealthCache {
    pub(super) async fn get(&self, state: &AdminState) -> Result<StorageHealth, String> {
        let mut cached = self.0.lock().await;
        if let Some((at, health)) = &*cached
            && at.elapsed() < HEALTH_AGE_MAX
        {
            return health.clone();
        }
        let asked = tokio::time::timeout(HEALTH_TIMEOUT, state.storage.health()).await;
        let health = asked
            .map_err(|_| "storage does not answer".to_owned())
            .and_then(|health| health.map_err(|error| reason(&error).to_owned()));
        *cached = Some((Instant::now(), health.clone()));
        health
    }
}

/// Open to all, and so without the private part of an error.
const fn reason(error: &StorageError) -> &'static str {
    match error {
        StorageError::Full => "the disk is full",
        StorageError::Busy => "storage is busy",
        StorageError::Fatal { .. } => "storage failed and the gateway must restart",
        StorageError::Closed => "storage is closed",
        StorageError::Failed { .. } => "storage could not answer",
    }
}

/// Green as long as the process can answer: a restart would not mend what is only unready.
pub(super) async fn healthz(State(admin): State<Shared>) -> Json<Health> {
    Json(Health { phase: admin.state.phase.borrow().as_str(), reason: None })
}

/// Green while requests are accepted and stored.
pub(super) async fn readyz(State(admin): State<Shared>) -> (StatusCode, Json<Health>) {
    let phase = *admin.state.phase.borrow();
    let reason = match phase {
        Phase::Starting => Some("the gateway is starting".to_owned()),
        Phase::Draining => Some("the gateway is stopping".to_owned()),
        Phase::Serving => match admin.health.get(&admin.state).await {
            Ok(health) => health.refusing,
            Err(reason) => Some(reason),
        },
    };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Health { phase: phase.as_str(), reason }))
}
