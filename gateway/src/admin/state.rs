//! Adapters' state: listed, and replaced by what was exported.

mod import;
mod lines;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use self::lines::{EntryLine, FORMAT, Head};
use super::Shared;
use super::problem::Problem;
use crate::model::{AdapterName, STATE_KEY_BYTES_MAX, StateRange};
use crate::storage::NamespaceSummary;

pub(super) use self::import::import;

const LIMIT_DEFAULT: usize = 50;

/// Entries of one page at most. Storage ends a page sooner where entries are large.
const LIMIT_MAX: usize = 500;

/// Imports at once: each stages entries without a bound, in one writer.
const IMPORTS_MAX: usize = 1;

/// Bounds the imports under way.
#[derive(Debug)]
pub(super) struct ImportPlaces(Arc<Semaphore>);

impl Default for ImportPlaces {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(IMPORTS_MAX)))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Namespaces {
    namespaces: Vec<NamespaceSummary>,
}

pub(super) async fn namespaces(State(admin): State<Shared>) -> Result<Json<Namespaces>, Problem> {
    Ok(Json(Namespaces { namespaces: admin.state.storage.namespaces().await? }))
}

/// `?prefix=&prefix_base64=&after=&limit=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntriesQuery {
    /// Only keys that begin so.
    prefix: Option<String>,
    /// The same, of a prefix that is not text.
    prefix_base64: Option<String>,
    /// The `next` of the page before.
    after: Option<String>,
    limit: Option<usize>,
}

/// A page of one moment, with what the head of an export says.
#[derive(Debug, Serialize)]
pub(super) struct EntriesPage {
    #[serde(flatten)]
    head: Head,
    entries: Vec<EntryLine>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// In the order of keys. A page may have fewer entries than asked for, or none, although there is a
/// next one.
pub(super) async fn entries(
    State(admin): State<Shared>,
    Path(adapter): Path<String>,
    query: Result<Query<EntriesQuery>, QueryRejection>,
) -> Result<Json<EntriesPage>, Problem> {
    let Query(query) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(bad(format!("`limit` is 1 to {LIMIT_MAX}, got: `{limit}`")));
    }
    let range = range(&query)?;
    let Ok(name) = AdapterName::new(&adapter) else { return Err(no_state(&adapter)) };
    let page = admin.state.storage.entries(name, range, limit).await?;
    let page = page.ok_or_else(|| no_state(&adapter))?;
    let head = Head { sluice_state: FORMAT, adapter, state_version: page.state_version };
    Ok(Json(EntriesPage {
        head,
        entries: page.entries.into_iter().map(EntryLine::from).collect(),
        next: page.next.map(|key| URL_SAFE_NO_PAD.encode(key)),
    }))
}

fn range(query: &EntriesQuery) -> Result<StateRange, Problem> {
    let prefix = match (&query.prefix, &query.prefix_base64) {
        (Some(_), Some(_)) => return Err(bad("give `prefix` or `prefix_base64`, not both")),
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|error| bad(format!("`prefix_base64` is not base64 ({error})")))?,
        (None, None) => Vec::new(),
    };
    let mut range = StateRange::new(prefix.clone(), after_all_with(prefix));
    if let Some(after) = &query.after {
        let wrong = "`after` is the `next` of a page before, as it stands there";
        range.start = URL_SAFE_NO_PAD.decode(after).map_err(|_| bad(wrong))?;
        if range.start.len() > STATE_KEY_BYTES_MAX + 1 {
            return Err(bad(wrong));
        }
    }
    Ok(range)
}

/// The first key after all that begin with `prefix`; absent where that is the end of all keys.
fn after_all_with(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return Some(prefix);
        }
        prefix.pop();
    }
    None
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn no_state(adapter: &str) -> Problem {
    let detail =
        format!("no adapter `{adapter}` keeps state here; `sluice state list` shows those that do");
    Problem::new(StatusCode::NOT_FOUND, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_first_key_without_it() {
        for (prefix, end) in [
            (&b"ab"[..], Some(&b"ac"[..])),
            (&[7, 0xff, 0xff], Some(&[8])),
            (&[0xff, 0xff], None),
            (&[], None),
        ] {
            assert_eq!(after_all_with(prefix.to_vec()).as_deref(), end, "{prefix:?}");
        }
    }
}
