//! Opening: one process, a SQLite that is new enough, settings that really hold, a known schema.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::columns::unsql;
use super::failure::{classify, is_want_of_room};
use crate::storage::StorageError;

/// Older ones may corrupt a database in WAL mode that several connections use (fixed in 3.51.3).
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Says "this is a Sluice store" in the header of the file: `SLCE`.
const APPLICATION_ID: i64 = 0x534C_4345;

/// Page size of new stores. Most of what is written is added at the ends of tables: with large pages
/// a group needs fewer of them, each of which costs three system calls until it is in the database,
/// and rows of a kilobyte fill them better. But a group writes the last page of each table whole,
/// however little is added to it, and a lone request is a group (docs/bench.md).
const PAGE_BYTES: u32 = 8_192;

/// The log is cut back to this after a copy into the database.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Mode of every file made here: requests and events hold personal data. SQLite gives the log and
/// the index of the log the mode of the database.
pub(super) const FILE_MODE: u32 = 0o600;

/// Mode of a folder made for them.
const FOLDER_MODE: u32 = 0o700;

/// Forward only: a migration that was released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_state.sql"),
    include_str!("migrations/0003_switches.sql"),
];

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("another gateway{holder} uses `{path}`: each needs a store of its own")]
    InUse { path: PathBuf, holder: String },
    #[error("could not lock `{path}`")]
    Lock { path: PathBuf, source: io::Error },
    #[error("this build contains SQLite {found}; 3.51.3 or newer is needed")]
    OldSqlite { found: &'static str },
    #[error("`{path}` is a database of another program")]
    Foreign { path: PathBuf },
    #[error(
        "`{path}` was written by a newer gateway (schema {found}; this one knows {known}): run that version again, or restore a backup"
    )]
    NewerSchema { path: PathBuf, found: i64, known: usize },
    #[error("SQLite did not take the setting `{name}`: it is {found}, {wanted} is needed")]
    Setting { name: &'static str, found: String, wanted: String },
    #[error("there is no room on the disk to open `{path}`, even without the ballast")]
    NoRoom { path: PathBuf },
    #[error("could not open `{path}`")]
    Unusable { path: PathBuf, source: rusqlite::Error },
    #[error(
        "another program reads `{path}`, so that its log cannot begin anew: end it, and start again"
    )]
    IsRead { path: PathBuf },
    #[error("`{path}` is damaged: {found}")]
    Damaged { path: PathBuf, found: String },
    #[error("could not make `{path}`")]
    File { path: PathBuf, source: io::Error },
    #[error("could not start a thread")]
    Thread(#[source] io::Error),
}

/// `path` with `suffix` after its name, as SQLite names its own companions.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Makes this process the only one of the store, until the file is dropped.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = beside(path, ".lock");
    let failed = |source| OpenError::Lock { path: lock_path.clone(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(FILE_MODE)
        .open(&lock_path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let holder = if known { format!(" (process {})", pid.trim()) } else { String::new() };
            return Err(OpenError::InUse { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Only for the sentence above; on a full disk the lock holds without it.
    let named = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = named {
        tracing::debug!(%error, "The lock file does not name this process.");
    }
    Ok(file)
}

/// Opens the writer's connection: settings asserted, schema brought up to date.
pub(super) fn writer(path: &Path, cache_kib: u32) -> Result<Connection, OpenError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(OpenError::OldSqlite { found: rusqlite::version() });
    }
    make_file(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(unusable(path))?;
    // First of all: a file that is not ours must stay as it is.
    let done = identify(path, &connection)?;
    configure(&connection, cache_kib).map_err(unusable(path))?;
    for (name, wanted) in [
        ("journal_mode", "wal"),
        ("synchronous", "1"),
        ("foreign_keys", "1"),
        ("trusted_schema", "0"),
        ("wal_autocheckpoint", "0"),
    ] {
        let found = pragma(&connection, name).map_err(unusable(path))?;
        if found != wanted {
            return Err(OpenError::Setting { name, found, wanted: wanted.to_owned() });
        }
    }
    migrate(&mut connection, done).map_err(unusable(path))?;
    Ok(connection)
}

/// Makes an empty file where there is none: SQLite itself would let others read it.
fn make_file(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    let made = options.create(true).truncate(false).write(true).mode(FILE_MODE).open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if is_want_of_room(&error) => Err(OpenError::NoRoom { path: path.to_owned() }),
        Err(source) => Err(OpenError::File { path: path.to_owned(), source }),
    }
}

fn configure(connection: &Connection, cache_kib: u32) -> rusqlite::Result<()> {
    // NORMAL: what a commit adds to the log is synced by `Syncer`, and nobody is answered before.
    // `page_size` counts only for a file that is being made, before it becomes WAL.
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA wal_autocheckpoint = 0; \
         PRAGMA journal_size_limit = {LOG_BYTES_MAX}; PRAGMA temp_store = MEMORY; \
         PRAGMA cache_size = -{cache_kib};"
    ))
}

