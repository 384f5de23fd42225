//! The raw stage: TOML as a tree in which every key and value knows where it stands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::join_key;
use super::{Location, Problems};

/// One value of a file.
#[derive(Clone)]
pub(super) struct Node {
    /// A table stands where its key does; every other value where it begins.
    pub(super) at: Location,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
    /// Already told as a problem: whoever asks for it keeps silent.
    Invalid,
}

impl Value {
    /// The name of its type, with an article, for "expected …, got …".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Invalid => "an invalid value",
        }
    }
}

/// A table, by key.
#[derive(Clone, Default)]
pub(super) struct Table(pub(super) BTreeMap<String, Entry>);

/// One key of a table.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key_at: Location,
    pub(super) node: Node,
}

impl Table {
    /// Lays the keys of another file's table beside this one's. Tables merge `depth` levels down;
    /// below that, a key that both files define is a problem and the first one stays.
    pub(super) fn merge(&mut self, other: Self, depth: usize, problems: &mut Problems) {
        for (key, entry) in other.0 {
            let Some(mine) = self.0.get_mut(&key) else {
                self.0.insert(key, entry);
                continue;
            };
            match (&mut mine.node.value, entry.node.value) {
                (Value::Table(mine), Value::Table(theirs)) if depth > 0 => {
                    mine.merge(theirs, depth - 1, problems);
                }
                _ => problems.push(
                    &entry.key_at,
                    format!("already defined at {}", mine.key_at.place()),
                    Some("keep one of the two".to_owned()),
                ),
            }
        }
    }

    /// Every key below this table with its place, arrays by number.
    pub(super) fn places(&self, to: &mut BTreeMap<String, Location>) {
        for entry in self.0.values() {
            to.insert(entry.key_at.key.clone(), entry.key_at.clone());
            entry.node.places(to);
        }
    }
}

impl Node {
    fn places(&self, to: &mut BTreeMap<String, Location>) {
        match &self.value {
            Value::Table(table) => table.places(to),
            Value::Array(nodes) => {
                for node in nodes {
                    to.insert(node.at.key.clone(), node.at.clone());
                    node.places(to);
                }
            }
            Value::String(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime(_)
            | Value::Invalid => {}
        }
    }
}

/// A parsed file.
pub(super) struct Parsed {
    pub(super) root: Table,
    /// Whether all of it was understood; if not, what is missing from `root` proves nothing.
    pub(super) is_whole: bool,
}

/// Parses one file, telling every syntax error and every number that is out of range.
pub(super) fn parse(file: &Arc<PathBuf>, text: &str, problems: &mut Problems) -> Parsed {
    let lines = Lines::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut line_before = 0;
    for error in &errors {
        let start = error.span().map_or(text.len(), |span| span.start);
        let at = lines.location(file, start, String::new());
        // What follows the first error of a line is nearly always its echo.
        if at.line != line_before {
            line_before = at.line;
            problems.push(&at, format!("not valid TOML: {}", error.message()), None);
        }
    }
    let mut builder = Builder { file, lines: &lines, problems };
    Parsed { root: builder.table(document.get_ref(), ""), is_whole: errors.is_empty() }
}

/// Turns the parser's tree, which borrows its text and knows offsets, into ours.
struct Builder<'p> {
    file: &'p Arc<PathBuf>,
    lines: &'p Lines<'p>,
    problems: &'p mut Problems,
}

impl Builder<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Table {
        let entries = table.iter().map(|(key, value)| {
            let path = join_key(path, key.get_ref());
            let key_at = self.lines.location(self.file, key.span().start, path);
            let node = self.node(value, &key_at);
            (key.get_ref().to_string(), Entry { key_at, node })
        });
        Table(entries.collect())
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, key_at: &Location) -> Node {
        let at = self.lines.location(self.file, value.span().start, key_at.key.clone());
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                self.number(parsed.ok().map(Value::Integer), &at)
            }
            DeValue::Float(number) => {
                self.number(number.as_str().parse().ok().map(Value::Float), &at)
            }
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(time) => Value::Datetime(time.to_string()),
            DeValue::Array(items) => Value::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        let key = join_key(&key_at.key, &index.to_string());
                        let at = self.lines.location(self.file, item.span().start, key);
                        self.node(item, &at)
                    })
                    .collect(),
            ),
            DeValue::Table(table) => {
                let value = Value::Table(self.table(table, &key_at.key));
                return Node { at: key_at.clone(), value };
            }
        };
        Node { at, value }
    }

    fn number(&mut self, value: Option<Value>, at: &Location) -> Value {
        value.unwrap_or_else(|| {
            let help = Some("numbers have 64 bits".to_owned());
            self.problems.push(at, "the number is too large", help);
            Value::Invalid
        })
    }
}

/// Finds lines and columns.
struct Lines<'t> {
    text: &'t str,
    /// Byte offset at which each line begins; the first is 0.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn location(&self, file: &Arc<PathBuf>, offset: usize, key: String) -> Location {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        Location { file: Arc::clone(file), line, column: before.chars().count() + 1, key }
    }
}
