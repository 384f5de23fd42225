//! `sluice state list | export | import`: what the adapters of a running gateway keep.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::{AdminArguments, AdminClient};
use super::requests::{cell, outline, pretty, scalar};
use super::{CommandError, Format, print};

/// Entries of a page of an export: the most that the gateway gives.
const EXPORT_PAGE: &str = "500";

/// Bytes of the first line that are read to find whose state it is.
const HEAD_BYTES_MAX: u64 = 4_096;

/// Characters of a value that a table shows.
const SHOWN: usize = 60;

#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// List the adapters that keep state; or, of one adapter, its entries in the order of keys.
    List(ListArguments),
    /// Write all that an adapter keeps to standard output, as JSON lines.
    Export(ExportArguments),
    /// Make an export an adapter's state: all of it, or nothing.
    Import(ImportArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    admin: AdminArguments,
    /// List the entries of this adapter.
    adapter: Option<String>,
    /// Only keys that begin so.
    #[arg(long, value_name = "TEXT", requires = "adapter")]
    prefix: Option<String>,
    /// Go on from there, as the page before says at its end.
    #[arg(long, value_name = "NEXT", requires = "adapter")]
    after: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    admin: AdminArguments,
    /// The adapter's name, as `list` prints it.
    adapter: String,
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    #[command(flatten)]
    admin: AdminArguments,
    /// What `export` wrote; `-` for standard input.
    file: PathBuf,
    /// Delete what the adapter keeps. What calls write between an export and the import of it is
    /// deleted too.
    #[arg(long)]
    replace: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(command: StateCommand) -> Result<(), CommandError> {
    match command {
        StateCommand::List(arguments) => match &arguments.adapter {
            Some(adapter) => list_entries(&arguments, adapter),
            None => list_namespaces(&arguments),
        },
        StateCommand::Export(arguments) => {
            let client = arguments.admin.client()?;
            let mut out = BufWriter::new(io::stdout().lock());
            match export(&client, &arguments.adapter, &mut out) {
                // As of `sluice … | head`: nobody reads on.
                Err(CommandError::Other(error)) if is_broken_pipe(&error) => Ok(()),
                ended => ended,
            }
        }
        StateCommand::Import(arguments) => import(&arguments),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn list_namespaces(arguments: &ListArguments) -> Result<(), CommandError> {
    let list = arguments.admin.client()?.get("api/v1/state", &[])?;
    if arguments.format == Format::Json {
        return print(&pretty(&list));
    }
    let mut text = format!("{:<24}  {:>13}  {:>8}", "ADAPTER", "STATE_VERSION", "ENTRIES");
    let rows = list.get("namespaces").and_then(Value::as_array);
    for row in rows.into_iter().flatten() {
        let counted = row.get("entries").and_then(Value::as_u64).unwrap_or_default();
        let more = if counted >= crate::storage::ENTRIES_COUNTED_MAX { "+" } else { "" };
        text.push_str(&format!(
            "\n{:<24}  {:>13}  {:>8}",
            cell(row, "adapter"),
            cell(row, "state_version"),
            format!("{counted}{more}"),
        ));
    }
    print(&text)
}

/// A page as the gateway answers it; each entry is as it stands in a line of an export.
#[derive(Debug, Deserialize)]
struct Page {
    sluice_state: u32,
    adapter: String,
    state_version: u32,
    entries: Vec<Box<RawValue>>,
    next: Option<String>,
}

/// What is shown of an entry.
#[derive(Debug, Deserialize)]
struct Shown {
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(default)]
    json: Option<Box<RawValue>>,
    text: Option<String>,
    base64: Option<String>,
    expires_at: Option<String>,
}

fn list_entries(arguments: &ListArguments, adapter: &str) -> Result<(), CommandError> {
    let client = arguments.admin.client()?;
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.prefix.clone().map(|prefix| ("prefix", prefix)));
    query.extend(arguments.after.clone().map(|after| ("after", after)));
    let path = ["api", "v1", "state", adapter];
    if arguments.format == Format::Json {
        let page: Box<RawValue> = client.get_as(&path, &query)?;
        return print(page.get());
    }
    let page: Page = client.get_as(&path, &query)?;
    let mut text = format!("{:<40}  {:<24}  {}", "KEY", "EXPIRES", "VALUE");
    for entry in &page.entries {
        let entry: Shown =
            serde_json::from_str(entry.get()).context("reading the gateway's answer")?;
        text.push_str(&row(entry));
    }
    if let Some(next) = page.next {
        text.push_str(&format!("\nmore: --after {next}"));
    }
    print(&text)
}

fn row(entry: Shown) -> String {
    let Shown { key, key_base64, json, text, base64, expires_at } = entry;
    let in_base64 = |base64: Option<String>| base64.map(|text| format!("base64:{text}"));
    let plain = |text: String| scalar(&Value::String(text)).replace('\n', "\\n");
    let key = plain(key.or_else(|| in_base64(key_base64)).unwrap_or_default());
    let json = json.map_or_else(|| "null".to_owned(), |json| json.get().to_owned());
    let value = plain(text.or_else(|| in_base64(base64)).unwrap_or(json));
    let mut short: String = value.chars().take(SHOWN).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    format!("\n{key:<40}  {:<24}  {short}", expires_at.as_deref().unwrap_or("-"))
}

/// The first line of an export.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    sluice_state: u32,
    adapter: String,
    state_version: u32,
}

