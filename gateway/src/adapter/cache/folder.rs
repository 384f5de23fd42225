//! The folder of the cache: its key, its entries, its bounds.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::file::{self, Refused};
use super::hmac_key;

const MODE: u32 = 0o700;

/// Name of the key's file. Entries are named by 64 hexadecimal digits.
const KEY: &str = "key";
const KEY_BYTES: usize = 32;

/// Name of the file by which the owner is found out.
const PROBE: &str = "probe";

/// First bytes of an entry, before its authentication code.
const MAGIC: &[u8; 8] = b"SLUICE\0\x01";
const TAG_BYTES: usize = 32;

/// Largest entry, in bytes. The 2 MiB that a component may have compile to some 10 MiB; Python's
/// 18 MB to 35.
const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// Entries kept, and their bytes: two entries an adapter, and as many again for the versions that
/// were replaced of late. The oldest go first.
const ENTRIES_MAX: usize = 256;
const FOLDER_BYTES_MAX: u64 = 256 << 20;

/// An opened folder.
pub(super) struct Folder {
    path: PathBuf,
    key: hmac::Key,
    /// User id of this process, as files are made by it.
    owner: u32,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Folder {
    /// Opens the folder, and makes it and its key where they are not there.
    ///
    /// # Errors
    ///
    /// Where it cannot be made or written to, or belongs to another user.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let context = || format!("the cache folder `{}` cannot be used", path.display());
        DirBuilder::new().recursive(true).mode(MODE).create(path).with_context(context)?;
        let owner = own(path).with_context(context)?;
        let key = key(path, owner).with_context(context)?;
        // Not before it is known whose folder this is: another's files are not ours to remove.
        remove_partial(path);
        Ok(Self { path: path.to_owned(), key: hmac_key(&key), owner })
    }

    /// The entry of that name. `None`: there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Refused> {
        let path = self.path.join(name);
        let Some(mut bytes) = file::read(&path, self.owner, ENTRY_BYTES_MAX)? else {
            return Ok(None);
        };
        let (magic, rest) = bytes.split_at_checked(MAGIC.len()).ok_or(Refused::Forged)?;
        let (tag, payload) = rest.split_at_checked(TAG_BYTES).ok_or(Refused::Forged)?;
        if magic != MAGIC {
            return Err(Refused::Forged);
        }
        let mut message = hmac::Context::with_key(&self.key);
        message.update(name.as_bytes());
        message.update(payload);
        // Not for secrecy's sake but for the habit: no tag is compared otherwise.
        if !bool::from(subtle::ConstantTimeEq::ct_eq(message.sign().as_ref(), tag)) {
            return Err(Refused::Forged);
        }
        bytes.drain(..MAGIC.len() + TAG_BYTES);
        Ok(Some(bytes))
    }

    /// Writes an entry, so that it is there as a whole or not at all.
    pub(super) fn write(&self, name: &str, payload: &[u8]) -> io::Result<()> {
        let mut message = hmac::Context::with_key(&self.key);
        message.update(name.as_bytes());
        message.update(payload);
        let path = self.path.join(name);
        let written = file::write_beside(&path, &[MAGIC, message.sign().as_ref(), payload])?;
        fs::rename(written, path)?;
        self.prune()
    }

    /// Removes the oldest entries beyond the bounds.
    fn prune(&self) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // What another process has just removed is no concern.
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name();
            if metadata.is_file() && name.to_str().is_some_and(is_entry) {
                let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                entries.push((modified, metadata.len(), entry.path()));
            }
        }
        entries.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
        let mut bytes = 0_u64;
        for (index, (_, length, path)) in entries.iter().enumerate() {
            bytes = bytes.saturating_add(*length);
            if index >= ENTRIES_MAX || bytes > FOLDER_BYTES_MAX {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Checks that the folder is this process's own and nobody else's; gives the user id.
fn own(path: &Path) -> io::Result<u32> {
    // Whose process this is shows in the files it makes.
    let probe = file::write_beside(&path.join(PROBE), &[])?;
    let owner = fs::metadata(&probe)?.uid();
    fs::remove_file(&probe)?;
    let metadata = fs::metadata(path)?;
    if metadata.uid() != owner {
        return Err(io::Error::other("it belongs to another user"));
    }
    if metadata.mode() & 0o777 != MODE {
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
    }
    Ok(owner)
}

/// The installation's key. One that is not whole, or that others could read, is replaced: all
/// entries made with it are then compiled anew.
fn key(folder: &Path, owner: u32) -> io::Result<Zeroizing<Vec<u8>>> {
    let path = folder.join(KEY);
    if let Some(key) = existing_key(&path, owner) {
        return Ok(key);
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let written = file::write_beside(&path, &[&key])?;
    // Linked, not renamed: of two gateways that start at once, the first one's key stays.
    let linked = fs::hard_link(&written, &path);
    fs::remove_file(&written)?;
    match linked {
        Ok(()) => Ok(key),
        Err(error) => existing_key(&path, owner).ok_or(error),
    }
}

fn existing_key(path: &Path, owner: u32) -> Option<Zeroizing<Vec<u8>>> {
    // One more than a key has, so that a longer file is seen to be longer.
    let bytes_max = u64::try_from(KEY_BYTES).unwrap_or_default() + 1;
    let key = Zeroizing::new(file::read(path, owner, bytes_max).ok()??);
    (key.len() == KEY_BYTES).then_some(key)
}

/// Removes what an interrupted write left, and no file that another program might call partial.
/// Should another gateway be writing it at this moment, its rename fails, and it compiles once
/// more.
fn remove_partial(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let written = name.to_str().and_then(file::written_for);
        if written.is_some_and(|name| name == KEY || name == PROBE || is_entry(name)) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Whether an entry may have this name: a SHA-256 in lower-case hexadecimal.
fn is_entry(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
