//! Reads due deliveries from the table into the queue.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Result, params};

use super::columns::{sql, unsql};
use super::encode::event_from_row;
use super::queue::{Loaded, Turn};
use super::shared::Shared;
use crate::model::{DestinationName, UnixMillis};

/// Deliveries read at once: enough that reading is not the bound, few enough to stay a pause of
/// milliseconds.
const LOAD_MAX: usize = 256;

/// Bytes of their events, beyond which no further one is read.
const LOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads what is due at `now` and not held: what leases took away and lost, and what is parked.
///
/// Returns deliveries whose events cannot be read at all: they can never be sent, and stay held until
/// whoever writes has given them up.
pub(super) fn load(
    connection: &Connection,
    shared: &Shared,
    destination: &DestinationName,
    now: UnixMillis,
) -> Result<Vec<i64>> {
    let (plan, held) = {
        let mut queue = shared.queue();
        (queue.begin_load(destination, now, LOAD_MAX), queue.held(destination))
    };
    let read = || {
        let (mut loaded, mut bytes) = (Vec::new(), 0);
        for id in plan.again {
            if bytes >= LOAD_BYTES_MAX {
                break;
            }
            match read_delivery(connection, id)? {
                Some(delivery) => {
                    bytes += delivery.bytes;
                    loaded.push(delivery);
                }
                // The table says already that it is pending no longer.
                None => shared.queue().discard(&[id]),
            }
        }
        let parked = if plan.parked {
            let mut reading = Parked { held, loaded: &mut loaded };
            Some(reading.read(connection, shared, destination, now)?)
        } else {
            None
        };
        Ok((loaded, parked))
    };
    match read() {
        Ok((loaded, parked)) => {
            // What was read is committed, and perhaps not on disk: nothing is delivered before it is.
            shared.syncs.wait();
            if shared.failure().is_some() {
                shared.queue().abandon_load(destination);
                return Ok(Vec::new());
            }
            let unreadable = loaded.iter().filter(|loaded| loaded.event.is_none());
            let unreadable = unreadable.map(|loaded| loaded.id).collect();
            shared.queue().end_load(destination, loaded, parked);
            Ok(unreadable)
        }
        Err(error) => {
            shared.queue().abandon_load(destination);
            Err(error)
        }
    }
}

/// Where parked deliveries are read into.
struct Parked<'a> {
    /// How many of the first ones may be held, and so be read past.
    held: usize,
    loaded: &'a mut Vec<Loaded>,
}

impl Parked<'_> {
    /// Reads parked deliveries, oldest first. Returns where the first that was not read comes.
    fn read(
        &mut self,
        connection: &Connection,
        shared: &Shared,
        destination: &DestinationName,
        now: UnixMillis,
    ) -> Result<Option<Turn>> {
        let line: Option<i64> = connection
            .prepare_cached("SELECT id FROM names WHERE kind = 2 AND name = ?1")?
            .query_row([destination.as_str()], |row| row.get(0))
            .optional()?;
        let Some(line) = line else { return Ok(None) };
        let limit = LOAD_MAX + self.held;
        let mut due = connection.prepare_cached(
            "SELECT id, at FROM deliveries INDEXED BY deliveries_due \
             WHERE state = 1 AND destination = ?1 AND at <= ?2 ORDER BY at, id LIMIT ?3",
        )?;
        let rows = due.query_map(params![line, sql(now.0), sql(limit as u64)], |row| {
            Ok((UnixMillis(unsql(row.get(1)?)), row.get(0)?))
        })?;
        let rows: Vec<Turn> = rows.collect::<Result<_>>()?;
        let (mut count, mut bytes) = (0, 0);
        for (at, id) in &rows {
            if shared.queue().is_held(destination, *at, *id) {
                continue;
            }
            if count >= LOAD_MAX || bytes >= LOAD_BYTES_MAX {
                return Ok(Some((*at, *id)));
            }
            count += 1;
            if let Some(delivery) = read_delivery(connection, *id)? {
                bytes += delivery.bytes;
                self.loaded.push(delivery);
            }
        }
        if rows.len() == limit {
            return Ok(rows.last().map(|(at, id)| (*at, id + 1)));
        }
        let next: Option<i64> = connection
            .prepare_cached(
                "SELECT min(at) FROM deliveries WHERE state = 1 AND destination = ?1 AND at > ?2",
            )?
            .query_row(params![line, sql(now.0)], |row| row.get(0))?;
        Ok(next.map(|next| (UnixMillis(unsql(next)), 0)))
    }
}

/// Reads one delivery with its event; absent where it is pending no longer.
///
/// Where the disk has changed a bit, it may refer to no event, or to one that does not refer to it
/// and belongs to others: then it is not intact.
fn read_delivery(connection: &Connection, id: i64) -> Result<Option<Loaded>> {
    let mut delivery = connection.prepare_cached(
        "SELECT d.at, d.attempts, e.sha256, e.event, e.data, \
         d.id >= e.first_delivery AND d.id < e.first_delivery + e.deliveries \
         FROM deliveries d LEFT JOIN events e ON e.seq = d.event WHERE d.id = ?1 AND d.state < 2",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let due = UnixMillis(unsql(row.get(0)?));
        let Some(is_its) = row.get::<_, Option<bool>>(5)? else {
            let attempts = row.get(1)?;
            return Ok(Loaded { id, due, attempts, event: None, intact: false, bytes: 0 });
        };
        let sha256 = row.get_ref(2)?.as_blob()?;
        // Bytes that are no text any more are not what was stored; the digest will say so.
        let json = String::from_utf8_lossy(row.get_ref(3)?.as_bytes()?);
        let data = String::from_utf8_lossy(row.get_ref(4)?.as_bytes()?).into_owned();
        let bytes = json.len() + data.len();
        let (event, intact, bytes) = match event_from_row(sha256, &json, data) {
            Ok((event, intact)) => (Some(Arc::new(event)), intact && is_its, bytes),
            Err(_) => (None, false, 0),
        };
        Ok(Loaded { id, due, attempts: row.get(1)?, event, intact, bytes })
    };
    delivery.query_row([id], row).optional()
}
