//! Room kept for a full disk: a file beside the database that is deleted when there is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

use super::failure::is_want_of_room;
use super::log_bounds::LOG_BYTES;

/// Free space wanted beyond the ballast before commits are taken again: some groups and a copy of
/// the log, so that the next commit does not fill the disk at once.
const MARGIN_BYTES: u64 = 8 * 1024 * 1024;

/// Zeros written at once where the file system cannot reserve room.
const ZEROS: usize = 64 * 1024;

/// The ballast file of one store.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    bytes: u64,
    pub(super) reserve: fn(&File, u64) -> rustix::io::Result<()>,
    /// It was said that there can be no ballast.
    warned: bool,
}

impl Room {
    pub(super) fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes, reserve, warned: false }
    }

    /// How large it is to be from now on.
    pub(super) const fn set_size(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// Deletes the ballast: its room is for what must go on.
    pub(super) fn release(&self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::warn!("The disk is full: requests are refused, the ballast is used.");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::error!(%error, "The ballast could not be deleted."),
        }
    }

    /// Whether the disk is so full that opening may fail unless the ballast goes.
    pub(super) fn is_scarce(&self) -> bool {
        self.free().is_some_and(|free| free < MARGIN_BYTES)
    }

    /// Makes the ballast again where there is room for it and more; says whether there was.
    /// `unused` bytes of the database wait to be written again, and need no room on the disk.
    ///
    /// Only a want of room refuses: where the file cannot be made for another reason, it is done
    /// without.
    pub(super) fn restore(&mut self, unused: u64) -> bool {
        let held = fs::metadata(&self.path).map_or(0, |file| file.len());
        let fits = match self.free() {
            Some(free) => ballast_that_fits(self.bytes, free.saturating_add(held), unused),
            None => Some(self.bytes),
        };
        let Some(bytes) = fits else { return false };
        match self.make(bytes) {
            Ok(()) => true,
            Err(error) if is_want_of_room(&error) => false,
            Err(error) => {
                if !self.warned {
                    tracing::warn!(%error, path = %self.path.display(), "The ballast cannot be made: it is done without.");
                }
                self.warned = true;
                true
            }
        }
    }

    /// Makes the ballast `bytes` long. After an error nothing of it is left.
    fn make(&self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let made = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(super::open::FILE_MODE)
            .open(&self.path)
            .and_then(|file| self.fill(&file, bytes));
        if made.is_err()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "What was made of the ballast was not deleted.");
        }
        made
    }

    fn fill(&self, file: &File, bytes: u64) -> io::Result<()> {
        // A larger one is of an earlier configuration.
        if file.metadata()?.len() > bytes {
            file.set_len(bytes)?;
        }
        match (self.reserve)(file, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(file, bytes)?,
            reserved => reserved?,
        }
        file.sync_all()
    }

    /// Bytes that this process may still write on that disk; absent where it cannot be said.
    fn free(&self) -> Option<u64> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let disk = statvfs(folder.unwrap_or(Path::new("."))).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// Has a file's room on the disk.
pub(super) fn reserve(file: &File, bytes: u64) -> rustix::io::Result<()> {
    fallocate(file, FallocateFlags::empty(), 0, bytes)
}

/// How long a ballast of `wanted` bytes may be where commits can be taken; absent where they
/// cannot. `free` bytes are left on the disk without it, and `unused` ones in the database.
///
/// What is unused in the database stands for ballast, but never for the log, which grows on the
/// disk whatever the database holds.
fn ballast_that_fits(wanted: u64, free: u64, unused: u64) -> Option<u64> {
    let beside_margin = free.checked_sub(MARGIN_BYTES)?;
    if beside_margin >= wanted {
        return Some(wanted);
    }
    let beside_log = beside_margin.checked_sub(LOG_BYTES)?;
    (beside_margin.saturating_add(unused) >= wanted).then_some(beside_log)
}

/// Makes `file` at least `bytes` long with zeros that take room.
fn write_zeros(mut file: &File, bytes: u64) -> io::Result<()> {
    let mut len = file.seek(SeekFrom::End(0))?;
    let zeros = vec![0; ZEROS];
    while len < bytes {
        let step = usize::try_from(bytes - len).unwrap_or(ZEROS).min(ZEROS);
        file.write_all(zeros.get(..step).unwrap_or_default())?;
        len += u64::try_from(step).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn unused_pages_count_as_room_beside_a_margin_for_the_log() {
        for (wanted, free, unused, fits) in [
            (64, 72, 0, Some(64)),
            (64, 71, 0, None),
            (64, 71, 1, Some(31)),
            (64, 50, 22, Some(10)),
            (64, 50, 21, None),
            (64, 40, 1_000, Some(0)),
            (64, 39, 1_000, None),
            (1, 9, 0, Some(1)),
            (1, 8, 1_000, None),
            (0, 8, 0, Some(0)),
            (0, 7, 1_000, None),
        ] {
            let found = ballast_that_fits(wanted * MIB, free * MIB, unused * MIB);
            assert_eq!(found, fits.map(|fits| fits * MIB), "{wanted} {free} {unused}");
        }
    }

    #[test]
    fn only_a_want_of_room_refuses() {
        type Reserve = fn(&File, u64) -> rustix::io::Result<()>;
        let cases: [(Reserve, bool, Option<u64>); 6] = [
            (|file, bytes| fallocate(file, FallocateFlags::empty(), 0, bytes), true, Some(MIB + 1)),
            (|_, _| Err(Errno::OPNOTSUPP), true, Some(MIB + 1)),
            (|_, _| Err(Errno::NOSYS), true, Some(MIB + 1)),
            (|_, _| Err(Errno::NOSPC), false, None),
            (|_, _| Err(Errno::DQUOT), false, None),
            (|_, _| Err(Errno::PERM), true, None),
        ];
        for (n, (reserve, serves, made)) in cases.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ballast");
            let mut room = Room { reserve, ..Room::new(path.clone(), MIB + 1) };
            assert_eq!(room.restore(0), serves, "case {n}");
            let len = fs::metadata(&path).ok().map(|file| file.len());
            assert_eq!(len, made, "case {n}");
            if made.is_some() {
                use std::os::unix::fs::MetadataExt as _;
                assert!(fs::metadata(&path).unwrap().blocks() * 512 > MIB, "case {n}: takes room");
            }
        }
    }
}
