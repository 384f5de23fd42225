//! Changing a home while its gateway runs, and what the gateway tells of it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::gateway::Gateway;
use crate::home::Home;
use crate::wait::wait_until;

/// A reload that takes longer hangs. It compiles, at a low priority: on a machine that has far more
/// to do than it can, that alone has been seen to take half a minute.
pub const RELOAD_MAX: Duration = Duration::from_secs(5 * 60);

impl Home {
    /// The main configuration file's text.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn config_text(&self) -> anyhow::Result<String> {
        fs::read_to_string(self.config()).context("reading sluice.toml")
    }

    /// Replaces a file of the home by rename, the safe way.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn replace(&self, name: &str, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let path = self.folder().join(name);
        let beside = self.folder().join(".replacing");
        let mode = if Path::new(name).starts_with("secrets") { 0o600 } else { 0o644 };
        let mut open = OpenOptions::new();
        let file = open.write(true).create(true).truncate(true).mode(mode).open(&beside);
        file.and_then(|mut file| file.write_all(bytes.as_ref()))
            .and_then(|()| fs::rename(&beside, &path))
            .with_context(|| format!("replacing {name}"))
    }

    /// Changes the main configuration file's text, by rename.
    ///
    /// # Errors
    ///
    /// Where `from` is not in it, or it cannot be written.
    pub fn edit(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let text = self.config_text()?;
        anyhow::ensure!(text.contains(from), "`{from}` is not in\n{text}");
        self.replace("sluice.toml", text.replacen(from, to, 1))
    }
}

impl Gateway {
    /// All reloads that it remembers, newest first.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub async fn reloads(&self) -> anyhow::Result<Vec<Value>> {
        let page = self.admin_get("/api/v1/reloads?limit=200").await?.json()?;
        let reloads = page.get("reloads").and_then(Value::as_array).cloned();
        reloads.with_context(|| format!("no reloads in {page}"))
    }

    /// Reloads, and returns the record.
    ///
    /// # Errors
    ///
    /// Where it does not answer, or refuses.
    pub async fn reload(&self) -> anyhow::Result<Value> {
        let answer = self.admin_post("/api/v1/reloads", RELOAD_MAX).await?;
        anyhow::ensure!(answer.status == 200, "refused: {}", answer.text());
        answer.json()
    }

    /// Waits for a reload that is newer than the record `after` and told by `is_it`.
    ///
    /// # Errors
    ///
    /// Where none comes in time; with those that came.
    pub async fn reloaded_since(
        &self,
        after: u64,
        what: &str,
        is_it: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let is_it = &is_it;
        let waited = wait_until(what, RELOAD_MAX, || async move {
            let reloads = self.reloads().await.ok()?;
            reloads.into_iter().find(|record| number(record) > after && is_it(record))
        });
        match waited.await {
            Ok(record) => Ok(record),
            Err(error) => Err(error.context(format!("there were {:#?}", self.reloads().await?))),
        }
    }

    /// The number of the last record.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub async fn last_reload(&self) -> anyhow::Result<u64> {
        Ok(self.reloads().await?.first().map_or(0, number))
    }
}

fn number(record: &Value) -> u64 {
    record.get("number").and_then(Value::as_u64).unwrap_or_default()
}

/// The words for each change of a record.
#[must_use]
pub fn changes(record: &Value) -> Vec<&str> {
    let changes = record.get("changes").and_then(Value::as_array);
    changes.into_iter().flatten().filter_map(|change| change.get("text")?.as_str()).collect()
}

/// Each problem of a record, as `key: message`.
#[must_use]
pub fn problems(record: &Value) -> Vec<String> {
    let problems = record.get("problems").and_then(Value::as_array);
    let text = |problem: &Value, key| {
        problem.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    problems
        .into_iter()
        .flatten()
        .map(|problem| format!("{}: {}", text(problem, "key"), text(problem, "message")))
        .collect()
}
