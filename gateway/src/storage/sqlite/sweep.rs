//! Retention and retirement: what the writer deletes or gives up, in steps between groups.

mod pace;

use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::{Result, params};

use self::pace::Pace;
use super::columns::{array, disposition_number, sql};
use super::recover::Next;
use super::writer::Writer;
use crate::model::{DeadLetterReason, DestinationName, Disposition, RequestId, UnixMillis};
use crate::storage::StorageError;

/// Requests looked at in one step at most.
const REQUESTS_PER_STEP: u16 = 256;

/// Keys looked at in one step, and in one sweep, where steps of which at least half was deleted do not
/// count: a sweep's work is bounded however many keys live, and those whose windows have ended are no
/// more than those that live, at any rate. The next sweep goes on where this one ended.
pub(super) const KEYS_PER_STEP: u16 = 4_096;
pub(super) const KEYS_PER_SWEEP: usize = 131_072;

/// Keys moved into their table in one step, before requests are deleted.
const KEYS_MOVED_PER_STEP: u16 = 1_024;

/// First answers deleted in one step.
const ANSWERS_PER_STEP: u16 = 1_024;

/// Expired entries of state deleted in one step.
const ENTRIES_PER_STEP: u16 = 1_024;

/// How long an entry stays after it has expired: longer than a request's deadline, because a call of
/// an earlier time finds it still.
const EXPIRED_KEPT_MS: u64 = 60 * 60 * 1_000;

/// Deliveries given up in one step.
const RETIRED_PER_STEP: usize = 1_024;

/// What a sweep does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Events are what recent keys would be recovered from: before they go, their keys are moved.
    #[default]
    MoveKeys,
    Requests,
    Keys,
    Answers,
    State,
    Abandoned,
    Over,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    /// Requests that arrived before this are too old.
    cutoff: UnixMillis,
    now: UnixMillis,
    phase: Phase,
    /// Keys of events before this one are in the table of keys, once they are moved.
    keys_moved_before: i64,
    /// Requests up to this id were looked at.
    after: RequestId,
    /// Keys still to look at, but for those in steps that are worth it.
    keys_left: usize,
    pub(super) deleted: u64,
    pub(super) pace: Pace,
}

impl Sweep {
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }
}

/// A request that may be deleted.
struct Old {
    seq: i64,
    first_event: i64,
    events: i64,
    quarantined: bool,
}

#[derive(Default)]
struct Deleted {
    requests: u64,
    quarantined: i64,
    dead: i64,
}