/// Writes page by page: no page waits for another, and none holds the store up.
fn export(client: &AdminClient, adapter: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    let (mut first, mut after, mut count) = (None, None, 0_u64);
    loop {
        let mut query = vec![("limit", EXPORT_PAGE.to_owned())];
        query.extend(after.map(|after| ("after", after)));
        let page: Page = client.get_as(&["api", "v1", "state", adapter], &query)?;
        let Page { sluice_state, adapter, state_version, entries, next } = page;
        let head = Head { sluice_state, adapter, state_version };
        match &first {
            None => {
                let line = serde_json::to_string(&head).context("writing the first line")?;
                write(out, &line)?;
                first = Some(head);
            }
            Some(first) if *first != head => {
                let why = "the state was replaced by another version meanwhile: export it again";
                return Err(anyhow::anyhow!(why).into());
            }
            Some(_) => {}
        }
        for entry in &entries {
            write(out, entry.get())?;
        }
        count += entries.len() as u64;
        after = next;
        if after.is_none() {
            break;
        }
    }
    write(out, &format!("{{\"entries\":{count}}}"))?;
    out.flush().context("writing to standard output")?;
    Ok(())
}

fn write(out: &mut dyn Write, line: &str) -> Result<(), CommandError> {
    Ok(writeln!(out, "{line}").context("writing to standard output")?)
}

fn import(arguments: &ImportArguments) -> Result<(), CommandError> {
    let file: Box<dyn Read + Send + Sync> = if arguments.file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        let name = arguments.file.display();
        Box::new(File::open(&arguments.file).with_context(|| format!("opening {name}"))?)
    };
    let mut file = BufReader::new(file);
    let mut first = Vec::new();
    file.by_ref().take(HEAD_BYTES_MAX).read_until(b'\n', &mut first).context("reading the file")?;
    let head: Head = serde_json::from_slice(&first).context(
        "line 1: this is not the head of exported state, which is as \
         `{\"sluice_state\":1,\"adapter\":\"payouts\",\"state_version\":1}`",
    )?;
    let client = arguments.admin.client()?;
    let query = [("replace", arguments.replace.to_string())];
    let whole = io::Cursor::new(first).chain(file);
    let done = client.send(&["api", "v1", "state", &head.adapter], &query, whole)?;
    match arguments.format {
        Format::Json => print(&pretty(&done)),
        Format::Text => print(&outline(&done)),
    }
}
