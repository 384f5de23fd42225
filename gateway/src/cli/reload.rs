//! `sluice reload`: a running gateway takes up what stands on disk, or tells what that would change.

use clap::Args;
use serde_json::Value;

use super::{CommandError, Format, print};
use crate::config::Problems;

#[derive(Debug, Args)]
pub(super) struct ReloadArguments {
    #[command(flatten)]
    admin: super::client::AdminArguments,
    /// Tell what would change, and change nothing. The configuration is checked and its plugins
    /// are compiled as for a reload.
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Reloads. A configuration that is refused is told on standard error, with exit code 78.
pub(super) fn run(arguments: &ReloadArguments) -> Result<(), CommandError> {
    let client = arguments.admin.client()?;
    let query = [("dry_run", arguments.dry_run.to_string())];
    let record = client.post("api/v1/reloads", &query)?;
    let is_refused = record.get("result").and_then(Value::as_str) == Some("refused");
    if arguments.format == Format::Json {
        print(&serde_json::to_string_pretty(&record).unwrap_or_default())?;
    } else if !is_refused {
        print(&text(&record, arguments.dry_run))?;
    }
    if is_refused { Err(CommandError::Reload(refusal(&record))) } else { Ok(()) }
}

/// One line for what happened, then one for each change.
fn text(record: &Value, dry_run: bool) -> String {
    let generation = record.get("generation").and_then(Value::as_u64).unwrap_or_default();
    let mut lines = vec![if dry_run {
        format!("would be applied; generation {generation} serves on")
    } else {
        format!("applied: generation {generation} serves")
    }];
    let changes = items(record, "changes");
    lines.extend(changes.iter().map(|change| format!("  {}", field(change, "text"))));
    match record.get("changes_left_off").and_then(Value::as_u64) {
        Some(more @ 1..) => lines.push(format!("  and {more} more")),
        _ if changes.is_empty() => lines.push("  nothing changed".to_owned()),
        _ => {}
    }
    lines.join("\n")
}

/// The problems as `sluice check` tells them.
fn refusal(record: &Value) -> String {
    let problems = record.get("problems").cloned().unwrap_or_default();
    let generation = record.get("generation").and_then(Value::as_u64).unwrap_or_default();
    let told = serde_json::from_value::<Vec<_>>(problems).map(Problems).unwrap_or_default();
    let more = match record.get("problems_left_off").and_then(Value::as_u64) {
        Some(more @ 1..) => format!(" and {more} more"),
        _ => String::new(),
    };
    format!("{told}{more}\nrefused: generation {generation} serves on")
}

fn items<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn field<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_applied_is_told_line_by_line() {
        let change = json!({ "text": "secret `ringba` changed" });
        let mut record = json!({ "generation": 7, "changes": [change], "changes_left_off": 0 });
        let expected = "applied: generation 7 serves\n  secret `ringba` changed";
        assert_eq!(text(&record, false), expected);
        record["changes_left_off"] = json!(2);
        let expected = "would be applied; generation 7 serves on\n  secret `ringba` changed\n  \
                        and 2 more";
        assert_eq!(text(&record, true), expected);
        let none = json!({ "generation": 8, "changes": [], "changes_left_off": 0 });
        assert_eq!(text(&none, false), "applied: generation 8 serves\n  nothing changed");
    }

    #[test]
    fn a_refusal_is_told_as_check_tells_it() {
        let problem = json!({
            "file": "sluice.toml", "line": 3, "column": 1, "key": "routes.a",
            "message": "is wrong", "help": null,
        });
        let record = json!({ "generation": 4, "problems": [problem], "problems_left_off": 0 });
        let expected = "sluice.toml:3:1: routes.a: is wrong\n1 problem\nrefused: generation 4 \
                        serves on";
        assert_eq!(refusal(&record), expected);
    }
}