impl Writer<'_> {
    pub(super) fn begin_sweep(&self, cutoff: UnixMillis) -> Sweep {
        Sweep {
            cutoff,
            now: self.shared.now(),
            phase: Phase::default(),
            keys_moved_before: self.next.event,
            after: RequestId::from_bytes([0; 16]),
            keys_left: KEYS_PER_SWEEP,
            deleted: 0,
            pace: Pace::default(),
        }
    }

    /// One step of one phase, as large as those before it allow.
    pub(super) fn sweep_step(&mut self, sweep: Sweep) -> Result<Sweep, StorageError> {
        let began = Instant::now();
        let mut next = self.next_step(sweep)?;
        next.pace.learn(began.elapsed());
        Ok(next)
    }

    fn next_step(&mut self, mut sweep: Sweep) -> Result<Sweep, StorageError> {
        match sweep.phase {
            Phase::MoveKeys => {
                let moved = sweep.pace.size(KEYS_MOVED_PER_STEP);
                if !self.move_keys_before(sweep.keys_moved_before, moved)? {
                    sweep.phase = Phase::Requests;
                }
            }
            Phase::Requests => {
                let now = self.shared.moment();
                let (last, deleted) = self.transaction(|writer| {
                    // Where nothing is committed, nobody else does.
                    writer.note_clocks(now)?;
                    writer.delete_requests(&sweep)
                })?;
                self.quarantined -= deleted.quarantined;
                self.shared.dead.fetch_sub(deleted.dead, Ordering::Relaxed);
                sweep.deleted += deleted.requests;
                match last {
                    Some(last) => sweep.after = last,
                    None => sweep.phase = Phase::Keys,
                }
            }
            Phase::Keys => {
                let (from, keys) = (self.keys_swept, sweep.pace.size(KEYS_PER_STEP));
                let (through, deleted) =
                    self.transaction(|writer| writer.delete_keys(from, sweep.now, keys))?;
                // Past the last key, the next step begins anew.
                self.keys_swept = through.unwrap_or(-1);
                if deleted < keys / 2 {
                    sweep.keys_left = sweep.keys_left.saturating_sub(keys);
                }
                if through.is_none() || sweep.keys_left == 0 {
                    sweep.phase = Phase::Answers;
                }
            }
            Phase::Answers => {
                let answers = sweep.pace.size(ANSWERS_PER_STEP);
                let delete = |writer: &mut Self| writer.delete_answers(sweep.now, answers);
                if self.transaction(delete)? < answers {
                    sweep.phase = Phase::State;
                }
            }
            Phase::State => {
                let cutoff = UnixMillis(sweep.now.0.saturating_sub(EXPIRED_KEPT_MS));
                let entries = sweep.pace.size(ENTRIES_PER_STEP);
                let delete = |writer: &mut Self| writer.delete_expired(cutoff, entries);
                if self.transaction(delete)? < entries {
                    sweep.phase = Phase::Abandoned;
                }
            }
            Phase::Abandoned => {
                if !self.delete_abandoned(sweep.pace.size(ENTRIES_PER_STEP))? {
                    sweep.phase = Phase::Over;
                }
            }
            Phase::Over => {}
        }
        Ok(sweep)
    }

    /// Moves some recent keys into the table; `false` once those of all events before `event` are
    /// there.
    pub(super) fn move_keys_before(
        &mut self,
        event: i64,
        max: usize,
    ) -> Result<bool, StorageError> {
        if self.key_move.is_over() {
            if self.keys_moved_through + 1 >= event || self.shared.recent().active_len() == 0 {
                return Ok(false);
            }
            self.begin_move();
        }
        let moved = self.transaction(|writer| writer.move_keys(max))?;
        self.after_group(moved, false);
        Ok(true)
    }

    /// Deletes the old among the next requests. Returns the last one looked at; absent where all
    /// that follow are too young.
    fn delete_requests(&mut self, sweep: &Sweep) -> Result<(Option<RequestId>, Deleted)> {
        let mut deleted = Deleted::default();
        let (old, last) = self.old_requests(sweep)?;
        for request in old {
            self.delete_request(&request, sweep.now, &mut deleted)?;
        }
        if deleted.requests > 0 {
            // Their numbers must not be handed out again, even if these were the last rows.
            let Next { request, event, delivery, .. } = self.next;
            for (name, value) in
                [("next_request", request), ("next_event", event), ("next_delivery", delivery)]
            {
                self.sql.set_meta.execute(params![name, value])?;
            }
        }
        Ok((last, deleted))
    }

    /// The old among the next requests, and the last one looked at. They are walked by their ids, which
    /// sort by arrival: while the clock was wrong they were stored in another order.
    fn old_requests(&self, sweep: &Sweep) -> Result<(Vec<Old>, Option<RequestId>)> {
        let mut next = self.connection.prepare_cached(
            "SELECT seq, first_event, events, disposition, received_at, id FROM requests \
             WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        )?;
        let most = sweep.pace.size(REQUESTS_PER_STEP);
        let (after, end) = (sweep.after.as_bytes(), RequestId::first_of(sweep.cutoff));
        let mut rows = next.query(params![after, end.as_bytes(), sql(most as u64)])?;
        let (mut old, mut last, mut seen) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            let (seq, first_event, events): (i64, i64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let is_old = row.get::<_, i64>(4)? < sql(sweep.cutoff.0);
            if is_old && first_event + events <= sweep.keys_moved_before {
                let disposition = row.get::<_, i64>(3)?;
                let quarantined = disposition == disposition_number(Disposition::Quarantined);
                old.push(Old { seq, first_event, events, quarantined });
            }
            last = Some(RequestId::from_bytes(array(row.get_ref(5)?.as_blob()?)));
            seen += 1;
        }
        Ok((old, last.filter(|_| seen == most)))
    }

    /// Deletes one request with its events and deliveries, unless one of them is pending.
    fn delete_request(&self, old: &Old, now: UnixMillis, deleted: &mut Deleted) -> Result<()> {
        let run =
            |sql: &str, values: [i64; 2]| self.connection.prepare_cached(sql)?.execute(values);
        if old.events > 0 {
            let events = [old.first_event, old.first_event + old.events - 1];
            let mut deliveries = self.connection.prepare_cached(
                "SELECT min(first_delivery), max(first_delivery + deliveries) - 1, max(key_until) \
                 FROM events WHERE seq BETWEEN ?1 AND ?2",
            )?;
            let (first, last, until): (Option<i64>, Option<i64>, Option<i64>) =
                deliveries.query_row(events, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            if let (Some(first), Some(last)) = (first, last) {
                let (pending, dead) = self.states(first, last)?;
                if pending > 0 {
                    return Ok(());
                }
                deleted.dead += dead;
                run("DELETE FROM deliveries WHERE id BETWEEN ?1 AND ?2", [first, last])?;
            }
            if let Some(until) = until.filter(|until| *until >= sql(now.0)) {
                run(
                    "INSERT OR REPLACE INTO kept_answers (request, until, answer) \
                     SELECT seq, ?2, answer FROM requests WHERE seq = ?1",
                    [old.seq, until],
                )?;
            }
            run("DELETE FROM events WHERE seq BETWEEN ?1 AND ?2", events)?;
        }
        run("DELETE FROM requests WHERE seq = ?1 AND ?2 = 0", [old.seq, 0])?;
        deleted.requests += 1;
        deleted.quarantined += i64::from(old.quarantined);
        Ok(())
    }

    fn states(&self, first: i64, last: i64) -> Result<(i64, i64)> {
        let mut states = self.connection.prepare_cached(
            "SELECT count(*) FILTER (WHERE state < 2), count(*) FILTER (WHERE state = 3) \
             FROM deliveries WHERE id BETWEEN ?1 AND ?2",
        )?;
        states.query_row([first, last], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Deletes ended keys among those that follow `after`. Returns the last one looked at, absent where
    /// none follows, and how many were deleted.
    fn delete_keys(
        &self,
        after: i64,
        now: UnixMillis,
        most: usize,
    ) -> Result<(Option<i64>, usize)> {
        let mut next = self.connection.prepare_cached(
            "SELECT slot, until FROM keys WHERE slot > ?1 ORDER BY slot LIMIT ?2",
        )?;
        let mut rows = next.query([after, sql(most as u64)])?;
        let (mut ended, mut last, mut seen) = (Vec::new(), None, 0);
        while let Some(row) = rows.next()? {
            let (slot, until): (i64, i64) = (row.get(0)?, row.get(1)?);
            if until < sql(now.0) {
                ended.push(slot);
            }
            last = Some(slot);
            seen += 1;
        }
        let mut delete = self.connection.prepare_cached("DELETE FROM keys WHERE slot = ?1")?;
        for slot in &ended {
            delete.execute([slot])?;
        }
        Ok((last.filter(|_| seen == most), ended.len()))
    }

    /// Deletes first answers that no key needs any more.
    fn delete_answers(&self, now: UnixMillis, most: usize) -> Result<usize> {
        let mut delete = self.connection.prepare_cached(
            "DELETE FROM kept_answers WHERE request IN \
             (SELECT request FROM kept_answers WHERE until < ?1 LIMIT ?2)",
        )?;
        delete.execute(params![sql(now.0), sql(most as u64)])
    }

    /// Gives up some of what is pending for destinations that are not owed it. Returns how many; zero
    /// when there is none left.
    pub(super) fn retire_step(
        &mut self,
        is_owed: &dyn Fn(&DestinationName) -> bool,
    ) -> Result<u64, StorageError> {
        for (name, line) in self.destination_ids() {
            // It was one when its first delivery was committed.
            let Ok(name) = DestinationName::new(&name) else { continue };
            if is_owed(&name) {
                continue;
            }
            let mut ids = self.shared.queue().held_ids(&name, RETIRED_PER_STEP);
            ids.extend(self.parked(line).map_err(|error| super::failure::question(&error))?);
            let count = self.give_up(&name, &ids, DeadLetterReason::DestinationRemoved)?;
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }

    fn parked(&self, line: i64) -> Result<Vec<i64>> {
        let mut parked = self.connection.prepare_cached(
            "SELECT id FROM deliveries WHERE state = 1 AND destination = ?1 LIMIT ?2",
        )?;
        parked.query_map(params![line, sql(RETIRED_PER_STEP as u64)], |row| row.get(0))?.collect()
    }

    /// Makes dead letters of those among `ids`, all of one destination, that are pending; only then
    /// memory lets go of them.
    pub(super) fn give_up(
        &mut self,
        destination: &DestinationName,
        ids: &[i64],
        reason: DeadLetterReason,
    ) -> Result<u64, StorageError> {
        let now = sql(self.shared.now().0);
        let mut all = 0;
        for ids in ids.chunks(RETIRED_PER_STEP) {
            let count = self.transaction(|writer| {
                let mut bury = writer.connection.prepare_cached(
                    "UPDATE deliveries SET state = 3, at = ?2, reason = ?3 \
                     WHERE id = ?1 AND state < 2",
                )?;
                let mut count = 0;
                for id in ids {
                    count += bury.execute(params![id, now, reason.as_str()])?;
                }
                Ok(count)
            })?;
            for id in ids {
                self.fresh.settle(*id);
            }
            let count = sql(count as u64);
            {
                let mut queue = self.shared.queue();
                queue.discard(ids);
                queue.count(destination, -count);
            }
            self.shared.pending.fetch_sub(count, Ordering::Relaxed);
            self.shared.dead.fetch_add(count, Ordering::Relaxed);
            all += super::columns::unsql(count);
        }
        Ok(all)
    }
}
