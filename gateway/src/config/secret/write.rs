//! Writes secrets' files: whole or not at all, for their owner alone.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::read::{FILE_BYTES_MAX, VERSIONS_MAX, from_file};
use super::{SecretValue, SecretVersion};
use crate::model::UnixMillis;

/// Why a secret's file was not written. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("there is a file `{}` already", .0.display())]
    Exists(PathBuf),
    #[error("{0}")]
    Unreadable(String),
    #[error("the new value is empty")]
    Empty,
    #[error("the new value is the newest one already")]
    Same,
    #[error("{VERSIONS_MAX} values have not expired yet: wait, or give a shorter overlap")]
    TooMany,
    #[error("the file would be larger than 64KiB")]
    TooLarge,
    #[error("writing `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What a rotation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Values that are still good beside the new one.
    pub still_good: usize,
    /// When the value that was the newest expires; absent where it is not good any more.
    pub old_until: Option<UnixMillis>,
}

/// Writes a secret's first value into a file that is not there yet; makes its folder.
///
/// # Errors
///
/// Where the file is there, or cannot be written.
pub fn create(path: &Path, value: &SecretValue) -> Result<(), SecretFileError> {
    if path.symlink_metadata().is_ok() {
        return Err(SecretFileError::Exists(path.to_owned()));
    }
    let failed = |source| SecretFileError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    replace(path, &render(&[(value, None)])).map_err(failed)
}

/// Makes `value` the newest of a secret's values. Those before it are good until `now` and
/// `overlap`, or until they would have expired anyway; those that have expired are taken out, and
/// so are those that are not fit (`is_fit`), for which the gateway would refuse all of them.
///
/// Two rotations of one file come one after the other.
///
/// # Errors
///
/// Where the file cannot be read as a secret, or cannot be written.
pub fn rotate(
    path: &Path,
    value: &SecretValue,
    overlap: Duration,
    now: UnixMillis,
    is_fit: impl Fn(&SecretValue) -> bool,
) -> Result<Rotated, SecretFileError> {
    let failed = |source| SecretFileError::Write { path: path.to_owned(), source };
    // Where it is a link, what it leads to is replaced, and the link stays.
    let path = fs::canonicalize(path).map_err(failed)?;
    let _lock = lock(&path).map_err(failed)?;
    let before = from_file(&path).map_err(|error| SecretFileError::Unreadable(error.message))?;
    if value.expose().is_empty() {
        return Err(SecretFileError::Empty);
    }
    if before.first().is_some_and(|newest| newest.value.expose() == value.expose()) {
        return Err(SecretFileError::Same);
    }
    let end = now.after(overlap);
    let until = |version: &SecretVersion| version.expires_at.map_or(end, |at| at.min(end));
    let is_good = |old: &SecretVersion| until(old) > now && is_fit(&old.value);
    // The same value again, as when a rotation is taken back, is good as the newest alone.
    let good = before.iter().filter(|old| is_good(old) && old.value.expose() != value.expose());
    let mut versions = vec![(value, None)];
    versions.extend(good.map(|old| (&old.value, Some(until(old)))));
    if versions.len() > VERSIONS_MAX {
        return Err(SecretFileError::TooMany);
    }
    let text = render(&versions);
    if text.len() > FILE_BYTES_MAX {
        return Err(SecretFileError::TooLarge);
    }
    replace(&path, &text).map_err(failed)?;
    let newest_until = before.first().filter(|newest| is_good(newest)).map(until);
    Ok(Rotated { still_good: versions.len() - 1, old_until: newest_until })
}

/// One value as it is, several under the first line that says so. What a plain file cannot say of
/// one value is said in the other form.
fn render(versions: &[(&SecretValue, Option<UnixMillis>)]) -> Zeroizing<Vec<u8>> {
    let plain = |value: &[u8]| !value.starts_with(b"#") && !value.ends_with(b"\r");
    if let [(value, None)] = versions
        && plain(value.expose())
    {
        return Zeroizing::new([value.expose(), b"\n"].concat());
    }
    // Allocated once: growing would leave copies behind that nobody wipes.
    let bytes: usize = versions.iter().map(|(value, _)| value.expose().len() * 2 + 64).sum();
    let mut text = Zeroizing::new(String::with_capacity(bytes + 64));
    text.push_str("#sluice-secrets 1\n");
    for (value, until) in versions {
        let encoded = Zeroizing::new(STANDARD.encode(value.expose()));
        match until {
            // Writing to a text does not fail.
            Some(until) => drop(writeln!(text, "{} {}", until, *encoded)),
            None => drop(writeln!(text, "- {}", *encoded)),
        }
    }
    Zeroizing::new(text.as_bytes().to_vec())
}

/// Holds the file against other rotations until it is dropped.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::open(path)?;
        file.lock()?;
        // Another rotation may have put a new file in its place meanwhile.
        let (ours, now) = (file.metadata()?, fs::metadata(path)?);
        if (ours.dev(), ours.ino()) == (now.dev(), now.ino()) {
            return Ok(file);
        }
    }
}

/// Puts `bytes` in the place of what is there: at any moment the file is whole, the old one or the
/// new one, and never open to others. It belongs to whom it belonged to before.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_beside(&beside, path, folder, bytes);
    if written.is_err() {
        // Nothing of a secret is left behind; where it was never made there is nothing to remove.
        fs::remove_file(&beside).ok();
    }
    written
}

fn write_beside(beside: &Path, path: &Path, folder: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(bytes)?;
    let owner = fs::metadata(path).or_else(|_| fs::metadata(folder))?;
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (owner.uid(), owner.gid()) {
        // An operator who is root must not lock the gateway's user out.
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.sync_all()?;
    fs::rename(beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
