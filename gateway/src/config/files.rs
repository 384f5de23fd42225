//! Reads the main file and what it includes, and makes one tree of them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounded::read_file;
use super::raw::{self, Node, Table, Value};
use super::{Inputs, Location, Problems};

/// Largest configuration file, in bytes: some 10,000 routes; anything above is another file
/// named by mistake.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Most files of one configuration, so that a wrong glob cannot make the gateway read a disk.
const FILES_MAX: usize = 10_000;

/// Sections may be spread over files (`[routes.a]` here, `[routes.b]` there); what stands in them
/// may not: root, then section.
const MERGE_DEPTH: usize = 1;

/// All files of a configuration as one tree.
pub(super) struct Tree {
    pub(super) root: Table,
    /// The main file as a whole: where something that is missing is missing.
    pub(super) main: Location,
    /// In the order read, the main file first.
    pub(super) files: Vec<PathBuf>,
    /// What was read, and what would have been if it were there.
    pub(super) inputs: Inputs,
    /// Whether every file was read and understood; if not, checking further would only tell
    /// consequences.
    pub(super) is_whole: bool,
}

/// Reads `main` and everything it includes.
pub(super) fn read(main: &Path, problems: &mut Problems) -> Tree {
    let mut reader = Reader {
        files: Vec::new(),
        inputs: Inputs::default(),
        seen: BTreeSet::new(),
        is_whole: true,
        problems,
    };
    let at = Location::whole(Arc::new(main.to_owned()));
    let mut root = reader.file(main, &at).unwrap_or_default();
    if let Some(include) = root.0.remove("include") {
        for path in reader.included(&include.node, main) {
            let Some(mut table) = reader.file(&path, &include.node.at) else { continue };
            if let Some(nested) = table.0.remove("include") {
                let message = "only the main file can include others";
                let help = Some(format!("move it to {}", main.display()));
                reader.problems.push(&nested.key_at, message, help);
            }
            root.merge(table, MERGE_DEPTH, reader.problems);
        }
    }
    let Reader { files, inputs, is_whole, .. } = reader;
    Tree { root, main: at, files, inputs, is_whole }
}

struct Reader<'p> {
    files: Vec<PathBuf>,
    inputs: Inputs,
    /// Canonical paths: a glob may name the main file, or two globs the same one.
    seen: BTreeSet<PathBuf>,
    is_whole: bool,
    problems: &'p mut Problems,
}

impl Reader<'_> {
    /// Parses one file, unless it was read before. `named_at`: who asked for it.
    fn file(&mut self, path: &Path, named_at: &Location) -> Option<Table> {
        self.inputs.add_file(path);
        let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(canonical) {
            return None;
        }
        let text = match read_text(path) {
            Ok(text) => text,
            Err(message) => {
                self.fail(named_at, message, None);
                return None;
            }
        };
        self.files.push(path.to_owned());
        let parsed = raw::parse(&Arc::new(path.to_owned()), &text, self.problems);
        self.is_whole &= parsed.is_whole;
        Some(parsed.root)
    }

    fn included(&mut self, include: &Node, main: &Path) -> Vec<PathBuf> {
        let Value::Array(patterns) = &include.value else {
            let message = format!("expected an array of strings, got {}", include.value.kind());
            self.fail(&include.at, message, Some("as `[\"routes/*.toml\"]`".to_owned()));
            return Vec::new();
        };
        let folder = main.parent().unwrap_or(Path::new(""));
        let mut paths = Vec::new();
        for node in patterns {
            let Value::String(pattern) = &node.value else {
                self.fail(&node.at, format!("expected a string, got {}", node.value.kind()), None);
                continue;
            };
            match named(folder, pattern) {
                Ok(Named::File(path)) => paths.push(path),
                Ok(Named::Pattern(parent, name)) => {
                    self.inputs.add_pattern(&parent, name);
                    match matches(&parent, name) {
                        Ok(found) => paths.extend(found),
                        Err(_) => {
                            let message = format!("there is no folder `{}`", parent.display());
                            let help = "make the folder, or take the pattern out".to_owned();
                            self.fail(&node.at, message, Some(help));
                        }
                    }
                }
                Err(Unmatched { message, help }) => self.fail(&node.at, message, help),
            }
        }
        if paths.len() > FILES_MAX {
            let message = format!("names {} files, at most {FILES_MAX} are read", paths.len());
            self.fail(&include.at, message, None);
            paths.clear();
        }
        paths
    }

    fn fail(&mut self, at: &Location, message: impl Into<String>, help: Option<String>) {
        self.is_whole = false;
        self.problems.push(at, message, help);
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_file(path, FILE_BYTES_MAX).map_err(|error| error.tell(path))?;
    String::from_utf8(bytes).map_err(|_| format!("`{}` is not UTF-8 text", path.display()))
}

struct Unmatched {
    message: String,
    help: Option<String>,
}

/// What one entry of `include` names.
enum Named<'p> {
    File(PathBuf),
    /// A folder, and a pattern for the names of files in it.
    Pattern(PathBuf, &'p str),
}

fn named<'p>(folder: &Path, pattern: &'p str) -> Result<Named<'p>, Unmatched> {
    let (parent, name) = match pattern.rsplit_once('/') {
        Some(("", name)) => (Path::new("/"), name),
        Some((parent, name)) => (Path::new(parent), name),
        None => (Path::new(""), pattern),
    };
    if parent.to_string_lossy().contains('*') || pattern.contains(['?', '[']) || name.is_empty() {
        return Err(Unmatched {
            message: format!("`{pattern}` is not a pattern"),
            help: Some("only `*`, and only in the file's name, as `routes/*.toml`".to_owned()),
        });
    }
    let parent = folder.join(parent);
    Ok(if name.contains('*') {
        Named::Pattern(parent, name)
    } else {
        Named::File(parent.join(name))
    })
}

/// The files of a folder whose names match a pattern, sorted by name. `*` stands for any text in
/// a file name; names that begin with a dot are left out, as editors and package managers leave
/// such files.
pub(super) fn matches(folder: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let read_from = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for entry in fs::read_dir(read_from)?.flatten() {
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str() else { continue };
        let path = folder.join(&file_name);
        if !text.starts_with('.') && is_match(pattern, text) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `name` has the pieces of `pattern` between its stars, in order.
pub(super) fn is_match(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = name.split_once(piece) else { return false };
        name = after;
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml.bak", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("x", "x", true),
            ("x", "y", false),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }
}
