//! Reads a table key by key: wrong types, ranges and unknown keys become problems, and reading
//! goes on.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use bytesize::ByteSize;

use super::raw::{Entry, Node, Table, Value};
use super::suggest::{list_help, nearest};
use super::{Location, Problems};
use crate::model::NameError;

/// Longest piece of a value that is told in a message.
const SHOWN_CHARS_MAX: usize = 64;

/// What a key may be, and what it is when it is left out.
#[derive(Clone)]
pub(super) struct Bounds<T> {
    pub(super) default: T,
    pub(super) range: RangeInclusive<T>,
}

impl<T> Bounds<T> {
    pub(super) const fn new(default: T, min: T, max: T) -> Self {
        Self { default, range: RangeInclusive::new(min, max) }
    }

    pub(super) fn with_default(self, default: T) -> Self {
        Self { default, ..self }
    }
}

/// A table being read. Keys that nobody asked for are unknown: [`Section::finish`] tells them.
pub(super) struct Section<'t> {
    pub(super) at: Location,
    /// Absent where the file has no such table, or something else in its place.
    table: Option<&'t Table>,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(super) const fn new(at: Location, table: Option<&'t Table>) -> Self {
        Self { at, table, asked: Vec::new() }
    }

    /// Reads a node as a table, or tells that it is none.
    pub(super) fn of(node: &'t Node, problems: &mut Problems) -> Self {
        Self::new(node.at.clone(), table(node, problems))
    }

    /// The table under `key`; an empty one where there is none.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Problems) -> Self {
        let at = self.at.child(key);
        self.node(key).map_or_else(|| Self::new(at, None), |node| Self::of(node, problems))
    }

    /// What stands under `key`, as it stands.
    pub(super) fn node(&mut self, key: &'static str) -> Option<&'t Node> {
        self.skip(&[key]);
        self.table.and_then(|table| table.0.get(key)).map(|entry| &entry.node)
    }

    /// As [`Self::node`], and tells where it is missing.
    pub(super) fn required(
        &mut self,
        key: &'static str,
        help: &str,
        problems: &mut Problems,
    ) -> Option<&'t Node> {
        let node = self.node(key);
        if node.is_none() {
            problems.push(&self.at.child(key), "is missing", Some(help.to_owned()));
        }
        node
    }

    /// The entries of a table whose keys are names.
    pub(super) fn named<N>(
        &mut self,
        key: &'static str,
        name: fn(&str) -> Result<N, NameError>,
        problems: &mut Problems,
    ) -> Vec<(N, &'t Node)> {
        let Some(table) = self.node(key).and_then(|node| table(node, problems)) else {
            return Vec::new();
        };
        let mut named = Vec::new();
        for (text, Entry { key_at, node }) in &table.0 {
            match name(text) {
                Ok(name) => named.push((name, node)),
                Err(error) => problems.push(key_at, "not a name", Some(error.to_string())),
            }
        }
        named
    }

    pub(super) fn string(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<(&'t Location, &'t str)> {
        let node = self.node(key)?;
        Some((&node.at, string(node, problems)?))
    }

    pub(super) fn boolean(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.node(key)?;
        let Value::Boolean(flag) = node.value else {
            return wrong_type(&node.at, "`true` or `false`", &node.value, problems);
        };
        Some(flag)
    }

    /// A relative path, resolved against the file that names it.
    pub(super) fn path(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<(&'t Location, PathBuf)> {
        let (at, text) = self.string(key, problems)?;
        Some((at, path(at, text, problems)?))
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let (at, text) = self.string(key, problems)?;
        let chosen = choices.iter().find(|(word, _)| *word == text);
        if chosen.is_none() {
            let help = list_help(choices.iter().map(|(word, _)| *word));
            problems.push(at, format!("unknown value {}", shown(text)), help);
        }
        chosen.map(|(_, value)| *value)
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        bounds: &Bounds<Duration>,
        problems: &mut Problems,
    ) -> Duration {
        self.node(key)
            .and_then(|node| duration(node, &bounds.range, problems))
            .unwrap_or(bounds.default)
    }

    /// A size in bytes.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        bounds: &Bounds<u64>,
        problems: &mut Problems,
    ) -> u64 {
        let Some(node) = self.node(key) else { return bounds.default };
        let Value::String(text) = &node.value else {
            return wrong_type(&node.at, "a size in quotes, as `\"1MiB\"`", &node.value, problems)
                .unwrap_or(bounds.default);
        };
        // The parser's own words quote the value in a form of their own.
        let Ok(size) = ByteSize::from_str(text) else {
            let help = Some("a number and a unit, as `512KiB` or `1MiB`".to_owned());
            problems.push(&node.at, format!("{} is not a size", shown(text)), help);
            return bounds.default;
        };
        in_range(&node.at, size.0, &bounds.range, show_size, problems).unwrap_or(bounds.default)
    }

    /// A size of something that is held in memory.
    pub(super) fn size_in_memory(
        &mut self,
        key: &'static str,
        bounds: &Bounds<u64>,
        problems: &mut Problems,
    ) -> usize {
        // Bounds of such sizes are far below 4 GiB, so this holds on every platform.
        usize::try_from(self.size(key, bounds, problems)).unwrap_or(usize::MAX)
    }

    pub(super) fn count(
        &mut self,
        key: &'static str,
        bounds: &Bounds<usize>,
        problems: &mut Problems,
    ) -> usize {
        let Some(node) = self.node(key) else { return bounds.default };
        let Value::Integer(number) = node.value else {
            return wrong_type(&node.at, "an integer", &node.value, problems)
                .unwrap_or(bounds.default);
        };
        let Ok(number) = usize::try_from(number) else {
            let help = range_help(&bounds.range, usize::to_string);
            problems.push(&node.at, format!("`{number}` is out of range"), Some(help));
            return bounds.default;
        };
        in_range(&node.at, number, &bounds.range, usize::to_string, problems)
            .unwrap_or(bounds.default)
    }

    /// A number with or without decimals.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        bounds: &Bounds<f64>,
        problems: &mut Problems,
    ) -> f64 {
        let Some(node) = self.node(key) else { return bounds.default };
        let number = match node.value {
            Value::Float(number) => number,
            #[expect(clippy::cast_precision_loss, reason = "out of range long before")]
            Value::Integer(number) => number as f64,
            Value::String(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Invalid => {
                return wrong_type(&node.at, "a number", &node.value, problems)
                    .unwrap_or(bounds.default);
            }
        };
        in_range(&node.at, number, &bounds.range, f64::to_string, problems)
            .unwrap_or(bounds.default)
    }

    /// Marks keys as known without reading them.
    pub(super) fn skip(&mut self, keys: &[&'static str]) {
        for key in keys {
            if !self.asked.contains(key) {
                self.asked.push(key);
            }
        }
    }

    /// Whether the table has this key. Does not make the key known.
    pub(super) fn place_of(&self, key: &str) -> Option<&'t Location> {
        self.table.and_then(|table| table.0.get(key)).map(|entry| &entry.key_at)
    }

    /// Tells every key that nobody asked for. `later`: keys that a later version will know.
    pub(super) fn finish(self, later: &[&str], problems: &mut Problems) {
        let Some(table) = self.table else { return };
        for (key, entry) in &table.0 {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            let help = if later.contains(&key.as_str()) {
                "not in this version".to_owned()
            } else if let Some(near) = nearest(key, self.asked.iter().copied()) {
                format!("did you mean `{near}`?")
            } else {
                list_help(self.asked.iter().copied()).unwrap_or_default()
            };
            problems.push(&entry.key_at, "unknown key", Some(help));
        }
    }
}

