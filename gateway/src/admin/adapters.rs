//! Adapters: which there are, and the questions that they answer (views).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::Shared;
use super::problem::Problem;
use crate::adapter::{FactColumn, View, ViewEnd};
use crate::model::{AdapterName, PluginName, RouteName};

/// Views that run at once, on a thread of their own each. The sandbox keeps a place for one beside
/// the calls of ingest.
const VIEWS_MAX: usize = 1;

/// Views that run or wait for their turn. Each takes a call's deadline at most.
const VIEWS_WAITING_MAX: usize = 16;

/// One configured adapter.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterSummary {
    pub name: AdapterName,
    pub plugin: PluginName,
    /// `false`: it could not take up its settings, and its routes answer 503.
    pub serving: bool,
    /// Of the plugin; what follows is what the plugin says of itself. Absent where it does not
    /// serve.
    pub version: Option<String>,
    /// SHA-256 of the component.
    pub digest: Option<String>,
    pub routes: Vec<RouteName>,
    /// Present where it keeps state.
    pub state_version: Option<u32>,
    /// Event types that it consumes.
    pub consumes: Vec<String>,
    pub views: Vec<View>,
    pub facts: Vec<FactColumn>,
}

/// The adapters of the configuration in force.
pub trait Adapters: Send + Sync + std::fmt::Debug {
    /// By name.
    fn list(&self) -> Vec<AdapterSummary>;

    /// Asks the adapter one of the views that it describes; `parameters` is a JSON object. Absent
    /// where the adapter does not serve.
    ///
    /// Blocks for a call's deadline at most. Nothing is changed by it.
    fn view(&self, adapter: &AdapterName, view: &str, parameters: &str) -> Option<ViewEnd>;
}

/// Bounds the views that run, and those that wait.
#[derive(Debug)]
pub(super) struct ViewPlaces {
    running: Semaphore,
    waiting: Semaphore,
}

impl Default for ViewPlaces {
    fn default() -> Self {
        Self { running: Semaphore::new(VIEWS_MAX), waiting: Semaphore::new(VIEWS_WAITING_MAX) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct AdapterList {
    adapters: Vec<AdapterSummary>,
}

pub(super) async fn list(State(admin): State<Shared>) -> Json<AdapterList> {
    Json(AdapterList { adapters: admin.state.adapters.list() })
}

/// `?key=value…`: the parameters.
pub(super) async fn view(
    State(admin): State<Shared>,
    Path((name, view)): Path<(String, String)>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let all = admin.state.adapters.list();
    let adapter = all.into_iter().find(|adapter| adapter.name.as_str() == name);
    let adapter = adapter.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no adapter `{name}`"))
    })?;
    if !adapter.serving {
        return Err(not_serving(&adapter.name));
    }
    let described = adapter.views.iter().find(|described| described.name == view);
    let described = described.ok_or_else(|| no_such_view(&adapter, &view))?;
    let parameters = Value::Object(parameters(query, &described.parameters_schema)?).to_string();
    let Ok(_waiting) = admin.views.waiting.try_acquire() else {
        let detail = "too many views are being asked for";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, 1_u16));
    };
    // Never closed; an error would only mean that nothing bounds it.
    let _running = admin.views.running.acquire().await;
    let (adapters, asked) = (Arc::clone(&admin.state.adapters), adapter.name.clone());
    let ended = tokio::task::spawn_blocking(move || adapters.view(&asked, &view, &parameters));
    match ended.await {
        Ok(Some(ended)) => answer(ended),
        Ok(None) => Err(not_serving(&adapter.name)),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the view's thread failed")),
    }
}

fn not_serving(adapter: &AdapterName) -> Problem {
    let detail = format!("the adapter `{adapter}` could not take up its settings");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

fn no_such_view(adapter: &AdapterSummary, view: &str) -> Problem {
    let names: Vec<String> = adapter.views.iter().map(|view| format!("`{}`", view.name)).collect();
    let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let detail = format!("the adapter `{}` has no view `{view}`; it has {has}", adapter.name);
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// The parameters as a JSON object: texts, and numbers and booleans where the view's schema wants
/// those.
fn parameters(query: Vec<(String, String)>, schema: &Value) -> Result<Map<String, Value>, Problem> {
    let mut parameters = BTreeMap::new();
    for (key, text) in query {
        let schema = schema.get("properties").and_then(|properties| properties.get(&key));
        let value = typed(text, schema);
        if parameters.insert(key.clone(), value).is_some() {
            let detail = format!("the parameter `{key}` is given twice");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    }
    Ok(parameters.into_iter().collect())
}

fn typed(text: String, schema: Option<&Value>) -> Value {
    let wants = |kind: &str| match schema.and_then(|schema| schema.get("type")) {
        Some(Value::Array(kinds)) => kinds.iter().any(|it| it == kind),
        Some(one) => one == kind,
        None => false,
    };
    if wants("string") {
        return Value::String(text);
    }
    match serde_json::from_str(&text) {
        Ok(number @ Value::Number(_)) if wants("integer") || wants("number") => number,
        Ok(flag @ Value::Bool(_)) if wants("boolean") => flag,
        Ok(_) | Err(_) => Value::String(text),
    }
}

fn answer(ended: ViewEnd) -> Result<Response, Problem> {
    match ended {
        ViewEnd::Answer(json) => {
            let json_type = HeaderValue::from_static("application/json");
            Ok(([(header::CONTENT_TYPE, json_type)], json).into_response())
        }
        ViewEnd::Rejection(rejection) => {
            // What is said about the token is the gateway's alone to say.
            let status = StatusCode::from_u16(rejection.status)
                .ok()
                .filter(|status| status.is_client_error() && *status != StatusCode::UNAUTHORIZED)
                .unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
            let detail = format!("{}: {}", rejection.diagnosis, rejection.detail);
            Err(Problem::new(status, detail))
        }
        ViewEnd::Trap(message) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, message)),
        ViewEnd::Deadline => {
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "the view ran out of time"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_what_the_views_schema_wants() {
        let schema = json!({ "properties": {
            "limit": { "type": ["integer", "null"] }, "exact": { "type": "boolean" },
            "share": { "type": "number" }, "id": { "type": "string" },
        } });
        let query =
            [("limit", "5"), ("exact", "true"), ("share", "1.5"), ("id", "7"), ("other", "8")];
        let owned = |(key, text): (&str, &str)| (key.to_owned(), text.to_owned());
        let found = parameters(query.map(owned).to_vec(), &schema).unwrap();
        let expected = json!({ "limit": 5, "exact": true, "share": 1.5, "id": "7", "other": "8" });
        assert_eq!(Value::Object(found), expected);
        let wrong = parameters(vec![owned(("limit", "many"))], &schema).unwrap();
        assert_eq!(wrong["limit"], "many", "for the adapter to refuse");
        assert!(parameters([("a", "1"), ("a", "2")].map(owned).to_vec(), &schema).is_err());
    }
}
