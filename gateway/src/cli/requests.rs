//! `sluice requests list | show`: what the admin listener of a running gateway knows.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{CommandError, Format, print};

#[derive(Debug, Subcommand)]
pub(super) enum RequestsCommand {
    /// List requests, newest first.
    List(ListArguments),
    /// Show one request whole: head, verdicts, facts, events, deliveries and attempts.
    Show(ShowArguments),
    /// Verify a refused request again, once a secret was corrected: what is verified then is an
    /// ordinary request with ordinary events.
    Verify(ShowArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    admin: super::client::AdminArguments,
    /// Only this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Only this disposition: `accepted`, `ignored`, `duplicate`, `rejected`, `quarantined` or
    /// `superseded`.
    #[arg(long, value_name = "DISPOSITION")]
    disposition: Option<String>,
    /// Only requests older than the one with this id.
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    #[command(flatten)]
    admin: super::client::AdminArguments,
    /// The request's id, as `list` prints it.
    id: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(command: RequestsCommand) -> Result<(), CommandError> {
    match command {
        RequestsCommand::List(arguments) => list(&arguments),
        RequestsCommand::Show(arguments) => show(&arguments),
        RequestsCommand::Verify(arguments) => verify(&arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), CommandError> {
    let client = arguments.admin.client()?;
    let mut query = vec![("limit", arguments.limit.to_string())];
    let filters = [
        ("route", &arguments.route),
        ("disposition", &arguments.disposition),
        ("before", &arguments.before),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            query.push((name, value.clone()));
        }
    }
    let page = client.get("api/v1/requests", &query)?;
    if arguments.format == Format::Json {
        return print(&pretty(&page));
    }
    let mut text = format!(
        "{:<36}  {:<24}  {:<20}  {:<12}  {:>6}  {}",
        "ID", "RECEIVED", "ROUTE", "DISPOSITION", "STATUS", "DIAGNOSIS"
    );
    let rows = page.get("requests").and_then(Value::as_array);
    for row in rows.into_iter().flatten() {
        text.push_str(&format!(
            "\n{:<36}  {:<24}  {:<20}  {:<12}  {:>6}  {}",
            cell(row, "id"),
            cell(row, "received_at"),
            cell(row, "route"),
            cell(row, "disposition"),
            cell(row, "status"),
            cell(row, "diagnosis"),
        ));
    }
    print(&text)
}

fn show(arguments: &ShowArguments) -> Result<(), CommandError> {
    let client = arguments.admin.client()?;
    let id = request_id(arguments)?;
    let request = client.get(&format!("api/v1/requests/{id}"), &[])?;
    match arguments.format {
        Format::Json => print(&pretty(&request)),
        Format::Text => print(&outline(&request)),
    }
}

fn verify(arguments: &ShowArguments) -> Result<(), CommandError> {
    let client = arguments.admin.client()?;
    let id = request_id(arguments)?;
    let again =
        client.post(&format!("api/v1/requests/{id}"), &[("action", "verify".to_owned())])?;
    let is_refused = again.get("disposition").and_then(Value::as_str) == Some("rejected");
    match arguments.format {
        Format::Json => print(&pretty(&again))?,
        Format::Text => print(&outline(&again))?,
    }
    if is_refused { Err(anyhow::anyhow!("it is refused still").into()) } else { Ok(()) }
}

fn request_id(arguments: &ShowArguments) -> Result<crate::model::RequestId, CommandError> {
    arguments.id.parse().map_err(|_| {
        let id = &arguments.id;
        anyhow::anyhow!("`{id}` is not a request's id; `sluice requests list` shows them").into()
    })
}

pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// One cell of a table: text without its quotes, `-` where there is nothing. Control characters
/// are escaped, since some of it was sent by strangers and goes to a terminal.
pub(super) fn cell(row: &Value, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(value) => scalar(value),
    }
}

pub(super) fn scalar(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// A JSON value as an indented outline, for reading.
pub(super) fn outline(value: &Value) -> String {
    let mut lines = Vec::new();
    push_outline(value, 0, &mut lines);
    lines.join("\n")
}

fn push_outline(value: &Value, depth: usize, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    let nested = |value: &Value| {
        value.as_object().is_some_and(|map| !map.is_empty())
            || value.as_array().is_some_and(|items| !items.is_empty())
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if nested(value) {
                    lines.push(format!("{indent}{key}:"));
                    push_outline(value, depth + 1, lines);
                } else {
                    lines.push(format!("{indent}{key}: {}", scalar(value)));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if nested(item) {
                    lines.push(format!("{indent}-"));
                    push_outline(item, depth + 1, lines);
                } else {
                    lines.push(format!("{indent}- {}", scalar(item)));
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lines.push(format!("{indent}{}", scalar(value)));
        }
    }
}