/// The node as a table.
pub(super) fn table<'t>(node: &'t Node, problems: &mut Problems) -> Option<&'t Table> {
    let Value::Table(table) = &node.value else {
        return wrong_type(&node.at, "a table", &node.value, problems);
    };
    Some(table)
}

/// The node as an array.
pub(super) fn array<'t>(node: &'t Node, problems: &mut Problems) -> Option<&'t [Node]> {
    let Value::Array(nodes) = &node.value else {
        return wrong_type(&node.at, "an array", &node.value, problems);
    };
    Some(nodes)
}

/// The node as a string.
pub(super) fn string<'t>(node: &'t Node, problems: &mut Problems) -> Option<&'t str> {
    let Value::String(text) = &node.value else {
        return wrong_type(&node.at, "a string", &node.value, problems);
    };
    Some(text)
}

/// The node as a duration within `range`.
pub(super) fn duration(
    node: &Node,
    range: &RangeInclusive<Duration>,
    problems: &mut Problems,
) -> Option<Duration> {
    let Value::String(text) = &node.value else {
        let expected = "a duration in quotes, as `\"30s\"`";
        return wrong_type(&node.at, expected, &node.value, problems);
    };
    let Ok(duration) = humantime::parse_duration(text) else {
        let help = Some("a number and a unit, as `500ms`, `30s`, `5m`, `2h` or `30d`".to_owned());
        problems.push(&node.at, format!("{} is not a duration", shown(text)), help);
        return None;
    };
    in_range(&node.at, duration, range, show_duration, problems)
}

