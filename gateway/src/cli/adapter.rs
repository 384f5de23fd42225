//! `sluice adapter list | view`: the adapters of a running gateway, and what they answer.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::requests::{cell, outline, pretty};
use super::{CommandError, Format, print};
use crate::model::AdapterName;

#[derive(Debug, Subcommand)]
pub(super) enum AdapterCommand {
    /// List adapters with their plugins and views.
    List(ListArguments),
    /// Ask one of an adapter's views. Nothing is changed by it.
    View(ViewArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    admin: super::client::AdminArguments,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct ViewArguments {
    #[command(flatten)]
    admin: super::client::AdminArguments,
    /// The adapter's name.
    #[arg(value_parser = adapter_name)]
    adapter: AdapterName,
    /// The view's name, as `list` prints it.
    view: String,
    /// The view's parameters.
    #[arg(value_name = "KEY=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn adapter_name(text: &str) -> Result<AdapterName, String> {
    AdapterName::new(text).map_err(|error| error.to_string())
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(command: AdapterCommand) -> Result<(), CommandError> {
    match command {
        AdapterCommand::List(arguments) => list(&arguments),
        AdapterCommand::View(arguments) => view(&arguments),
    }
}

fn list(arguments: &ListArguments) -> Result<(), CommandError> {
    let list = arguments.admin.client()?.get("api/v1/adapters", &[])?;
    if arguments.format == Format::Json {
        return print(&pretty(&list));
    }
    let mut text = format!(
        "{:<20}  {:<20}  {:<9}  {:>5}  {:<24}  {}",
        "ADAPTER", "PLUGIN", "VERSION", "STATE", "ROUTES", "VIEWS"
    );
    let adapters = list.get("adapters").and_then(Value::as_array);
    for adapter in adapters.into_iter().flatten() {
        text.push_str(&format!(
            "\n{:<20}  {:<20}  {:<9}  {:>5}  {:<24}  {}",
            cell(adapter, "name"),
            cell(adapter, "plugin"),
            cell(adapter, "version"),
            cell(adapter, "state_version"),
            names(adapter, "routes", None),
            names(adapter, "views", Some("name")),
        ));
    }
    print(&text)
}

/// The texts of a list, or those under a key of its objects.
fn names(row: &Value, list: &str, key: Option<&str>) -> String {
    let items = row.get(list).and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = items
        .map(|item| match key {
            Some(key) => cell(item, key),
            None => super::requests::scalar(item),
        })
        .collect();
    if names.is_empty() { "-".to_owned() } else { names.join(",") }
}

fn view(arguments: &ViewArguments) -> Result<(), CommandError> {
    let query: Vec<(&str, String)> =
        arguments.parameters.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let client = arguments.admin.client()?;
    let path = ["api", "v1", "adapters", arguments.adapter.as_str(), "views", &arguments.view];
    let answer = client.get_segments(&path, &query)?;
    match arguments.format {
        Format::Json => print(&pretty(&answer)),
        Format::Text => print(&outline(&answer)),
    }
}
