//! The operator's side: state listed and replaced.
//!
//! An import writes a namespace of its own, under a name that no adapter can have, and at the end
//! that namespace takes the adapter's name: however many entries there are, the writer's turn is
//! short, and there is nothing between all of them and none. What lost its name so is deleted by
//! retention, in steps; and so is what an import left that never ended.

use std::fs::File;
use std::sync::{Arc, Weak};

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::columns::{sql, unsql};
use super::namespaces::Namespace;
use super::writer::Writer;
use super::{SqliteStorage, state};
use crate::model::{AdapterName, StateEntry, StateRange};
use crate::storage::{
    ENTRIES_COUNTED_MAX, EntryPage, ImportBegun, ImportRefused, NamespaceSummary, Operated,
    StateImport, StateScan, StorageError, StorageFuture,
};

/// Entries written in one step of an import, and their bytes: some milliseconds, during which
/// commits wait.
const ENTRIES_PER_STEP: usize = 512;
const BYTES_PER_STEP: usize = 256 << 10;

/// Begins the names of namespaces that no adapter has.
const NAMELESS: char = '~';

impl Operated for SqliteStorage {
    fn namespaces(&self) -> StorageFuture<'_, Vec<NamespaceSummary>> {
        Box::pin(self.queries.ask(summaries))
    }

    fn entries(
        &self,
        adapter: AdapterName,
        range: StateRange,
        limit: usize,
    ) -> StorageFuture<'_, Option<EntryPage>> {
        let now = self.shared.now();
        Box::pin(self.queries.ask(move |connection| {
            let scan = StateScan { range: &range, limit, reverse: false, now };
            page(connection, &adapter, &scan)
        }))
    }

    fn begin_import(
        &self,
        adapter: AdapterName,
        version: u32,
        replace: bool,
    ) -> StorageFuture<'_, ImportBegun<'_>> {
        Box::pin(async move {
            let alive = Arc::new(());
            let (of, weak) = (adapter.clone(), Arc::downgrade(&alive));
            let begun =
                self.ask_writer(move |writer| writer.begin_import(&of, version, replace, weak));
            Ok(match begun.await? {
                Ok(staged) => {
                    let storage = self;
                    let import = Import { storage, adapter, version, replace, staged, alive };
                    ImportBegun::Begun(Box::new(import))
                }
                Err(refused) => ImportBegun::Refused(refused),
            })
        })
    }

    fn backup(&self) -> StorageFuture<'_, File> {
        Box::pin(self.backups.run(&self.path, &self.shared))
    }
}

fn summaries(connection: &Connection) -> Result<Vec<NamespaceSummary>> {
    let mut all = connection.prepare_cached(
        "SELECT adapter, state_version, (SELECT count(*) FROM (SELECT 1 FROM state \
         WHERE namespace = namespaces.id LIMIT ?1)) FROM namespaces ORDER BY adapter",
    )?;
    let mut rows = all.query([sql(ENTRIES_COUNTED_MAX)])?;
    let mut summaries = Vec::new();
    while let Some(row) = rows.next()? {
        if let Ok(adapter) = AdapterName::new(&row.get::<_, String>(0)?) {
            let (state_version, entries) = (row.get(1)?, unsql(row.get(2)?));
            summaries.push(NamespaceSummary { adapter, state_version, entries });
        }
    }
    Ok(summaries)
}

fn page(
    connection: &Connection,
    adapter: &AdapterName,
    scan: &StateScan<'_>,
) -> Result<Option<EntryPage>> {
    // One view of both tables: an import may end in between.
    let _view = connection.unchecked_transaction()?;
    let namespace = connection
        .prepare_cached("SELECT id, state_version FROM namespaces WHERE adapter = ?1")?
        .query_row([adapter.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((namespace, state_version)) = namespace else { return Ok(None) };
    let found = state::read(connection, namespace, scan)?;
    let next = Some(found.looked_at.end).filter(|end| *end < scan.range.end);
    Ok(Some(EntryPage { state_version, entries: found.entries, next }))
}

/// One import. The writer holds for alive what `alive` keeps so.
struct Import<'s> {
    storage: &'s SqliteStorage,
    adapter: AdapterName,
    version: u32,
    replace: bool,
    /// The namespace that is written.
    staged: i64,
    alive: Arc<()>,
}

impl StateImport for Import<'_> {
    fn add(&mut self, entries: Vec<StateEntry>) -> StorageFuture<'_, Option<usize>> {
        let staged = self.staged;
        Box::pin(async move {
            let mut taken = 0;
            let mut entries = entries.into_iter().peekable();
            while entries.peek().is_some() {
                let (mut step, mut bytes) = (Vec::new(), 0);
                while step.len() < ENTRIES_PER_STEP && bytes < BYTES_PER_STEP {
                    let Some(entry) = entries.next() else { break };
                    bytes += entry.bytes();
                    step.push(entry);
                }
                let count = step.len();
                let stage = move |writer: &mut Writer<'_>| writer.stage(staged, &step);
                if let Some(repeated) = self.storage.ask_writer(stage).await? {
                    return Ok(Some(taken + repeated));
                }
                taken += count;
            }
            Ok(None)
        })
    }

    fn finish(&mut self) -> StorageFuture<'_, std::result::Result<(), ImportRefused>> {
        Box::pin(async move {
            // Held until the names are changed: whoever runs in it reads what stays as it is.
            let (_lane, place) = self.storage.enter_lane(self.adapter.clone()).await?;
            let (adapter, version, staged) = (self.adapter.clone(), self.version, self.staged);
            let (replace, alive) = (self.replace, Arc::clone(&self.alive));
            self.storage
                .ask_writer_from(place, move |writer| {
                    let ended = writer.end_import(&adapter, version, staged, replace);
                    drop(alive);
                    ended
                })
                .await
        })
    }
}

