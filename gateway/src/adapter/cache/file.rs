//! Opening and writing the files of the cache with the care that compiled code needs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};

/// Readable and writable by the owner alone.
const MODE: u32 = 0o600;

/// Permission bits that a file of the cache must not have: all of group and others.
const MODE_FORBIDDEN: u32 = 0o077;

/// Suffix of a file that is being written.
const PARTIAL: &str = ".partial";

/// Why a file is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A symbolic link, a folder, a device.
    NoFile,
    Owner,
    Mode,
    Size,
    Unreadable,
    /// It is not what this installation wrote.
    Forged,
}

impl Refused {
    /// The word in metrics and logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NoFile => "no_file",
            Self::Owner => "owner",
            Self::Mode => "mode",
            Self::Size => "size",
            Self::Unreadable => "unreadable",
            Self::Forged => "forged",
        }
    }
}

/// Reads a whole file that belongs to `owner` and to nobody else. `None`: there is none. The
/// checks are made on the opened file, so that another cannot be put in its place between.
pub(super) fn read(path: &Path, owner: u32, bytes_max: u64) -> Result<Option<Vec<u8>>, Refused> {
    let opened = OpenOptions::new()
        .read(true)
        // A FIFO in its place must not make us wait.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(Refused::NoFile),
        Err(_) => return Err(Refused::Unreadable),
    };
    let metadata = file.metadata().map_err(|_| Refused::Unreadable)?;
    if !metadata.is_file() {
        return Err(Refused::NoFile);
    }
    if metadata.uid() != owner {
        return Err(Refused::Owner);
    }
    if metadata.mode() & MODE_FORBIDDEN != 0 {
        return Err(Refused::Mode);
    }
    if metadata.len() > bytes_max {
        return Err(Refused::Size);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    // It may have grown since; no more than the bound is read of it.
    file.take(bytes_max).read_to_end(&mut bytes).map_err(|_| Refused::Unreadable)?;
    Ok(Some(bytes))
}

/// Writes a new file beside `path` and gives its name; whoever asked renames or links it.
pub(super) fn write_beside(path: &Path, pieces: &[&[u8]]) -> io::Result<PathBuf> {
    let mut random = [0_u8; 8];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}{PARTIAL}", hex::encode(random)));
    let beside = path.with_file_name(name);
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
    match write_all(file, pieces) {
        Ok(()) => Ok(beside),
        Err(error) => {
            // Nothing refers to it; what the next start finds of it, that start removes.
            drop(std::fs::remove_file(&beside));
            Err(error)
        }
    }
}

/// The name for which [`write_beside`] made a file of this name.
pub(super) fn written_for(name: &str) -> Option<&str> {
    let (name, random) = name.strip_suffix(PARTIAL)?.rsplit_once('.')?;
    let is_random = random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
    is_random.then_some(name)
}

fn write_all(mut file: File, pieces: &[&[u8]]) -> io::Result<()> {
    // Not synced: what a power cut leaves of it does not authenticate.
    pieces.iter().try_for_each(|piece| file.write_all(piece))
}
