//! `deliver_to`, of routes and adapters.

use super::super::checked::Delivery;
use super::super::raw::{Node, Value};
use super::super::section::{Section, array, shown, string};
use super::super::{Location, Problems};
use super::names::Names;

pub(super) fn check(
    section: &mut Section<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Vec<Delivery> {
    let Some(nodes) = section.node("deliver_to").and_then(|node| array(node, problems)) else {
        return Vec::new();
    };
    let mut deliveries: Vec<Delivery> = Vec::new();
    for node in nodes {
        let Some(delivery) = entry(node, names, problems) else { continue };
        if deliveries.iter().any(|other| other.destination == delivery.destination) {
            let message = format!("`{}` is named twice", delivery.destination);
            let help = Some("one entry a destination; list its types in one `types`".to_owned());
            problems.push(&node.at, message, help);
            continue;
        }
        deliveries.push(delivery);
    }
    deliveries
}

fn entry(node: &Node, names: &Names<'_>, problems: &mut Problems) -> Option<Delivery> {
    match &node.value {
        Value::String(_) => {
            let destination = names.destination(node, problems)?;
            Some(Delivery { destination, types: Vec::new() })
        }
        Value::Table(table) => {
            let mut section = Section::new(node.at.clone(), Some(table));
            let destination = section
                .required("destination", "the name of a destination", problems)
                .and_then(|node| names.destination(node, problems));
            let types = types(&mut section, problems);
            section.finish(&[], problems);
            Some(Delivery { destination: destination?, types })
        }
        Value::Invalid => None,
        Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Array(_) => {
            let message = format!("expected a name or a table, got {}", node.value.kind());
            let help = "as `\"ledger\"` or `{ destination = \"ledger\", types = [\"sluice.*\"] }`";
            problems.push(&node.at, message, Some(help.to_owned()));
            None
        }
    }
}

fn types(section: &mut Section<'_>, problems: &mut Problems) -> Vec<String> {
    let Some(node) = section.node("types") else { return Vec::new() };
    let Some(nodes) = array(node, problems) else { return Vec::new() };
    if nodes.is_empty() {
        let help = Some("leave `types` out to deliver events of every type".to_owned());
        problems.push(&node.at, "is empty", help);
    }
    let mut types = Vec::new();
    for node in nodes {
        if let Some(text) = string(node, problems) {
            check_type(&node.at, text, problems);
            types.push(text.to_owned());
        }
    }
    types
}

fn check_type(at: &Location, text: &str, problems: &mut Problems) {
    let stem = text.strip_suffix('*').unwrap_or(text);
    if text.is_empty() || stem.contains('*') || text.contains(char::is_whitespace) {
        let help =
            Some("a type, or its beginning and a final `*`, as `sluice.payout.*`".to_owned());
        problems.push(at, format!("{} is not an event type", shown(text)), help);
    }
}
