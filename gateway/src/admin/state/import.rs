//! An import: lines as they come in, staged in steps, taken over at the last line.

use std::mem;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header;
use axum::{Extension, Json};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};

use super::lines::{EntryLine, FORMAT, Foot, Head, LINE_BYTES_MAX};
use super::{Problem, Shared, no_state};
use crate::admin::long_answer::LongAnswer;
use crate::model::{AdapterName, StateEntry, UnixMillis};
use crate::storage::{ImportBegun, ImportRefused, StateImport};

/// Entries handed to storage at once, and what they take in memory.
const BATCH: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// How long the next part of the file may take to come: the place is wanted by others.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long the rest of a refused file is still read, so that its sender hears the refusal.
const REFUSED_READ_MAX: Duration = Duration::from_secs(60);

/// `?replace=`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct ImportQuery {
    #[serde(default)]
    replace: bool,
}

/// What an import came to.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Imported {
    adapter: AdapterName,
    state_version: u32,
    /// How many entries there are now.
    entries: u64,
    /// Further ones of the file have expired, and were left out.
    expired: u64,
}

/// Takes the lines of an export. All of it becomes the adapter's state at once, or nothing.
pub(in crate::admin) async fn import(
    State(admin): State<Shared>,
    Extension(long): Extension<LongAnswer>,
    Path(adapter): Path<String>,
    query: Result<Query<ImportQuery>, QueryRejection>,
    body: Body,
) -> Result<Json<Imported>, Problem> {
    let Query(ImportQuery { replace }) =
        query.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let Ok(adapter) = AdapterName::new(&adapter) else { return Err(no_state(&adapter)) };
    let Ok(_place) = admin.imports.0.try_acquire() else {
        let detail = "another import is under way";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, 5_u16));
    };
    // As long as it takes: a file that stops coming ends it.
    let _under_way = long.begin();
    let mut lines = Lines::of(body);
    let imported = run(&admin, &adapter, replace, &mut lines).await;
    match &imported {
        Ok(done) => tracing::info!(
            adapter = %adapter, entries = done.entries, replace, "State was imported."
        ),
        Err(_) => lines.read_out().await,
    }
    imported.map(Json)
}

async fn run(
    admin: &Shared,
    adapter: &AdapterName,
    replace: bool,
    lines: &mut Lines,
) -> Result<Imported, Problem> {
    let version = head(lines, adapter).await?;
    let storage = &admin.state.storage;
    let mut import = match storage.begin_import(adapter.clone(), version, replace).await? {
        ImportBegun::Begun(import) => import,
        ImportBegun::Refused(why) => return Err(refused(adapter, version, &why)),
    };
    let now = admin.state.clock.now();
    let (entries, expired) = entries(lines, &mut *import, now).await?;
    if let Err(why) = import.finish().await? {
        return Err(refused(adapter, version, &why));
    }
    Ok(Imported { adapter: adapter.clone(), state_version: version, entries, expired })
}

/// Reads the first line; returns the version.
async fn head(lines: &mut Lines, adapter: &AdapterName) -> Result<u32, Problem> {
    let not_ours = "this is not the head of exported state, which is as \
        `{\"sluice_state\":1,\"adapter\":\"payouts\",\"state_version\":1}`";
    let line = lines.next().await?.ok_or_else(|| wrong(1, "the file is empty"))?;
    let head: Head =
        serde_json::from_slice(&line).map_err(|error| wrong(1, format!("{not_ours} ({error})")))?;
    if head.sluice_state != FORMAT {
        let found = head.sluice_state;
        return Err(wrong(
            1,
            format!(
                "the format is {found}, this gateway reads {FORMAT}: import it with the version that \
             exported it"
            ),
        ));
    }
    if head.adapter != adapter.as_str() {
        let of = head.adapter;
        return Err(wrong(
            1,
            format!(
                "this is state of the adapter `{of}`: name `{adapter}` here if it is meant for that"
            ),
        ));
    }
    Ok(head.state_version)
}

/// Reads and stages all that follows; returns how many entries were, and how many had expired.
async fn entries(
    lines: &mut Lines,
    import: &mut dyn StateImport,
    now: UnixMillis,
) -> Result<(u64, u64), Problem> {
    let (mut batch, mut numbers, mut bytes) = (Vec::new(), Vec::new(), 0);
    let (mut entries, mut expired) = (0_u64, 0_u64);
    loop {
        let cut = "the last line is as `{\"entries\":12}`, and there is none: the file was cut off";
        let line = lines.next().await?.ok_or_else(|| wrong(lines.number + 1, cut))?;
        if let Ok(foot) = serde_json::from_slice::<Foot>(&line) {
            stage(import, mem::take(&mut batch), &numbers).await?;
            ended(lines, &foot, entries + expired).await?;
            return Ok((entries, expired));
        }
        let entry = EntryLine::parse(&line).map_err(|what| wrong(lines.number, what))?;
        if !entry.is_live(now) {
            expired += 1;
            continue;
        }
        entries += 1;
        bytes += entry.bytes();
        batch.push(entry);
        numbers.push(lines.number);
        if batch.len() >= BATCH || bytes >= BATCH_BYTES {
            stage(import, mem::take(&mut batch), &numbers).await?;
            numbers.clear();
            bytes = 0;
        }
    }
}

