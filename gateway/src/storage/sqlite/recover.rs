//! What a start reads, so that memory is as it was: clocks, numbers, keys, and what is due.

use std::sync::atomic::Ordering;

use ring::rand::{SecureRandom as _, SystemRandom};
use rusqlite::{Connection, OptionalExtension as _, Result, Transaction, params};

use super::columns::{array, sql, unsql};
use super::keys::KeyMap;
use super::namespaces::{self, Namespace};
use super::probe::KnownKey;
use super::shared::Shared;
use super::times::Moment;
use crate::model::{DestinationName, UnixMillis};

/// Changes of state that one process may make: 2^40, one a microsecond for twelve days and at any real
/// rate for years; which leaves room for eight million starts.
const CHANGES_BITS: u32 = 40;

/// Numbers to hand out next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) request: i64,
    pub(super) event: i64,
    pub(super) delivery: i64,
    /// The version of the next change of state.
    pub(super) change: i64,
}

/// Reads the state of the store into `shared`. Deliveries that were fresh are parked: whoever held
/// them is gone. After an error it may be tried again.
pub(super) fn recover(connection: &mut Connection, shared: &Shared) -> Result<Next> {
    let transaction = connection.transaction()?;
    let salt = salt(&transaction)?;
    let next = Next {
        request: next_number(&transaction, "next_request", "SELECT max(seq) FROM requests")?,
        event: next_number(&transaction, "next_event", "SELECT max(seq) FROM events")?,
        delivery: next_number(&transaction, "next_delivery", "SELECT max(id) FROM deliveries")?,
        change: first_change(&transaction)?,
    };
    let clocks = (integer(&transaction, "even_clock")?, integer(&transaction, "wall_clock")?);
    if let (Some(even), Some(wall)) = clocks {
        shared.go_on_from(Moment { wall: UnixMillis(unsql(wall)), even: UnixMillis(unsql(even)) });
    }
    let floor = integer(&transaction, "settled_below")?.unwrap_or_default();
    if floor < next.delivery {
        transaction
            .execute("UPDATE deliveries SET state = 1 WHERE state = 0 AND id >= ?1", [floor])?;
        set_meta(&transaction, "settled_below", next.delivery)?;
    }
    transaction.commit()?;
    read_due(connection, shared)?;
    for (adapter, id) in namespaces::read(connection)? {
        shared.know_namespace(&adapter, Namespace { id, claimed: None });
    }
    shared.recent_mut().absorb(read_recent_keys(connection)?);
    shared.is_open_with(salt);
    Ok(next)
}

fn salt(transaction: &Transaction<'_>) -> Result<[u8; 16]> {
    let found: Option<Vec<u8>> = transaction
        .query_row("SELECT value FROM meta WHERE name = 'salt'", [], |row| row.get(0))
        .optional()?;
    if let Some(found) = found {
        return Ok(array(&found));
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| {
        rusqlite::Error::ToSqlConversionFailure("the system gives no random numbers".into())
    })?;
    transaction.execute("INSERT INTO meta (name, value) VALUES ('salt', ?1)", [salt])?;
    Ok(salt)
}

/// The first number never used: rows with higher ones may have been deleted.
fn next_number(transaction: &Transaction<'_>, name: &str, last: &str) -> Result<i64> {
    let last: Option<i64> = transaction.query_row(last, [], |row| row.get(0))?;
    let noted = integer(transaction, name)?.unwrap_or(1);
    Ok(noted.max(last.map_or(1, |last| last + 1)))
}

/// The first version of state that this process hands out: greater than any before, whatever of them
/// is still in a row.
fn first_change(transaction: &Transaction<'_>) -> Result<i64> {
    let starts = integer(transaction, "state_starts")?.unwrap_or_default() + 1;
    set_meta(transaction, "state_starts", starts)?;
    Ok(starts << CHANGES_BITS)
}

fn integer(connection: &Connection, name: &str) -> Result<Option<i64>> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
        .optional()
}

fn set_meta(connection: &Connection, name: &str, value: i64) -> Result<usize> {
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![name, value],
    )
}

fn read_due(connection: &Connection, shared: &Shared) -> Result<()> {
    let count = |state: i64| {
        let sql = format!("SELECT count(*) FROM deliveries WHERE state = {state}");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    shared.pending.store(count(1)?, Ordering::Relaxed);
    shared.dead.store(count(3)?, Ordering::Relaxed);
    let mut lines = connection.prepare(
        "SELECT name, (SELECT min(at) FROM deliveries WHERE destination = names.id AND state = 1), \
         (SELECT count(*) FROM deliveries WHERE destination = names.id AND state = 1) \
         FROM names WHERE kind = 2",
    )?;
    let mut rows = lines.query([])?;
    while let Some(row) = rows.next()? {
        let (name, due): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
        if let (Ok(name), Some(due)) = (DestinationName::new(&name), due) {
            let mut queue = shared.queue();
            queue.park(&name, (UnixMillis(unsql(due)), 0));
            queue.count(&name, row.get(2)?);
        }
    }
    Ok(())
}

/// Keys of events that were not yet moved to the table of keys.
fn read_recent_keys(connection: &Connection) -> Result<KeyMap> {
    let through = integer(connection, "keys_through")?.unwrap_or_default();
    let mut events = connection.prepare(
        "SELECT e.key_slot, e.key_digest, e.key_until, e.request, r.received_at \
         FROM events e JOIN requests r ON r.seq = e.request \
         WHERE e.seq > ?1 AND e.key_slot IS NOT NULL ORDER BY e.seq",
    )?;
    let mut rows = events.query([sql(unsql(through))])?;
    let mut keys = KeyMap::default();
    while let Some(row) = rows.next()? {
        let known = KnownKey {
            digest: array(row.get_ref(1)?.as_blob()?),
            until: UnixMillis(unsql(row.get(2)?)),
            request: row.get(3)?,
            arrived: UnixMillis(unsql(row.get(4)?)),
        };
        keys.insert(row.get(0)?, known);
    }
    Ok(keys)
}