/// What is written for an import, or why nothing is.
type Begun = std::result::Result<i64, ImportRefused>;

impl Writer<'_> {
    fn begin_import(
        &mut self,
        adapter: &AdapterName,
        version: u32,
        replace: bool,
        alive: Weak<()>,
    ) -> std::result::Result<Begun, StorageError> {
        self.refuse_when_full()?;
        let namespace = match self.importable(adapter, version) {
            Ok(namespace) => namespace,
            Err(refused) => return Ok(Err(refused)),
        };
        let begun = self.transaction(|writer| {
            if !replace && writer.has_entries(namespace)? {
                return Ok(Err(ImportRefused::NotEmpty));
            }
            let insert = "INSERT INTO namespaces (adapter, state_version) \
                SELECT ?1 || (max(id) + 1), ?2 FROM namespaces RETURNING id";
            let staged = writer.connection.query_row(
                insert,
                params![NAMELESS.to_string(), version],
                |row| row.get::<_, i64>(0),
            )?;
            Ok(Ok(staged))
        })?;
        if let Ok(staged) = begun {
            self.imports.push((staged, alive));
        }
        Ok(begun)
    }

    /// The namespace that a running adapter keeps in this version.
    fn importable(&self, adapter: &AdapterName, version: u32) -> Begun {
        match self.shared.claimed(adapter) {
            None => Err(ImportRefused::NoNamespace),
            Some(claimed) if claimed != version => Err(ImportRefused::OtherVersion(claimed)),
            Some(_) => {
                self.shared.namespace(adapter, version).map_err(|_| ImportRefused::NoNamespace)
            }
        }
    }

    fn refuse_when_full(&self) -> std::result::Result<(), StorageError> {
        let full = self.shared.full.load(std::sync::atomic::Ordering::Acquire);
        if full { Err(StorageError::Full) } else { Ok(()) }
    }

    fn has_entries(&self, namespace: i64) -> Result<bool> {
        let any = "SELECT EXISTS (SELECT 1 FROM state WHERE namespace = ?1)";
        self.connection.prepare_cached(any)?.query_row([namespace], |row| row.get(0))
    }

    /// Writes entries for an import; the index of the first whose key it has written before.
    fn stage(
        &mut self,
        staged: i64,
        entries: &[StateEntry],
    ) -> std::result::Result<Option<usize>, StorageError> {
        self.refuse_when_full()?;
        let version = self.next.change;
        self.next.change += 1;
        self.transaction(|writer| {
            let mut insert = writer.connection.prepare_cached(
                "INSERT INTO state (namespace, key, value, expires_at, version) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            )?;
            for (index, entry) in entries.iter().enumerate() {
                let expires_at = entry.expires_at.map(|at| sql(at.0));
                let row = params![staged, entry.key, entry.value, expires_at, version];
                if insert.execute(row)? == 0 {
                    return Ok(Some(index));
                }
            }
            Ok(None)
        })
    }

    /// Gives the staged namespace the adapter's name.
    fn end_import(
        &mut self,
        adapter: &AdapterName,
        version: u32,
        staged: i64,
        replace: bool,
    ) -> std::result::Result<std::result::Result<(), ImportRefused>, StorageError> {
        self.imports.retain(|(namespace, _)| *namespace != staged);
        // Asked again: a reload may have claimed it for another version in between.
        let namespace = match self.importable(adapter, version) {
            Ok(namespace) => namespace,
            Err(refused) => return Ok(Err(refused)),
        };
        let ended = self.transaction(|writer| {
            if !replace && writer.has_entries(namespace)? {
                return Ok(Err(ImportRefused::NotEmpty));
            }
            let mut rename = writer
                .connection
                .prepare_cached("UPDATE namespaces SET adapter = ?2 WHERE id = ?1")?;
            rename.execute(params![namespace, format!("{NAMELESS}{namespace}")])?;
            rename.execute(params![staged, adapter.as_str()])?;
            Ok(Ok(()))
        })?;
        if ended.is_ok() {
            let namespace = Namespace { id: staged, claimed: Some(version) };
            self.shared.know_namespace(adapter, namespace);
        }
        Ok(ended)
    }

    /// Deletes some entries of namespaces that are nobody's any more; `false` once there is none.
    pub(super) fn delete_abandoned(
        &mut self,
        max: usize,
    ) -> std::result::Result<bool, StorageError> {
        self.imports.retain(|(_, alive)| alive.strong_count() > 0);
        self.transaction(|writer| {
            let Some(namespace) = writer.abandoned()? else { return Ok(false) };
            let mut delete = writer.connection.prepare_cached(
                "DELETE FROM state WHERE namespace = ?1 AND key IN \
                 (SELECT key FROM state WHERE namespace = ?1 ORDER BY key LIMIT ?2)",
            )?;
            if delete.execute(params![namespace, sql(max as u64)])? < max {
                let gone = "DELETE FROM namespaces WHERE id = ?1";
                writer.connection.prepare_cached(gone)?.execute([namespace])?;
            }
            Ok(true)
        })
    }

    fn abandoned(&self) -> Result<Option<i64>> {
        let mut nameless = self
            .connection
            .prepare_cached("SELECT id FROM namespaces WHERE substr(adapter, 1, 1) = ?1")?;
        let mut rows = nameless.query([NAMELESS.to_string()])?;
        while let Some(row) = rows.next()? {
            let namespace = row.get(0)?;
            if !self.imports.iter().any(|(importing, _)| *importing == namespace) {
                return Ok(Some(namespace));
            }
        }
        Ok(None)
    }
}
