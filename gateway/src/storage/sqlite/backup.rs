//! A copy of the store, made beside the traffic.
//!
//! `VACUUM INTO` on a connection of its own: one read transaction copies what it sees, so the copy is
//! of one moment, holds no free pages, and needs no log of its own. SQLite's online backup was not
//! chosen: it begins again at every commit of another connection, unless all pages are copied in one
//! step, and then it is the same read transaction with a larger result.
//!
//! While that transaction lasts the log cannot begin anew. So nobody tries to copy it meanwhile, and
//! afterwards it may be as long as it has become until it is copied: commits wait for neither.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::statvfs;
use tokio::sync::oneshot;

use super::log_bounds::LOG_BYTES;
use super::open::{self, FILE_MODE, OpenError};
use super::shared::Shared;
use crate::storage::StorageError;

/// Virtual-machine steps between two looks whether to go on: some hundred microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 20_000;

/// Page cache while a copy is checked: it follows every index.
const CHECK_CACHE_KIB: u32 = 64 << 10;

/// The thread that copies, where there is one.
#[derive(Debug, Default)]
pub(super) struct Backups(Mutex<Option<JoinHandle<()>>>);

impl Backups {
    /// Copies the store at `path`, on a thread of its own.
    pub(super) async fn run(
        &self,
        path: &Path,
        shared: &Arc<Shared>,
    ) -> Result<File, StorageError> {
        if shared.full.load(Ordering::Acquire) {
            return Err(StorageError::Full);
        }
        let (done, copied) = oneshot::channel();
        {
            let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
                return Err(failed("another backup is under way"));
            }
            // Asked with the lock held: `end` empties it, and must not find it full again.
            if let Some(over) = shared.over() {
                return Err(over);
            }
            let (path, shared) = (path.to_owned(), Arc::clone(shared));
            let copying = move || {
                crate::priority::step_back();
                // Where nobody wants it any more, the file goes with the answer.
                drop(done.send(copy(&path, &shared)));
            };
            let named = thread::Builder::new().name("storage-backup".to_owned());
            *thread = Some(named.spawn(copying).map_err(failed)?);
        }
        copied.await.unwrap_or_else(|_| Err(failed("the thread that copies panicked")))
    }

    /// The thread, to be waited for: it stops by itself once the store is over.
    pub(super) fn end(&self) -> Option<JoinHandle<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where the copy is written.
fn copy_path(path: &Path) -> PathBuf {
    open::beside(path, ".backup")
}

/// Deletes what a crash left of a copy.
pub(super) fn forget(path: &Path) {
    match fs::remove_file(copy_path(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "What is left of a backup could not be deleted.");
        }
        Ok(()) | Err(_) => {}
    }
}

fn copy(path: &Path, shared: &Arc<Shared>) -> Result<File, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    let to = copy_path(path);
    look_for_room(&connection, &to)?;
    let file = make(&to).map_err(failed)?;
    let copied = vacuum(&mut connection, shared, &to);
    // From here on it is there only as long as somebody holds it.
    fs::remove_file(&to).map_err(failed)?;
    copied.map(|()| file)
}

fn vacuum(
    connection: &mut Connection,
    shared: &Arc<Shared>,
    to: &Path,
) -> Result<(), StorageError> {
    let name = to.to_str().ok_or_else(|| failed("the store's path is not text"))?;
    // The receiver sees to it that the copy is on disk; here a sync would only delay commits.
    let settings = "PRAGMA trusted_schema = OFF; PRAGMA synchronous = OFF";
    connection.execute_batch(settings).map_err(failed)?;
    let watching = Arc::clone(shared);
    let stop = move || watching.over().is_some() || watching.full.load(Ordering::Acquire);
    connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(stop)).map_err(failed)?;
    let held = Held::by(shared);
    let copied = connection.execute("VACUUM main INTO ?1", [name]);
    drop(held);
    match (copied, shared.over()) {
        (Ok(_), _) => Ok(()),
        (Err(_), Some(over)) => Err(over),
        (Err(_), None) if shared.full.load(Ordering::Acquire) => Err(StorageError::Full),
        (Err(error), None) => Err(super::failure::question(&error)),
    }
}

/// Whether a file is a whole copy of a store, every page of it.
///
/// # Errors
///
/// Where it is not, or cannot be read.
pub fn check(path: &Path) -> Result<(), OpenError> {
    let connection = open::reader(path, CHECK_CACHE_KIB)?;
    open::identify(path, &connection)?;
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(open::unusable(path))?;
    if found == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), found }) }
}

/// Says to the writer that the log cannot begin anew meanwhile.
struct Held<'s>(&'s Shared);

impl<'s> Held<'s> {
    fn by(shared: &'s Shared) -> Self {
        shared.log_is_held.store(true, Ordering::Release);
        Self(shared)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.log_is_held.store(false, Ordering::Release);
    }
}

/// An empty file that its owner alone may read: SQLite itself would let others.
fn make(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Refuses where the copy may fill the disk: commits would be refused then.
fn look_for_room(connection: &Connection, to: &Path) -> Result<(), StorageError> {
    let number = |name: &str| {
        let sql = format!("PRAGMA {name}");
        let number: rusqlite::Result<i64> = connection.query_row(&sql, [], |row| row.get(0));
        number.map(|number| u64::try_from(number).unwrap_or_default())
    };
    let pages = number("page_count").map_err(failed)?;
    let bytes = pages.saturating_mul(number("page_size").map_err(failed)?);
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let disk = statvfs(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let wanted = bytes.saturating_add(LOG_BYTES);
    if free < wanted {
        return Err(failed(format!(
            "a copy takes up to {wanted} bytes beside the store for a while, and {free} are free"
        )));
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> StorageError {
    StorageError::Failed { detail: error.to_string() }
}
