//! What a reload changes, in an operator's words.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::config::{Keys, Outline, Part, Said};
use crate::snapshot::VERSION_KEY as VERSION;

/// What became of a part of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Added,
    Removed,
    Changed,
}

/// One part that a reload adds, removes or changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub part: Part,
    /// Empty for a section, of which there is one.
    pub name: String,
    pub fate: Fate,
    /// Those that differ, where it is changed; the version, where a plugin is added.
    pub keys: Vec<KeyChange>,
}

impl Change {
    /// Whether a route is there no longer.
    #[must_use]
    pub fn takes_a_route(&self) -> bool {
        self.part == Part::Route && self.fate == Fate::Removed
    }
}

/// One key of a changed part. Values are told where they are open on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    pub key: String,
    /// Absent: not there before, or not to be told.
    pub from: Option<String>,
    /// Absent: not there any more, or not to be told.
    pub to: Option<String>,
}

/// All changes from one outline to another, in the order of their parts.
///
/// Empty exactly where both say the same.
#[must_use]
pub fn diff(before: &Outline, after: &Outline) -> Vec<Change> {
    let parts: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changes = parts.into_iter().filter_map(|part| {
        let (fate, keys) = match (before.get(part), after.get(part)) {
            (None, None) => return None,
            (None, Some(keys)) => (Fate::Added, version(part.0, &Keys::new(), keys)),
            (Some(keys), None) => (Fate::Removed, version(part.0, keys, &Keys::new())),
            (Some(before), Some(after)) if before == after => return None,
            (Some(before), Some(after)) => (Fate::Changed, changed(before, after)),
        };
        Some(Change { part: part.0, name: part.1.clone(), fate, keys })
    });
    changes.collect()
}

/// A plugin is added or removed in some version; of all else the name says enough.
fn version(part: Part, before: &Keys, after: &Keys) -> Vec<KeyChange> {
    let mut keys = if part == Part::Plugin { changed(before, after) } else { Vec::new() };
    keys.retain(|key| key.key == VERSION);
    keys
}

fn changed(before: &Keys, after: &Keys) -> Vec<KeyChange> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    let told = differing.map(|key| {
        let (from, to) = match (before.get(key), after.get(key)) {
            (Some(Said::Closed(_)), _) | (_, Some(Said::Closed(_))) => (None, None),
            (from, to) => (from.and_then(text), to.and_then(text)),
        };
        KeyChange { key: key.clone(), from, to }
    });
    told.collect()
}

fn text(said: &Said) -> Option<String> {
    match said {
        Said::Open(text) => Some(text.clone()),
        Said::Closed(_) => None,
    }
}

/// As `route `a` added` or `ingest changed: `drain` 30s → 5s`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.as_str())?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        let version = self.keys.iter().find(|key| self.part == Part::Plugin && key.key == VERSION);
        match (self.fate, version) {
            (Fate::Added, Some(KeyChange { to: Some(version), .. })) => {
                write!(f, " {version} added")
            }
            (Fate::Removed, Some(KeyChange { from: Some(version), .. })) => {
                write!(f, " {version} removed")
            }
            (Fate::Changed, Some(KeyChange { from: Some(from), to: Some(to), .. })) => {
                write!(f, " {from} → {to}")
            }
            (Fate::Added, _) => f.write_str(" added"),
            (Fate::Removed, _) => f.write_str(" removed"),
            (Fate::Changed, _) if self.part == Part::Plugin => {
                f.write_str(" replaced by another build of the same version")
            }
            // Of a secret there is nothing to tell but this.
            (Fate::Changed, _) if self.part == Part::Secret => f.write_str(" changed"),
            (Fate::Changed, _) => {
                f.write_str(" changed: ")?;
                for (n, key) in self.keys.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{key}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.key)?;
        match (&self.from, &self.to) {
            (None, None) => Ok(()),
            (Some(from), Some(to)) => write!(f, " {from} → {to}"),
            (None, Some(to)) => write!(f, " set to {to}"),
            (Some(from), None) => write!(f, " {from} taken out"),
        }
    }
}

#[cfg(test)]
mod tests;
