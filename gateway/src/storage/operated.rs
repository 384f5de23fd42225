//! What an operator asks of a store: what adapters keep in it, to read and to replace, and a copy of
//! all of it.

use std::fs::File;

use serde::Serialize;

use super::{StorageError, StorageFuture};
use crate::model::{AdapterName, StateEntry, StateRange};

/// What one adapter keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NamespaceSummary {
    pub adapter: AdapterName,
    /// `state_version` of the plugin that wrote it.
    pub state_version: u32,
    /// Entries, with those that have expired and were not removed yet; counted up to
    /// [`ENTRIES_COUNTED_MAX`].
    pub entries: u64,
}

/// Counting on would keep a question from its answer: some milliseconds' worth.
pub const ENTRIES_COUNTED_MAX: u64 = 100_000;

/// Entries of one page of state, in the order of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPage {
    pub state_version: u32,
    pub entries: Vec<StateEntry>,
    /// Where the next page begins; absent on the last. There may be a next one although this one
    /// has no entry.
    pub next: Option<Vec<u8>>,
}

/// What became of the wish to import.
pub enum ImportBegun<'s> {
    Begun(Box<dyn StateImport + 's>),
    Refused(ImportRefused),
}

/// Why nothing is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportRefused {
    /// No running adapter of that name keeps state.
    NoNamespace,
    /// The running adapter keeps its state in this version.
    OtherVersion(u32),
    /// There are entries, and they are not to be replaced.
    NotEmpty,
}

/// Entries on their way into the namespace of one adapter. They are seen by nobody before
/// [`StateImport::finish`], and never if this is dropped or the store crashes.
pub trait StateImport: Send {
    /// Takes entries, in steps between which commits are served. A key may come once: the index of
    /// the first that had come before is returned, and none from there on was taken.
    fn add(&mut self, entries: Vec<StateEntry>) -> StorageFuture<'_, Option<usize>>;

    /// Makes these entries the adapter's state, and no others, in one transaction; a call that read
    /// what is no longer so conflicts.
    ///
    /// Waits for the adapter's lane.
    fn finish(&mut self) -> StorageFuture<'_, Result<(), ImportRefused>>;
}

impl std::fmt::Debug for ImportBegun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Begun(_) => f.write_str("Begun"),
            Self::Refused(why) => f.debug_tuple("Refused").field(why).finish(),
        }
    }
}

/// The operator's side of a store. An engine that has nothing of the kind says so.
pub trait Operated: Send + Sync {
    /// Every namespace, by the adapter's name; also those of adapters that are configured no more.
    fn namespaces(&self) -> StorageFuture<'_, Vec<NamespaceSummary>> {
        cannot("list state")
    }

    /// The first entries of a range that have not expired, at most `limit`; absent where the adapter
    /// has no namespace. A page is of one moment; the next one is of a later.
    fn entries(
        &self,
        _adapter: AdapterName,
        _range: StateRange,
        _limit: usize,
    ) -> StorageFuture<'_, Option<EntryPage>> {
        cannot("list state")
    }

    /// Begins to import state of this version. Without `replace`, only where there is none, now and
    /// at the end.
    fn begin_import(
        &self,
        _adapter: AdapterName,
        _version: u32,
        _replace: bool,
    ) -> StorageFuture<'_, ImportBegun<'_>> {
        cannot("import state")
    }

    /// A copy of the whole store as it was at one moment after this was called, in a file without a
    /// name that goes when it is closed. Commits go on meanwhile. One at a time.
    fn backup(&self) -> StorageFuture<'_, File> {
        cannot("copy itself")
    }
}

fn cannot<'a, T: Send + 'a>(what: &str) -> StorageFuture<'a, T> {
    let detail = format!("this engine cannot {what}");
    Box::pin(std::future::ready(Err(StorageError::Failed { detail })))
}
