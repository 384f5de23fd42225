//! Switches of routes.

use rusqlite::{Connection, Result, params};

use super::columns::{sql, unsql};
use super::writer::Writer;
use crate::model::{RouteName, RouteSwitch, UnixMillis};
use crate::storage::StorageError;

/// All that are set.
pub(super) fn all(connection: &Connection) -> Result<Vec<(RouteName, RouteSwitch)>> {
    let mut all = connection.prepare_cached("SELECT route, paused, since FROM route_switches")?;
    let mut rows = all.query([])?;
    let mut switches = Vec::new();
    while let Some(row) = rows.next()? {
        // A name that bit rot has changed is nobody's.
        if let Ok(route) = RouteName::new(&row.get::<_, String>(0)?) {
            let since = UnixMillis(unsql(row.get(2)?));
            switches.push((route, RouteSwitch { paused: row.get(1)?, since }));
        }
    }
    Ok(switches)
}

impl Writer<'_> {
    pub(super) fn set_route_switch(
        &mut self,
        route: &RouteName,
        switch: Option<RouteSwitch>,
    ) -> std::result::Result<(), StorageError> {
        self.transaction(|writer| {
            let connection = writer.connection;
            match switch {
                Some(RouteSwitch { paused, since }) => connection.execute(
                    "INSERT INTO route_switches (route, paused, since) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (route) DO UPDATE SET paused = excluded.paused, \
                     since = excluded.since",
                    params![route.as_str(), paused, sql(since.0)],
                ),
                None => connection
                    .execute("DELETE FROM route_switches WHERE route = ?1", [route.as_str()]),
            }
        })?;
        Ok(())
    }
}
