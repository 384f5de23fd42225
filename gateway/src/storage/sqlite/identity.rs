//! Which file the store is in. A path may come to lead to another, or to none, while the process
//! goes on writing to a file that the next start will not find.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file that was opened at a path.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    path: PathBuf,
    /// Device and number.
    file: (u64, u64),
}

impl Identity {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: at(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A sentence where the path does not lead to the file any more.
    pub(super) fn lost(&self) -> Option<String> {
        let what = match at(&self.path) {
            Ok(file) if file == self.file => return None,
            Ok(_) => "was replaced by another file",
            Err(error) if error.kind() == io::ErrorKind::NotFound => "was deleted or renamed",
            // It cannot be told; the file that is open still serves.
            Err(error) => {
                tracing::debug!(%error, "The database cannot be looked at.");
                return None;
            }
        };
        Some(format!("the database `{}` {what} while it was in use", self.path.display()))
    }
}

fn at(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}
