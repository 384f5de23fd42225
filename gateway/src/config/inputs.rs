//! What a configuration is read from, and whether that has changed.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

use super::files::{is_match, matches};

/// Bytes of one file that are looked at: as large as a component may ever be.
const LOOKED_AT_MAX: u64 = 64 << 20;

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// Links on the way to one file, as the kernel bounds them.
const LINKS_MAX: usize = 40;

/// Every file that a configuration was read from, or would have been if it were there: the main
/// file, what it includes, secrets and components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    files: BTreeSet<PathBuf>,
    /// Folder and pattern: files that match are inputs as soon as they appear.
    patterns: BTreeSet<(PathBuf, String)>,
}

/// What the inputs held at one moment. Equal where nothing changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

#[cfg(test)]
impl Fingerprint {
    /// One for each number.
    pub(crate) const fn number(number: u8) -> Self {
        Self([number; 32])
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// How closely the inputs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Every byte, and who may read it.
    Bytes,
    /// What the file system says of each file; reads none.
    Stamps,
}

impl Inputs {
    /// The inputs of a configuration of which nothing but its main file is known.
    #[must_use]
    pub fn of_main(main: &Path) -> Self {
        let mut inputs = Self::default();
        inputs.add_file(main);
        inputs
    }

    pub(crate) fn add_file(&mut self, path: &Path) {
        self.files.insert(path.to_owned());
    }

    pub(crate) fn add_pattern(&mut self, folder: &Path, pattern: &str) {
        self.patterns.insert((folder.to_owned(), pattern.to_owned()));
    }

    /// Adds those of another configuration: while one is refused, the files of the one before may
    /// mend it.
    pub fn extend(&mut self, other: &Self) {
        self.files.extend(other.files.iter().cloned());
        self.patterns.extend(other.patterns.iter().cloned());
    }

    /// Whether every file that is there as one of `other` is one of these.
    #[must_use]
    pub fn cover(&self, other: &Self) -> bool {
        other.present().is_subset(&self.present())
    }

    /// What all inputs hold now. Reads them whole where [`Look::Bytes`] asks for it: call it off
    /// the request path.
    #[must_use]
    pub fn fingerprint(&self, look: Look) -> Fingerprint {
        let mut digest = Context::new(&SHA256);
        for path in self.present() {
            add(&mut digest, path.as_os_str().as_encoded_bytes());
            let state = match look {
                Look::Bytes => bytes(&path),
                Look::Stamps => stamp(&path),
            };
            match state {
                Ok(state) => add(&mut digest, &state),
                Err(error) => add(&mut digest, error.kind().to_string().as_bytes()),
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Fingerprint(fingerprint)
    }

    /// Every file named, and every file there that matches a pattern.
    fn present(&self) -> BTreeSet<PathBuf> {
        let mut present = self.files.clone();
        for (folder, pattern) in &self.patterns {
            present.extend(matches(folder, pattern).unwrap_or_default());
        }
        present
    }

    /// Where a change can be one of an input, as the file system is now.
    #[must_use]
    pub fn watched(&self) -> Watched {
        let mut entries = BTreeSet::new();
        for path in self.present() {
            walk(&path, &mut entries);
        }
        let patterns = self.patterns.iter();
        let patterns = patterns
            .map(|(folder, pattern)| (walk(folder, &mut entries), pattern.clone()))
            .collect();
        Watched { entries, patterns }
    }
}

/// Where a change can be one of an input: at each file, and at each link on the way to it. A
/// mounted `ConfigMap` is changed by moving such a link. Every path is absolute, as a watcher tells
/// it, and a folder has one name: where links lead to it, the one without them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Entries of folders.
    entries: BTreeSet<PathBuf>,
    patterns: BTreeSet<(PathBuf, String)>,
}

impl Watched {
    /// The folders to watch.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let of_entries = self.entries.iter().filter_map(|entry| entry.parent());
        let of_patterns = self.patterns.iter().map(|(folder, _)| folder.as_path());
        of_entries.chain(of_patterns).map(Path::to_owned).collect()
    }

    /// Whether a change of `path`, an entry of one of [`Self::folders`], can be one of an input.
    #[must_use]
    pub fn concerns(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let in_pattern = |(folder, pattern): &(PathBuf, String)| {
            path.parent() == Some(folder.as_path())
                && !name.starts_with('.')
                && is_match(pattern, name)
        };
        self.entries.contains(path) || self.patterns.iter().any(in_pattern)
    }
}

/// Notes the entry of `path` itself, and that of every link on the way to it. Returns where it
/// leads.
fn walk(path: &Path, entries: &mut BTreeSet<PathBuf>) -> PathBuf {
    let mut path = absolute(path);
    for _ in 0..LINKS_MAX {
        let Some((link, rest)) = first_link(&path) else { break };
        let Ok(points_to) = fs::read_link(&link) else { break };
        let beside = link.parent().unwrap_or(Path::new("")).join(points_to);
        entries.insert(link);
        path = beside.join(rest);
        // `join` with nothing leaves a final slash, which would name what the link points to.
        path = path.components().collect();
    }
    entries.insert(path.clone());
    path
}

/// The first prefix of a path that is a link, and what comes after it.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut prefix = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        prefix.push(component);
        let may_link = matches!(component, Component::Normal(_));
        if may_link && fs::symlink_metadata(&prefix).is_ok_and(|metadata| metadata.is_symlink()) {
            return Some((prefix, components.as_path().to_owned()));
        }
    }
    None
}

/// A path as the watcher tells it. Where the working directory is gone, nothing relative to it can
/// be watched, nor is it there.
fn absolute(path: &Path) -> PathBuf {
    // An empty path is the working directory here, and an error there.
    std::path::absolute(Path::new(".").join(path)).unwrap_or_else(|_| path.to_owned())
}

fn add(digest: &mut Context, part: &[u8]) {
    // Framed by its length, so that no two lists of parts are one.
    digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    digest.update(part);
}

/// A file's permissions and the digest of its bytes.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe must not make us wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    let mut state = metadata.mode().to_le_bytes().to_vec();
    if metadata.is_file() {
        state.extend(digest_of(file)?);
    }
    Ok(state)
}

fn digest_of(file: File) -> io::Result<Vec<u8>> {
    let mut digest = Context::new(&SHA256);
    let mut file = file.take(LOOKED_AT_MAX);
    // It may be a secret that passes through.
    let mut chunk = Zeroizing::new(vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(digest.finish().as_ref().to_vec()),
            Ok(length) => digest.update(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn stamp(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    let mut stamp = times.map(i64::to_le_bytes).concat();
    stamp.extend([metadata.dev(), metadata.ino(), metadata.size()].map(u64::to_le_bytes).concat());
    Ok(stamp)
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