/// Opens a file of the store by itself, to be synced.
pub(super) fn file(path: &Path) -> Result<File, OpenError> {
    let opened = OpenOptions::new().write(true).open(path);
    opened.map_err(|source| OpenError::File { path: path.to_owned(), source })
}

/// SQLite's log, which stays the same file as long as a connection is open, and has something in it
/// once something was written.
pub(super) fn log(path: &Path) -> Result<File, OpenError> {
    // SQLite names it after the file itself, whatever links lead to that.
    let path = match std::fs::canonicalize(path) {
        Ok(real) => beside(&real, "-wal"),
        Err(source) => return Err(OpenError::File { path: path.to_owned(), source }),
    };
    let log = file(&path)?;
    match log.metadata() {
        Ok(about) if about.len() > 0 => Ok(log),
        Ok(_) => {
            let source = io::Error::other("it is empty: SQLite writes another log");
            Err(OpenError::File { path, source })
        }
        Err(source) => Err(OpenError::File { path, source }),
    }
}

/// Opens the connection that copies the log into the database. It never writes anything else.
pub(super) fn copier(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")?;
        // Now, so that it holds the files that the writer holds, whatever becomes of the path.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    open().map_err(unusable(path))
}

/// Opens a connection that can only read.
pub(super) fn reader(path: &Path, cache_kib: u32) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch(&format!(
            "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -{cache_kib}"
        ))?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    };
    open().map_err(unusable(path))
}

pub(super) fn unusable(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError + Copy + '_ {
    |source| match classify(&source) {
        StorageError::Full => OpenError::NoRoom { path: path.to_owned() },
        StorageError::Busy
        | StorageError::Fatal { .. }
        | StorageError::Closed
        | StorageError::Failed { .. } => OpenError::Unusable { path: path.to_owned(), source },
    }
}

/// The value of a setting as SQLite has it now.
fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| {
        let value = row.get_ref(0)?;
        Ok(match value.as_i64() {
            Ok(number) => number.to_string(),
            Err(_) => value.as_str()?.to_owned(),
        })
    })
}

/// Bytes of the database's pages that hold nothing: they are written before the file grows.
pub(super) fn unused_bytes(connection: &Connection) -> u64 {
    let unused = number(connection, "freelist_count");
    let page = page_bytes(connection);
    unused.unwrap_or(0).saturating_mul(page.unwrap_or(0))
}

/// Page size of the store, which is that of when it was made.
pub(super) fn page_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    number(connection, "page_size")
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    let sql = format!("PRAGMA {pragma}");
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(unsql)
}

/// How many migrations the store at `path` has behind it.
pub(super) fn identify(path: &Path, connection: &Connection) -> Result<usize, OpenError> {
    let number = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(unusable(path))
    };
    let found = number("PRAGMA user_version")?;
    let application = number("PRAGMA application_id")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let new = found == 0 && application == 0 && tables == 0;
    if !new && application != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    match usize::try_from(found) {
        Ok(done) if done <= MIGRATIONS.len() => Ok(done),
        _ => {
            let known = MIGRATIONS.len();
            Err(OpenError::NewerSchema { path: path.to_owned(), found, known })
        }
    }
}

/// Applies what follows the first `done` migrations, each in a transaction with its number.
fn migrate(connection: &mut Connection, done: usize) -> rusqlite::Result<()> {
    for (version, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {}",
            version + 1
        ))?;
        transaction.commit()?;
    }
    Ok(())
}