/// A path resolved against the file in which `at` lies.
pub(super) fn path(at: &Location, text: &str, problems: &mut Problems) -> Option<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        problems.push(at, format!("{} is not a path", shown(text)), None);
        return None;
    }
    Some(at.file.parent().unwrap_or(Path::new("")).join(text))
}

/// A value for a message: in backticks, short, without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("`{head}{more}`")
}

/// Tells that something else was expected. The value itself is not told: where a type is wrong it
/// may be a secret that was put in the place of its name.
fn wrong_type<T>(at: &Location, expected: &str, got: &Value, problems: &mut Problems) -> Option<T> {
    if !matches!(got, Value::Invalid) {
        problems.push(at, format!("expected {expected}, got {}", got.kind()), None);
    }
    None
}

fn in_range<T: PartialOrd>(
    at: &Location,
    value: T,
    range: &RangeInclusive<T>,
    show: fn(&T) -> String,
    problems: &mut Problems,
) -> Option<T> {
    if range.contains(&value) {
        return Some(value);
    }
    let message = format!("`{}` is out of range", show(&value));
    problems.push(at, message, Some(range_help(range, show)));
    None
}

fn range_help<T>(range: &RangeInclusive<T>, show: fn(&T) -> String) -> String {
    format!("from `{}` to `{}`", show(range.start()), show(range.end()))
}

fn show_duration(duration: &Duration) -> String {
    humantime::format_duration(*duration).to_string().replace(' ', "")
}

/// A size in the largest unit that tells it exactly.
fn show_size(bytes: &u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        let whole = bytes >> shift;
        if whole > 0 && whole << shift == *bytes {
            return format!("{whole}{unit}");
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_told_as_they_are_written() {
        assert_eq!(show_size(&(1 << 20)), "1MiB");
        assert_eq!(show_size(&1536), "1536B");
        assert_eq!(show_size(&(3 << 10)), "3KiB");
        assert_eq!(show_size(&0), "0B");
        assert_eq!(show_duration(&Duration::from_secs(90)), "1m30s");
        assert_eq!(show_duration(&Duration::from_millis(5)), "5ms");
    }

    #[test]
    fn a_shown_value_is_short_and_plain() {
        assert_eq!(shown("a\nb\u{1b}"), "`a\\nb\\u{1b}`");
        assert_eq!(shown(&"x".repeat(65)), format!("`{}…`", "x".repeat(64)));
    }
}
