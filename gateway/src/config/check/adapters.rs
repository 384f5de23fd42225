//! `[adapters.<name>]`.

use std::collections::BTreeMap;

use super::super::checked::{AdapterConfig, PluginSource, PluginsConfig};
use super::super::raw::{Node, Table, Value};
use super::super::section::{Section, shown, string};
use super::super::{Location, Problems};
use super::deliver_to;
use super::names::Names;
use crate::model::{AdapterName, PluginName};

/// A JSON object.
pub(super) type Settings = serde_json::Map<String, serde_json::Value>;

pub(super) fn check(
    root: &mut Section<'_>,
    plugins: &PluginsConfig,
    names: &Names<'_>,
    problems: &mut Problems,
) -> BTreeMap<AdapterName, AdapterConfig> {
    let mut adapters = BTreeMap::new();
    for (name, node) in root.named("adapters", AdapterName::new, problems) {
        let mut section = Section::of(node, problems);
        let plugin = section
            .required(
                "plugin",
                "the name of a plugin: `<name>.wasm` in `plugins.directory`",
                problems,
            )
            .and_then(|node| plugin_name(node, problems));
        let digest = digest(&mut section, problems);
        let settings = settings(&mut section, problems);
        let deliver_to = deliver_to::check(&mut section, names, problems);
        section.finish(&[], problems);
        let Some(plugin) = plugin else { continue };
        let plugin = PluginSource { digest, ..source(plugins, plugin) };
        let at = node.at.clone();
        let adapter = AdapterConfig { name: name.clone(), plugin, settings, deliver_to, at };
        adapters.insert(name, adapter);
    }
    adapters
}

/// The adapter of routes that name a plugin directly: the plugin as it is.
pub(super) fn unnamed(name: AdapterName, plugin: PluginSource, at: Location) -> AdapterConfig {
    AdapterConfig { name, plugin, settings: Settings::new(), deliver_to: Vec::new(), at }
}

/// Where a plugin's component lies.
pub(super) fn source(plugins: &PluginsConfig, name: PluginName) -> PluginSource {
    let path = plugins.directory.join(format!("{name}.wasm"));
    PluginSource { name, path, digest: None }
}

pub(super) fn plugin_name(node: &Node, problems: &mut Problems) -> Option<PluginName> {
    let text = string(node, problems)?;
    let name = PluginName::new(text);
    if let Err(error) = &name {
        let help = match text.strip_suffix(".wasm") {
            Some(stem) => format!("leave out `.wasm`: {}", shown(stem)),
            None => error.to_string(),
        };
        problems.push(&node.at, format!("{} is not a plugin's name", shown(text)), Some(help));
    }
    name.ok()
}

fn digest(section: &mut Section<'_>, problems: &mut Problems) -> Option<String> {
    let (at, text) = section.string("digest", problems)?;
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let help = Some("64 hexadecimal digits, as `sha256sum` prints them".to_owned());
        problems.push(at, format!("{} is not a SHA-256 digest", shown(text)), help);
        return None;
    }
    Some(text.to_ascii_lowercase())
}

/// The table `settings` as JSON; what it means is the plugin's to say.
pub(super) fn settings(section: &mut Section<'_>, problems: &mut Problems) -> Settings {
    let Some(node) = section.node("settings") else { return Settings::new() };
    super::super::section::table(node, problems)
        .map(|table| object(table, problems))
        .unwrap_or_default()
}

fn object(table: &Table, problems: &mut Problems) -> Settings {
    table.0.iter().map(|(key, entry)| (key.clone(), json(&entry.node, problems))).collect()
}

fn json(node: &Node, problems: &mut Problems) -> serde_json::Value {
    match &node.value {
        Value::String(text) | Value::Datetime(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number).map_or_else(
            || {
                let help = Some("settings are JSON, which knows finite numbers only".to_owned());
                problems.push(&node.at, "is not a finite number", help);
                serde_json::Value::Null
            },
            serde_json::Value::Number,
        ),
        Value::Boolean(flag) => (*flag).into(),
        Value::Array(nodes) => nodes.iter().map(|node| json(node, problems)).collect(),
        Value::Table(table) => serde_json::Value::Object(object(table, problems)),
        Value::Invalid => serde_json::Value::Null,
    }
}
