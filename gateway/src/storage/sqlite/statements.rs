//! The writer's statements, prepared once: looking them up by their text would cost more than
//! binding them.

use rusqlite::{Connection, PrepFlags, Result, Statement};

/// Every statement that a commit, a record or a move of keys runs.
#[derive(Debug)]
pub(super) struct Statements<'c> {
    pub(super) begin: Statement<'c>,
    pub(super) commit: Statement<'c>,
    pub(super) insert_request: Statement<'c>,
    pub(super) insert_event: Statement<'c>,
    pub(super) insert_delivery: Statement<'c>,
    pub(super) find_key: Statement<'c>,
    pub(super) put_key: Statement<'c>,
    pub(super) first_answer: Statement<'c>,
    pub(super) quarantined: Statement<'c>,
    pub(super) supersede: Statement<'c>,
    pub(super) deliver: Statement<'c>,
    pub(super) postpone: Statement<'c>,
    pub(super) bury: Statement<'c>,
    pub(super) park_fresh: Statement<'c>,
    pub(super) insert_name: Statement<'c>,
    pub(super) set_meta: Statement<'c>,
    pub(super) check_state: Statement<'c>,
    pub(super) put_state: Statement<'c>,
    pub(super) delete_state: Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> Result<Self> {
        // Said to live long, they take their memory elsewhere than what each run of them needs:
        // else they hold all of the connection's own quick memory (SQLite's "lookaside"), and every
        // run has to take and free some twenty pieces from the system's.
        let sql = |text| connection.prepare_with_flags(text, PrepFlags::SQLITE_PREPARE_PERSISTENT);
        Ok(Self {
            // IMMEDIATE: the lock is taken here, where failing costs nothing.
            begin: sql("BEGIN IMMEDIATE")?,
            commit: sql("COMMIT")?,
            insert_request: sql(
                "INSERT INTO requests (seq, id, route, received_at, disposition, \
                 status, first_event, events, body_sha256, answer, record, body, state_reads) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?,
            insert_event: sql("INSERT INTO events (seq, request, first_delivery, deliveries, \
                 key_slot, key_digest, key_until, sha256, event, data) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?,
            insert_delivery: sql("INSERT INTO deliveries (id, event, destination, state, at, \
                 attempts) VALUES (?1, ?2, ?3, ?4, ?5, 0)")?,
            find_key: sql("SELECT digest, arrived, until, request FROM keys \
                 WHERE slot BETWEEN ?1 AND ?1 + 3")?,
            // A slot is free for a key where it is empty, holds that very key, or one whose window
            // ended before this one was set.
            put_key: sql("INSERT INTO keys (slot, digest, arrived, until, request) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (slot) DO UPDATE SET \
                 digest = excluded.digest, arrived = excluded.arrived, until = excluded.until, \
                 request = excluded.request \
                 WHERE digest = excluded.digest OR until < excluded.arrived")?,
            first_answer: sql("SELECT answer FROM requests WHERE seq = ?1 \
                 UNION ALL SELECT answer FROM kept_answers WHERE request = ?1 LIMIT 1")?,
            quarantined: sql("SELECT count(*) FROM requests WHERE disposition = 4")?,
            supersede: sql("UPDATE requests SET disposition = 5 \
                 WHERE disposition = 4 AND body_sha256 = ?1 AND route = ?2")?,
            deliver: sql("UPDATE deliveries SET state = 2, at = ?2, attempts = ?3, took_ms = ?4 \
                 WHERE id = ?1 AND state < 2")?,
            postpone: sql("UPDATE deliveries SET state = 1, at = ?2, attempts = ?3, \
                 failures = nullif(coalesce(failures, '') || coalesce(?4, ''), '') WHERE id = ?1 AND state < 2")?,
            bury: sql("UPDATE deliveries SET state = 3, at = ?2, attempts = ?3, \
                 failures = nullif(coalesce(failures, '') || coalesce(?4, ''), ''), reason = ?5 \
                 WHERE id = ?1 AND state < 2")?,
            park_fresh: sql("UPDATE deliveries SET state = 1 WHERE id = ?1 AND state = 0")?,
            insert_name: sql("INSERT INTO names (kind, name) VALUES (?1, ?2)")?,
            set_meta: sql("INSERT INTO meta (name, value) VALUES (?1, ?2) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value")?,
            check_state: sql("SELECT version, expires_at FROM state \
                 WHERE namespace = ?1 AND key >= ?2 AND key < ?3 ORDER BY key")?,
            put_state: sql("INSERT INTO state (namespace, key, value, expires_at, version) \
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (namespace, key) DO UPDATE SET \
                 value = excluded.value, expires_at = excluded.expires_at, \
                 version = excluded.version")?,
            delete_state: sql("DELETE FROM state WHERE namespace = ?1 AND key = ?2")?,
        })
    }
}
