//! The store of a gateway that has stopped, read through the gateway's own library.

use std::fs;
use std::sync::Arc;

use anyhow::Context as _;
use sluice::model::{Disposition, SystemClock};
use sluice::storage::sqlite::{SqliteOptions, SqliteStorage};
use sluice::storage::{RequestFilter, Storage, StoredRequest};

use crate::Home;
use crate::ledger::Stored;

/// Rows of one page, the most that storage gives.
const PAGE: usize = 500;

/// Removes it: the next gateway in this home starts on an empty one. The gateway must have ended.
///
/// # Errors
///
/// Where a file of it cannot be removed.
pub fn remove(home: &Home) -> anyhow::Result<()> {
    for entry in fs::read_dir(home.data()).context("reading the folder of the store")? {
        let entry = entry.context("reading the folder of the store")?;
        if entry.file_name().to_string_lossy().starts_with("sluice.db") {
            fs::remove_file(entry.path()).context("removing the store")?;
        }
    }
    Ok(())
}

/// Every stored request, newest first. The gateway must have ended: it locks its store.
///
/// # Errors
///
/// Where the store cannot be opened or read.
pub async fn requests(home: &Home) -> anyhow::Result<Vec<StoredRequest>> {
    let path = home.data().join("sluice.db");
    let storage = SqliteStorage::open(&path, SqliteOptions::new(Arc::new(SystemClock)))
        .context("opening the store of a stopped gateway")?;
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let filter = RequestFilter { before, limit: PAGE, ..RequestFilter::default() };
        let page = storage.requests(filter).await?;
        for summary in &page {
            all.push(storage.request(summary.id).await?.context("a listed request is gone")?);
        }
        before = page.last().map(|summary| summary.id);
        if page.len() < PAGE {
            break;
        }
    }
    storage.close().await;
    Ok(all)
}

/// The accepted requests of the `vkyc` route, as the ledger knows them.
///
/// # Errors
///
/// Where the store cannot be read, a body is damaged, or a request has not exactly one event.
pub async fn accepted(home: &Home) -> anyhow::Result<Vec<Stored>> {
    let mut stored = Vec::new();
    for request in requests(home).await? {
        if request.record.disposition != Disposition::Accepted {
            continue;
        }
        anyhow::ensure!(request.intact, "the body of {} is damaged", request.record.id);
        anyhow::ensure!(request.events.len() == 1, "{} has not one event", request.record.id);
        let body: serde_json::Value = serde_json::from_slice(&request.record.body)?;
        let id = body.pointer("/eventId").and_then(serde_json::Value::as_str);
        stored.push(Stored {
            id: id.context("a stored body has no event id")?.to_owned(),
            sha256: crate::ledger::digest(&request.record.body),
        });
    }
    Ok(stored)
}
