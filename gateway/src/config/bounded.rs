//! Reads files that an operator names, up to a size.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

/// Why a file was not read; the caller names it.
#[derive(Debug)]
pub(crate) enum FileError {
    Missing,
    Denied,
    NotAFile,
    TooLarge,
    Other(io::Error),
}

impl FileError {
    /// What is wrong with the file at `path`.
    pub(crate) fn tell(&self, path: &Path) -> String {
        let shown = path.display();
        match self {
            Self::Missing => format!("there is no file `{shown}`"),
            Self::Denied => format!("`{shown}` may not be read"),
            Self::NotAFile => format!("`{shown}` is not a file"),
            Self::TooLarge => format!("`{shown}` is too large"),
            Self::Other(error) => format!("`{shown}` cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            Self::Missing
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Self::Denied
        } else {
            Self::Other(error)
        }
    }
}

/// Reads a whole file of at most `bytes_max`.
pub(crate) fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    // Asked before opening: a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= bytes_max) {
        Ok(bytes)
    } else {
        Err(FileError::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "four").unwrap();
        assert_eq!(read_file(&path, 4).unwrap(), b"four");
        assert!(matches!(read_file(&path, 3), Err(FileError::TooLarge)));
        assert!(matches!(read_file(folder.path(), 4), Err(FileError::NotAFile)));
        assert!(matches!(read_file(&folder.path().join("none"), 4), Err(FileError::Missing)));
    }
}
