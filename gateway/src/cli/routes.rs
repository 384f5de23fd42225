//! `sluice routes`, `sluice pause` and `sluice resume`: the routes of a running gateway, and whether
//! they are paused.

use clap::Args;
use serde_json::Value;

use super::client::AdminArguments;
use super::requests::{cell, pretty};
use super::{CommandError, Format, print};
use crate::admin::Switch;
use crate::model::RouteName;

#[derive(Debug, Args)]
pub(super) struct RoutesArguments {
    #[command(flatten)]
    admin: AdminArguments,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct PauseArguments {
    #[command(flatten)]
    admin: AdminArguments,
    /// The route's name.
    #[arg(value_parser = RouteName::new)]
    route: RouteName,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArguments {
    #[command(flatten)]
    pause: PauseArguments,
    /// Take the switch away: the configuration decides again.
    #[arg(long)]
    follow_config: bool,
}

pub(super) fn list(arguments: &RoutesArguments) -> Result<(), CommandError> {
    let list = arguments.admin.client()?.get("api/v1/routes", &[])?;
    if arguments.format == Format::Json {
        return print(&pretty(&list));
    }
    let mut text = format!("{:<24}  {:<16}  {:<44}  {}", "ROUTE", "ADAPTER", "STATE", "PATH");
    for row in list.get("routes").and_then(Value::as_array).into_iter().flatten() {
        text.push_str(&format!(
            "\n{:<24}  {:<16}  {:<44}  {}",
            cell(row, "name"),
            cell(row, "adapter"),
            state(row),
            cell(row, "path"),
        ));
    }
    print(&text)
}

pub(super) fn pause(arguments: &PauseArguments) -> Result<(), CommandError> {
    switch(arguments, Switch::Pause)
}

pub(super) fn resume(arguments: &ResumeArguments) -> Result<(), CommandError> {
    let to = if arguments.follow_config { Switch::FollowConfig } else { Switch::Resume };
    switch(&arguments.pause, to)
}

fn switch(arguments: &PauseArguments, to: Switch) -> Result<(), CommandError> {
    let path = format!("api/v1/routes/{}", arguments.route);
    let query = [("switch", to.as_str().to_owned())];
    let route = arguments.admin.client()?.post(&path, &query)?;
    match arguments.format {
        Format::Json => print(&pretty(&route)),
        Format::Text => print(&format!("{}: {}", arguments.route, state(&route))),
    }
}

/// Whether a route is paused, and who says so.
fn state(route: &Value) -> String {
    let is = |key: &str| route.get(key).and_then(Value::as_bool).unwrap_or_default();
    let state = if is("paused") { "paused" } else { "open" };
    match route.get("switch").filter(|switch| !switch.is_null()) {
        Some(switch) => format!("{state} by switch since {}", cell(switch, "since")),
        None if is("paused_in_config") => format!("{state} by the configuration"),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_says_whose_word_it_is() {
        let told = |paused: bool, config: bool, switch: Value| {
            state(&json!({ "paused": paused, "paused_in_config": config, "switch": switch }))
        };
        let switch = json!({ "paused": false, "since": "2026-01-01T00:00:00Z" });
        assert_eq!(told(false, false, Value::Null), "open");
        assert_eq!(told(true, true, Value::Null), "paused by the configuration");
        assert_eq!(told(false, true, switch), "open by switch since 2026-01-01T00:00:00Z");
    }
}
