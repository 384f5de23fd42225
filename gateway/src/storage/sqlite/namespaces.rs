//! Adapters' parts of the table of state.

use std::sync::Weak;

use rusqlite::{Connection, Result};

use crate::model::AdapterName;

/// An adapter's part of the table of state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Namespace {
    pub(super) id: i64,
    /// `state_version` of the plugin that it was claimed for in this process, if any.
    pub(super) claimed: Option<u32>,
}

/// Imports under way, by the namespaces that they write; alive as long as the other end is.
pub(super) type Imports = Vec<(i64, Weak<()>)>;

/// Reads the namespaces that there are.
pub(super) fn read(connection: &Connection) -> Result<Vec<(AdapterName, i64)>> {
    let mut all = connection.prepare("SELECT adapter, id FROM namespaces")?;
    let mut rows = all.query([])?;
    let mut namespaces = Vec::new();
    while let Some(row) = rows.next()? {
        // A name that no adapter can have is nobody's: of an import, or what bit rot has changed.
        if let Ok(adapter) = AdapterName::new(&row.get::<_, String>(0)?) {
            namespaces.push((adapter, row.get(1)?));
        }
    }
    Ok(namespaces)
}
