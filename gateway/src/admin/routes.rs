//! Routes: which there are, whether they are paused, and the switch that pauses them.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::problem::Problem;
use super::view::rfc3339;
use crate::model::{AdapterName, RouteName, UnixMillis};
use crate::storage::StorageFuture;

/// One route of the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteSummary {
    pub name: RouteName,
    /// As it is configured: a token reads `{token}`.
    pub path: String,
    pub adapter: AdapterName,
    /// Whether it accepts nothing at present.
    pub paused: bool,
    /// What the configuration says.
    pub paused_in_config: bool,
    /// Present where an operator's switch decides.
    pub switch: Option<RouteSwitchView>,
}

/// An operator's switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteSwitchView {
    pub paused: bool,
    #[serde(serialize_with = "rfc3339")]
    pub since: UnixMillis,
}

/// What an operator wants of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// Paused, whatever the configuration says.
    Pause,
    /// Not paused, whatever the configuration says.
    Resume,
    /// As the configuration says.
    FollowConfig,
}

impl Switch {
    /// The word in queries and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::FollowConfig => "follow-config",
        }
    }
}

/// The routes in force.
pub trait Routes: Send + Sync + std::fmt::Debug {
    /// By name.
    fn list(&self) -> Vec<RouteSummary>;

    /// Sets a route's switch, and returns the route; absent where there is none of that name.
    /// Stored, and in force, when it returns.
    fn switch(&self, route: RouteName, to: Switch) -> StorageFuture<'_, Option<RouteSummary>>;
}

#[derive(Debug, Serialize)]
pub(super) struct RouteList {
    routes: Vec<RouteSummary>,
}

pub(super) async fn list(State(admin): State<Shared>) -> Json<RouteList> {
    Json(RouteList { routes: admin.state.routes.list() })
}

pub(super) async fn show(
    State(admin): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<RouteSummary>, Problem> {
    let routes = admin.state.routes.list();
    let found = routes.into_iter().find(|route| route.name.as_str() == name);
    found.map(Json).ok_or_else(|| no_such_route(&name))
}

/// `?switch=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwitchQuery {
    switch: Switch,
}

pub(super) async fn switch(
    State(admin): State<Shared>,
    Path(name): Path<String>,
    query: Result<Query<SwitchQuery>, QueryRejection>,
) -> Result<Json<RouteSummary>, Problem> {
    let Query(SwitchQuery { switch }) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let route = RouteName::new(&name).map_err(|_| no_such_route(&name))?;
    let switched = admin.state.routes.switch(route, switch).await?;
    switched.map(Json).ok_or_else(|| no_such_route(&name))
}

fn no_such_route(name: &str) -> Problem {
    let detail = format!("there is no route `{name}`; `sluice routes` lists them");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admin::testing::{Desk, TOKEN};

    #[tokio::test]
    async fn a_route_is_listed_shown_and_switched() {
        let desk = Desk::start().await;
        let ask = async |path: &str| -> (u16, Value) {
            let request = desk.client.post(desk.url(path)).bearer_auth(TOKEN);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json().await.unwrap())
        };
        let paused = async || desk.get("/api/v1/routes").await.1["routes"][0]["paused"].clone();
        assert_eq!(paused().await, false);
        let (status, told) = ask("/api/v1/routes/buyer?switch=pause").await;
        assert_eq!((status, &told["paused"]), (200, &json!(true)));
        assert!(told["switch"]["since"].is_string(), "{told}");
        assert_eq!(paused().await, true);
        assert_eq!(ask("/api/v1/routes/buyer?switch=resume").await.1["switch"]["paused"], false);
        let (_, told) = ask("/api/v1/routes/buyer?switch=follow-config").await;
        assert_eq!(told["switch"], Value::Null);
        assert_eq!(desk.get("/api/v1/routes/buyer").await, (200, told));
        for (path, expected) in [
            ("/api/v1/routes/buyers?switch=pause", 404),
            ("/api/v1/routes/No%20Name?switch=pause", 404),
            ("/api/v1/routes/buyer?switch=stop", 400),
            ("/api/v1/routes/buyer", 400),
        ] {
            assert_eq!(ask(path).await.0, expected, "{path}");
        }
        assert_eq!(desk.get("/api/v1/routes/buyers").await.0, 404);
    }
}
