//! Requests: stored and refused ones in one list, and one whole.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::problem::Problem;
use super::refused::{RefusedFilter, VerifiedAgain};
use super::view::{RequestItem, RequestPage, RequestView};
use crate::model::{Diagnosis, Disposition, RequestId, RouteName};
use crate::storage::RequestFilter;

const LIMIT_DEFAULT: usize = 50;

/// Rows of one page at most: what a screen shows and a script fetches in a few milliseconds.
const LIMIT_MAX: usize = 200;

/// `?route=&disposition=&before=&limit=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    route: Option<RouteName>,
    disposition: Option<Disposition>,
    /// The `next` of the page before.
    before: Option<RequestId>,
    limit: Option<usize>,
}

/// Newest first. Ids sort by time of arrival, so the last one of a page is the key of the next.
pub(super) async fn list(
    State(admin): State<Shared>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<RequestPage>, Problem> {
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("`limit` is 1 to {LIMIT_MAX}, got: `{limit}`");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    // One more than shown tells whether there is a next page.
    let wanted = limit + 1;
    let refused_only = query.disposition == Some(Disposition::Rejected);
    let mut items = Vec::new();
    if !refused_only {
        let filter = RequestFilter {
            route: query.route.clone(),
            disposition: query.disposition,
            before: query.before,
            limit: wanted,
        };
        let stored = admin.state.storage.requests(filter).await?;
        items.extend(stored.into_iter().map(RequestItem::from));
    }
    if query.disposition.is_none() || refused_only {
        let filter = RefusedFilter { route: query.route, before: query.before, limit: wanted };
        items.extend(admin.state.refused.list(&filter).into_iter().map(RequestItem::from));
    }
    items.sort_by_key(|item| Reverse(item.id));
    // A quarantined request may stand in both. Sorting kept the stored one first, and it stays.
    items.dedup_by_key(|item| item.id);
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|item| item.id);
    Ok(Json(RequestPage { requests: items, next }))
}

pub(super) async fn show(
    State(admin): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<RequestView>, Problem> {
    let id: RequestId = id
        .parse()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the id of a request is a UUID"))?;
    if let Some(stored) = admin.state.storage.request(id).await? {
        return Ok(Json(RequestView::from(stored)));
    }
    match admin.state.refused.get(id) {
        Some(refused) => Ok(Json(RequestView::from(refused))),
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no such request is stored, and none is among those refused lately",
        )),
    }
}

/// What became of a request that was verified again.
#[derive(Debug, Serialize)]
pub(super) struct VerifyView {
    id: RequestId,
    /// `rejected` where it is refused still.
    disposition: &'static str,
    /// What the provider would be answered.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// `?action=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActQuery {
    action: Action,
}

/// What can be done with a request.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    Verify,
}

pub(super) async fn act(
    admin: State<Shared>,
    id: Path<String>,
    query: Result<Query<ActQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<VerifyView>), Problem> {
    let Query(ActQuery { action }) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    match action {
        Action::Verify => verify(admin, id).await,
    }
}

/// Verifies a refused request again: 200 where it is stored now, 422 where it is refused still, 409
/// where it cannot be verified.
async fn verify(
    State(admin): State<Shared>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<VerifyView>), Problem> {
    let id: RequestId = id
        .parse()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the id of a request is a UUID"))?;
    match admin.state.refused.verify(id).await? {
        VerifiedAgain::Unknown => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no such request is among those refused lately; the oldest go when there are many, and \
             all at a restart",
        )),
        VerifiedAgain::Impossible(why) => {
            let detail = format!("it cannot be verified again: {why}");
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        VerifiedAgain::Stored { disposition, status } => {
            let view = VerifyView { id, disposition, status, diagnosis: None, detail: None };
            Ok((StatusCode::OK, Json(view)))
        }
        VerifiedAgain::Refused { status, diagnosis, detail } => {
            let disposition = Disposition::Rejected.as_str();
            let (diagnosis, detail) = (Some(diagnosis), Some(detail));
            let view = VerifyView { id, disposition, status, diagnosis, detail };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(view)))
        }
    }
}
