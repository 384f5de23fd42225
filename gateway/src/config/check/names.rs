//! Names that one part of the configuration gives and another uses.

use super::super::raw::{Table, Value};
use super::super::section::{shown, string};
use super::super::suggest::{list_help, name_help, nearest};
use super::super::{Problems, Secret, Secrets};
use crate::config::raw::Node;
use crate::model::{AdapterName, DestinationName, SecretName};

/// All names that the files declare, also of what is wrong in itself: using such a name is not a
/// second problem.
pub(in crate::config) struct Names<'t> {
    adapters: Vec<&'t str>,
    destinations: Vec<&'t str>,
    secrets: Vec<&'t str>,
}

impl<'t> Names<'t> {
    pub(in crate::config) fn declared(root: &'t Table) -> Self {
        let keys = |section: &str| match root.0.get(section).map(|entry| &entry.node.value) {
            Some(Value::Table(table)) => table.0.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        Self {
            adapters: keys("adapters"),
            destinations: keys("destinations"),
            secrets: keys("secrets"),
        }
    }

    pub(super) fn is_adapter(&self, name: &str) -> bool {
        self.adapters.contains(&name)
    }

    /// The adapter that a node names.
    pub(super) fn adapter(&self, node: &Node, problems: &mut Problems) -> Option<AdapterName> {
        let text = string(node, problems)?;
        if self.is_adapter(text) {
            return AdapterName::new(text).ok();
        }
        let none = "write an `[adapters.<name>]` table, or name a plugin with `plugin`";
        let help = name_help(text, self.adapters.iter().copied(), none);
        problems.push(&node.at, format!("there is no adapter {}", shown(text)), Some(help));
        None
    }

    /// The destination that a node names.
    pub(super) fn destination(
        &self,
        node: &Node,
        problems: &mut Problems,
    ) -> Option<DestinationName> {
        let text = string(node, problems)?;
        if self.destinations.contains(&text) {
            return DestinationName::new(text).ok();
        }
        let none = "write a `[destinations.<name>]` table";
        let help = name_help(text, self.destinations.iter().copied(), none);
        problems.push(&node.at, format!("there is no destination {}", shown(text)), Some(help));
        None
    }

    /// The secret that a node names. The text is told only where it is nearly a known name: it
    /// may be the secret itself, put where its name belongs.
    pub(in crate::config) fn secret<'s>(
        &self,
        node: &Node,
        secrets: &'s Secrets,
        problems: &mut Problems,
    ) -> Option<&'s Secret> {
        let text = string(node, problems)?;
        if self.secrets.contains(&text) {
            return secrets.get(&SecretName::new(text).ok()?);
        }
        let (message, help) = match nearest(text, self.secrets.iter().copied()) {
            Some(near) => {
                (format!("there is no secret {}", shown(text)), format!("did you mean `{near}`?"))
            }
            None => (
                "is not the name of a secret under `[secrets]`".to_owned(),
                list_help(self.secrets.iter().copied()).unwrap_or_else(|| {
                    "write `<name> = { file = \"…\" }` under `[secrets]`".to_owned()
                }),
            ),
        };
        problems.push(&node.at, message, Some(help));
        None
    }
}