async fn stage(
    import: &mut dyn StateImport,
    batch: Vec<StateEntry>,
    numbers: &[u64],
) -> Result<(), Problem> {
    match import.add(batch).await? {
        None => Ok(()),
        Some(repeated) => {
            let line = numbers.get(repeated).copied().unwrap_or_default();
            Err(wrong(line, "an earlier line has the same key: take one of them out"))
        }
    }
}

/// Nothing may follow the last line, and it must be right.
async fn ended(lines: &mut Lines, foot: &Foot, found: u64) -> Result<(), Problem> {
    if foot.entries != found {
        let told = foot.entries;
        return Err(wrong(
            lines.number,
            format!(
                "the last line says that there are {told} entries, and there are {found}: correct it \
             if that is on purpose, else export the state again"
            ),
        ));
    }
    match lines.next().await? {
        None => Ok(()),
        Some(_) => Err(wrong(lines.number, "this follows the last line, which counts the entries")),
    }
}

fn wrong(line: u64, what: impl std::fmt::Display) -> Problem {
    let detail = format!("line {line}: {what}; nothing was imported");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

fn refused(adapter: &AdapterName, version: u32, why: &ImportRefused) -> Problem {
    let conflict = |detail| Problem::new(StatusCode::CONFLICT, detail);
    match why {
        ImportRefused::NoNamespace => no_state(adapter.as_str()),
        ImportRefused::OtherVersion(kept) => conflict(format!(
            "this is state of `state_version` {version}, and the running adapter `{adapter}` keeps \
             {kept}: import it with the plugin that wrote it"
        )),
        ImportRefused::NotEmpty => conflict(format!(
            "the adapter `{adapter}` has state: `--replace` deletes it, and puts what is imported \
             in its place"
        )),
    }
}

/// The lines of a body.
struct Lines {
    body: Body,
    /// Read and not yet told, from `told` on.
    buffer: Vec<u8>,
    told: usize,
    over: bool,
    /// Of the line told last.
    number: u64,
}

impl Lines {
    const fn of(body: Body) -> Self {
        Self { body, buffer: Vec::new(), told: 0, over: false, number: 0 }
    }

    /// The next line without its end; absent after the last. An empty one after the last is none.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        let mut looked_at = self.told;
        loop {
            let rest = self.buffer.get(looked_at..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let end = looked_at + length;
                return Ok(Some(self.take(end, end + 1)));
            }
            looked_at = self.buffer.len();
            if looked_at - self.told > LINE_BYTES_MAX {
                let what = format!("a line has at most {LINE_BYTES_MAX} bytes");
                return Err(wrong(self.number + 1, what));
            }
            if self.over {
                let left = looked_at > self.told;
                return Ok(left.then(|| self.take(looked_at, looked_at)));
            }
            looked_at -= self.told;
            self.buffer.drain(..self.told);
            self.told = 0;
            self.read().await?;
        }
    }

    fn take(&mut self, end: usize, next: usize) -> Vec<u8> {
        self.number += 1;
        let line = self.buffer.get(self.told..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        self.told = next;
        line
    }

    async fn read(&mut self) -> Result<(), Problem> {
        let broken = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        match tokio::time::timeout(SILENCE_MAX, self.body.frame()).await {
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the file stopped coming; nothing was imported",
            )),
            Ok(None) => {
                self.over = true;
                Ok(())
            }
            Ok(Some(Err(error))) => {
                Err(broken(format!("the file broke off ({error}); nothing was imported")))
            }
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                Ok(())
            }
        }
    }

    /// Reads what is left, for a while: who still sends does not listen.
    async fn read_out(&mut self) {
        let all = async { while let Some(Ok(_)) = self.body.frame().await {} };
        // Then the connection is closed on it.
        drop(tokio::time::timeout(REFUSED_READ_MAX, all).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_told_one_by_one_wherever_the_body_is_cut() {
        let text = "a\nbb\r\n\nlast";
        let mut lines = Lines::of(Body::from(text));
        let mut told = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            told.push((lines.number, String::from_utf8(line).unwrap()));
        }
        let expected = [(1, "a"), (2, "bb"), (3, ""), (4, "last")];
        assert_eq!(told, expected.map(|(n, line)| (n, line.to_owned())));

        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert!(Lines::of(Body::from(long)).next().await.is_err());
    }
}
