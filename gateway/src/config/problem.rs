use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// Where in the configuration something stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Place")]
pub struct Location {
    /// As the operator named it; an included file relative to where the main file was named.
    #[serde(serialize_with = "lossy")]
    pub file: Arc<PathBuf>,
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Dotted key, as `routes.ottu.path`.
    pub key: String,
}

/// A location as it is read.
#[derive(Deserialize)]
struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
    key: String,
}

impl From<Place> for Location {
    fn from(Place { file, line, column, key }: Place) -> Self {
        Self { file: Arc::new(file), line, column, key }
    }
}

impl Location {
    /// A whole file.
    #[must_use]
    pub const fn whole(file: Arc<PathBuf>) -> Self {
        Self { file, line: 0, column: 0, key: String::new() }
    }

    /// The place of a key of this table that is not there: where the table stands.
    #[must_use]
    pub fn child(&self, key: &str) -> Self {
        Self { key: join_key(&self.key, key), ..self.clone() }
    }

    /// `file:line:column`, or the file alone.
    #[must_use]
    pub fn place(&self) -> String {
        let file = self.file.display();
        if self.line == 0 {
            file.to_string()
        } else {
            format!("{file}:{}:{}", self.line, self.column)
        }
    }
}

/// `parent.key`, with quotes where TOML would need them.
#[must_use]
pub(crate) fn join_key(parent: &str, key: &str) -> String {
    let is_bare =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match (parent.is_empty(), is_bare) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{key:?}"),
        (false, true) => format!("{parent}.{key}"),
        (false, false) => format!("{parent}.{key:?}"),
    }
}

/// One mistake in the configuration, told so that it can be mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    #[serde(flatten)]
    pub at: Location,
    /// Lower case, no final period, backticks around values; never a secret's value.
    pub message: String,
    /// What to do, where there is one thing to do: a did-you-mean, the values allowed.
    pub help: Option<String>,
}

/// `file:line:column: key: message`, then `help:` on a line of its own.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at.place())?;
        if !self.at.key.is_empty() {
            write!(f, ": {}", self.at.key)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// All problems of one configuration; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn push(&mut self, at: &Location, message: impl Into<String>, help: Option<String>) {
        self.0.push(Problem { at: at.clone(), message: message.into(), help });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them in the order in which an operator reads: files as they were read, then lines.
    /// What was found twice is told once.
    pub fn sort(&mut self, files: &[PathBuf]) {
        let order = |problem: &Problem| {
            let file = files.iter().position(|file| file == problem.at.file.as_ref());
            (file.unwrap_or(files.len()), problem.at.line, problem.at.column)
        };
        self.0.sort_by(|a, b| {
            order(a)
                .cmp(&order(b))
                .then_with(|| a.at.file.cmp(&b.at.file))
                .then_with(|| a.at.key.cmp(&b.at.key))
                .then_with(|| a.message.cmp(&b.message))
        });
        self.0.dedup();
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = self.0.len();
        write!(f, "{count} problem{}", if count == 1 { "" } else { "s" })
    }
}

impl std::error::Error for Problems {}

fn lossy<S: Serializer>(path: &Arc<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}
