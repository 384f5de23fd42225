//! How long the log may become.

/// Bytes in the log after which it is copied into the database. Pages that many groups wrote are
/// copied once, so more is cheaper; but what waits for the disk or a processor waits longer the more
/// is copied at once (docs/bench.md), and recovery after a crash reads them all.
const CHECKPOINT_BYTES: u64 = 8 * 1024 * 1024;

/// Bytes of the log that the writer copies itself, between two groups: a pause of a millisecond or
/// two, after which the log begins anew.
const REST_BYTES: u64 = 1024 * 1024;

/// Bytes in the log, but for the head of each page, at which commits wait for the copy: a disk that
/// cannot keep up is full sooner or later, and the ballast is made for a log of this size.
pub(super) const LOG_BYTES: u64 = 32 * 1024 * 1024;

/// The same in pages of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogBounds {
    pub(super) checkpoint: i32,
    pub(super) rest: i32,
    pub(super) max: i32,
}

impl LogBounds {
    /// `page_bytes`: of the store; one that an earlier version made has smaller ones.
    pub(super) fn new(page_bytes: u64) -> Self {
        let pages = |bytes: u64| i32::try_from(bytes / page_bytes.max(1)).unwrap_or(i32::MAX);
        Self { checkpoint: pages(CHECKPOINT_BYTES), rest: pages(REST_BYTES), max: pages(LOG_BYTES) }
    }
}
