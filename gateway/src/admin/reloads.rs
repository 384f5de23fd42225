//! Reloads: those that were made, and one to be made.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::problem::Problem;
use crate::reload::{Fared, RECORDS_MAX, ReloadRecord, Stopping};

const LIMIT_DEFAULT: usize = 20;

/// `?before=&limit=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// The `next` of the page before.
    before: Option<u64>,
    limit: Option<usize>,
}

/// Reloads since the start, newest first.
#[derive(Debug, Serialize)]
pub(super) struct ReloadPage {
    reloads: Vec<ReloadRecord>,
    /// Absent on the last page.
    next: Option<u64>,
}

pub(super) async fn list(
    State(admin): State<Shared>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ReloadPage>, Problem> {
    let Query(query) = query.map_err(|error| bad_query(&error))?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=RECORDS_MAX).contains(&limit) {
        let detail = format!("`limit` is 1 to {RECORDS_MAX}, got: `{limit}`");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    // One more than shown tells whether there is a next page.
    let mut reloads = admin.state.reloads.history().list(query.before, limit + 1);
    let more = reloads.len() > limit;
    reloads.truncate(limit);
    let next = reloads.last().filter(|_| more).map(|record| record.number);
    let reloads = reloads.into_iter().map(Arc::unwrap_or_clone).collect();
    Ok(Json(ReloadPage { reloads, next }))
}

/// `?dry_run=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReloadQuery {
    #[serde(default)]
    dry_run: bool,
}

/// Reloads and tells what became of it: 200 where the configuration is in force, or would be, and
/// 422 where it was refused.
pub(super) async fn reload(
    State(admin): State<Shared>,
    query: Result<Query<ReloadQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<ReloadRecord>), Problem> {
    let Query(ReloadQuery { dry_run }) = query.map_err(|error| bad_query(&error))?;
    let record = admin.state.reloads.reload(dry_run).await.map_err(|Stopping| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, Stopping.to_string())
            .with_header(header::RETRY_AFTER, 30_u16)
    })?;
    let status = match record.result {
        Fared::Applied | Fared::WouldApply => StatusCode::OK,
        Fared::Refused => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Ok((status, Json(Arc::unwrap_or_clone(record))))
}

fn bad_query(error: &QueryRejection) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error.body_text())
}

#[cfg(test)]
mod tests;
