//! What an error of SQLite means for the store.

use std::io;

use rusqlite::ErrorCode;

use crate::storage::StorageError;

/// I/O error on growing the shared-memory file: what a full disk looks like there.
const IOERR_SHMSIZE: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

/// After one of these nothing that is written can be trusted to be there.
const FATAL: [ErrorCode; 6] = [
    ErrorCode::SystemIoFailure,
    ErrorCode::DatabaseCorrupt,
    ErrorCode::NotADatabase,
    ErrorCode::ReadOnly,
    ErrorCode::CannotOpen,
    ErrorCode::FileLockingProtocolFailed,
];

/// Sorts `error` by what may be done about it.
///
/// SQLite itself would carry on after an I/O error at commit and acknowledge the next one, though
/// the kernel may have dropped what the failed `fsync` was to write; so such an error is fatal.
pub(super) fn classify(error: &rusqlite::Error) -> StorageError {
    let detail = error.to_string();
    let Some(failure) = error.sqlite_error() else { return StorageError::Failed { detail } };
    let full = failure.code == ErrorCode::DiskFull || failure.extended_code == IOERR_SHMSIZE;
    if full {
        StorageError::Full
    } else if FATAL.contains(&failure.code) {
        StorageError::Fatal { detail }
    } else {
        StorageError::Failed { detail }
    }
}

/// A question that failed: harmless, whatever the cause, since nothing was to be written.
pub(super) fn question(error: &rusqlite::Error) -> StorageError {
    StorageError::Failed { detail: error.to_string() }
}

/// Whether `error` says that the disk, or what may be used of it, is full.
pub(super) fn is_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
