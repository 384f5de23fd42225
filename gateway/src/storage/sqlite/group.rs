//! One commit group: what its transaction writes, and what memory learns once it is on disk.
//!
//! Of each commit everything is checked before its first write, so that none needs a savepoint: an
//! error while writing rolls the whole group back, and the writer tries its commits one by one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{OptionalExtension as _, Result, params};

use super::encode::{Prepared, PreparedEvent, array, disposition_number, sql, unsql};
use super::keys::{KeyMap, KeyProbe, KnownKey, SLOTS};
use super::queue::{Handover, Turn};
use super::writer::Writer;
use crate::faults::{CrashPoint, Fault};
use crate::model::{
    Answer, AttemptOutcome, AttemptRecord, DeliveryId, DeliveryState, DestinationName, Disposition,
    UnixMillis,
};
use crate::storage::{Committed, StoredAttempt};

/// `names.kind`.
pub(super) const ROUTE: i64 = 1;
pub(super) const DESTINATION: i64 = 2;

/// `deliveries.state` of what is pending.
pub(super) const FRESH: i64 = 0;
pub(super) const PARKED: i64 = 1;

/// What memory learns from a group once it is committed.
#[derive(Debug, Default)]
pub(super) struct Group {
    keys: KeyMap,
    handovers: Vec<Handover>,
    handover_bytes: usize,
    /// For each new delivery in order: whether it is fresh.
    fresh: Vec<bool>,
    parked: Vec<(DestinationName, Turn)>,
    quarantined: i64,
    /// Deliveries whose leases were claimed for this group's records.
    claimed: Vec<DeliveryId>,
    finished: Vec<(i64, Option<UnixMillis>)>,
    pending: i64,
    dead: i64,
}

impl Writer<'_> {
    /// Writes one commit into the open transaction, and with it the attempt that it is, if any;
    /// absent where the attempt's fence is stale.
    pub(super) fn apply_member(
        &mut self,
        group: &mut Group,
        commit: &Prepared,
    ) -> Result<Option<Committed>> {
        let Some(attempt) = &commit.attempt else { return self.apply(group, commit).map(Some) };
        // Claimed first: it writes nothing yet, and can be taken back.
        if !self.claim_lease(group, attempt) {
            return Ok(None);
        }
        let committed = self.apply(group, commit)?;
        if committed == Committed::Conflict {
            group.claimed.pop();
            self.shared.queue().unclaim(attempt.delivery);
        } else {
            self.write_attempt(group, attempt)?;
        }
        Ok(Some(committed))
    }

    /// Claims the lease of an attempt for this group; `false` where its fence is stale.
    fn claim_lease(&self, group: &mut Group, attempt: &AttemptRecord) -> bool {
        let claimed = self.shared.queue().claim(attempt.delivery, attempt.fence);
        if claimed {
            group.claimed.push(attempt.delivery);
        }
        claimed
    }

    /// Writes one commit into the open transaction.
    fn apply(&mut self, group: &mut Group, commit: &Prepared) -> Result<Committed> {
        let now = commit.received_at;
        for (probe, seen) in &commit.reads {
            if self.known(group, probe, now)?.is_some() != *seen {
                return Ok(Committed::Conflict);
            }
        }
        if let Some(state) = &commit.state
            && !self.state_holds(&commit.adapter, state, now)?
        {
            return Ok(Committed::Conflict);
        }
        let mut new: Vec<&PreparedEvent> = Vec::with_capacity(commit.events.len());
        let mut first = None;
        for event in &commit.events {
            let Some(probe) = &event.key else {
                new.push(event);
                continue;
            };
            let in_batch = |other: &&PreparedEvent| {
                other.key.is_some_and(|k| (k.slot, k.digest) == (probe.slot, probe.digest))
            };
            if new.iter().any(in_batch) {
                continue;
            }
            match self.known(group, probe, now)? {
                Some(known) => first = first.or(Some(known.request)),
                None => new.push(event),
            }
        }
        match first {
            Some(first) if new.is_empty() => self.apply_duplicate(commit, first),
            _ => self.apply_new(group, commit, &new),
        }
    }

    fn apply_duplicate(&mut self, commit: &Prepared, first: i64) -> Result<Committed> {
        let answer = match &commit.duplicate_answer {
            Some(answer) => answer.clone(),
            None => self.first_answer(first)?.unwrap_or_else(|| commit.answer.clone()),
        };
        let json = serde_json::to_string(&answer)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let row = RequestRow { disposition: Disposition::Duplicate, answer: &answer, json: &json };
        self.insert_request(commit, &row, 0)?;
        Ok(Committed::Duplicate { answer })
    }

    fn first_answer(&mut self, request: i64) -> Result<Option<Answer>> {
        let json: Option<String> =
            self.sql.first_answer.query_row([request], |row| row.get(0)).optional()?;
        Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
    }

    fn apply_new(
        &mut self,
        group: &mut Group,
        commit: &Prepared,
        new: &[&PreparedEvent],
    ) -> Result<Committed> {
        let row = RequestRow {
            disposition: commit.disposition,
            answer: &commit.answer,
            json: &commit.answer_json,
        };
        let stateful = commit.state.is_some();
        reached(stateful, CrashPoint::BeforeRequest);
        let request = self.insert_request(commit, &row, new.len())?;
        reached(stateful, CrashPoint::AfterRequest);
        for event in new {
            self.insert_event(group, commit, request, event)?;
        }
        reached(stateful, CrashPoint::AfterEvents);
        if stateful && Fault::CommitInParts.is_on() {
            self.sql.commit.execute([])?;
            self.sql.begin.execute([])?;
        }
        if let Some(state) = &commit.state {
            self.change_state(&commit.adapter, state)?;
        }
        reached(stateful, CrashPoint::AfterState);
        if commit.disposition == Disposition::Quarantined {
            group.quarantined += 1;
        }
        if commit.disposition == Disposition::Accepted && self.quarantined + group.quarantined > 0 {
            let route = self.name_id(ROUTE, commit.route.as_str())?;
            let superseded = self.sql.supersede.execute(params![commit.body_sha256, route])?;
            group.quarantined -= sql(superseded as u64);
        }
        Ok(Committed::Stored { events: new.len() })
    }

    fn insert_request(
        &mut self,
        commit: &Prepared,
        row: &RequestRow<'_>,
        events: usize,
    ) -> Result<i64> {
        let route = self.name_id(ROUTE, commit.route.as_str())?;
        let seq = self.next.request;
        self.sql.insert_request.execute(params![
            seq,
            commit.id.as_bytes(),
            route,
            sql(commit.received_at.0),
            disposition_number(row.disposition),
            row.answer.status,
            self.next.event,
            sql(events as u64),
            commit.body_sha256,
            row.json,
            commit.record_json,
            &*commit.body,
            commit.state_reads,
        ])?;
        self.next.request += 1;
        Ok(seq)
    }

    fn insert_event(
        &mut self,
        group: &mut Group,
        commit: &Prepared,
        request: i64,
        event: &PreparedEvent,
    ) -> Result<()> {
        let seq = self.next.event;
        let key = event.key.map(|probe| (probe, probe.until(commit.received_at)));
        self.sql.insert_event.execute(params![
            seq,
            request,
            self.next.delivery,
            sql(event.destinations.len() as u64),
            key.map(|(probe, _)| probe.slot),
            key.map(|(probe, _)| probe.digest),
            key.map(|(_, until)| sql(until.0)),
            event.sha256,
            event.json,
            event.event.data,
        ])?;
        self.next.event += 1;
        if let Some((probe, until)) = key {
            let arrived = commit.received_at;
            let known = KnownKey { digest: probe.digest, arrived, until, request };
            group.keys.insert(probe.slot, known);
        }
        for destination in &event.destinations {
            self.insert_delivery(group, seq, event, destination)?;
        }
        Ok(())
    }

    fn insert_delivery(
        &mut self,
        group: &mut Group,
        seq: i64,
        event: &PreparedEvent,
        destination: &DestinationName,
    ) -> Result<()> {
        let id = self.next.delivery;
        let due = self.group_at.even;
        let bytes = event.bytes();
        let (events_room, bytes_room) = self.queue_room;
        let fresh =
            group.handovers.len() < events_room && group.handover_bytes + bytes <= bytes_room;
        let state = if fresh { FRESH } else { PARKED };
        let name = self.name_id(DESTINATION, destination.as_str())?;
        self.sql.insert_delivery.execute(params![id, seq, name, state, sql(due.0)])?;
        self.next.delivery += 1;
        group.pending += 1;
        group.fresh.push(fresh);
        if fresh {
            group.handover_bytes += bytes;
            let (destination, event) = (destination.clone(), Arc::clone(&event.event));
            group.handovers.push(Handover { id, destination, due, event, bytes });
        } else {
            group.parked.push((destination.clone(), (due, id)));
        }
        Ok(())
    }

    /// The request that set the key, where it is known to one that arrives at `now`.
    fn known(
        &mut self,
        group: &Group,
        probe: &KeyProbe,
        now: UnixMillis,
    ) -> Result<Option<KnownKey>> {
        if let Some(known) = group.keys.find(probe, now) {
            return Ok(Some(known));
        }
        if let Some(known) = self.shared.recent().find(probe, now) {
            return Ok(Some(known));
        }
        let mut rows = self.sql.find_key.query([probe.slot])?;
        while let Some(row) = rows.next()? {
            let known = known_key(row)?;
            if probe.matches(&known, now) {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// Writes one finished attempt into the open transaction; `false` where its fence is stale.
    pub(super) fn apply_attempt(
        &mut self,
        group: &mut Group,
        attempt: &AttemptRecord,
    ) -> Result<bool> {
        if !self.claim_lease(group, attempt) {
            return Ok(false);
        }
        self.write_attempt(group, attempt)?;
        Ok(true)
    }

    /// Writes a finished attempt whose lease was claimed.
    fn write_attempt(&mut self, group: &mut Group, attempt: &AttemptRecord) -> Result<()> {
        let took_ms = u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX);
        let failure = match &attempt.outcome {
            // The row itself says it, in few bytes.
            AttemptOutcome::Delivered => None,
            AttemptOutcome::Failed { .. } => Some(failure_line(attempt, took_ms)?),
        };
        let (id, number) = (attempt.delivery.0, attempt.number);
        let mut parked = None;
        let changed = match attempt.state {
            DeliveryState::Delivered => {
                group.pending -= 1;
                self.sql.deliver.execute(params![id, sql(attempt.at.0), number, sql(took_ms)])?
            }
            DeliveryState::DeadLetter => {
                group.pending -= 1;
                group.dead += 1;
                let reason = attempt.reason.map(crate::model::DeadLetterReason::as_str);
                let at = sql(attempt.at.0);
                self.sql.bury.execute(params![id, at, number, failure, reason])?
            }
            DeliveryState::Pending => {
                let due = self.group_at.even_at(attempt.due_at.unwrap_or(attempt.at));
                parked = Some(due);
                self.sql.postpone.execute(params![id, sql(due.0), number, failure])?
            }
        };
        group.finished.push((id, parked));
        debug_assert_eq!(changed, 1, "a leased delivery is pending");
        Ok(())
    }

    /// Moves a slice of recent keys into the table. Returns how far the move stands then.
    pub(super) fn move_keys(&mut self, max: usize) -> Result<usize> {
        let (slice, done) = self.key_move.slice(max);
        for (slot, key) in slice {
            let base = slot & !(SLOTS - 1);
            for slot in (*slot..base + SLOTS).chain(base..*slot) {
                let (arrived, until) = (sql(key.arrived.0), sql(key.until.0));
                let row = params![slot, key.digest, arrived, until, key.request];
                if self.sql.put_key.execute(row)? > 0 {
                    break;
                }
            }
        }
        if let Some(through) = self.key_move.finishes_at(done) {
            self.sql.set_meta.execute(params!["keys_through", through])?;
        }
        Ok(done)
    }

    /// Tells memory what is now on disk.
    pub(super) fn publish(&mut self, group: Group) {
        self.quarantined += group.quarantined;
        for fresh in group.fresh {
            self.fresh.push(fresh);
        }
        if group.keys.len() > 0 {
            self.shared.recent_mut().absorb(group.keys);
        }
        let nudge = !(group.handovers.is_empty() && group.parked.is_empty())
            || group.finished.iter().any(|(_, parked)| parked.is_some());
        {
            let mut queue = self.shared.queue();
            for handover in group.handovers {
                queue.hand_over(handover);
            }
            for (destination, turn) in group.parked {
                queue.park(&destination, turn);
            }
            for (id, parked) in &group.finished {
                queue.finish(*id, *parked);
            }
        }
        for (id, _) in group.finished {
            self.fresh.settle(id);
        }
        self.shared.pending.fetch_add(group.pending, Ordering::Relaxed);
        self.shared.dead.fetch_add(group.dead, Ordering::Relaxed);
        if nudge {
            self.shared.nudge();
        }
    }

    /// Takes back what was done in memory for a group that is not on disk.
    pub(super) fn withdraw(&mut self, group: &Group) {
        let mut queue = self.shared.queue();
        for delivery in &group.claimed {
            queue.unclaim(*delivery);
        }
    }
}

impl Group {
    pub(super) fn new_keys(&self) -> usize {
        self.keys.len()
    }
}

/// Crash points are for calls that change state.
fn reached(stateful: bool, point: CrashPoint) {
    if stateful {
        point.reached();
    }
}

/// What a request's row says otherwise than its commit where it is a duplicate.
struct RequestRow<'a> {
    disposition: Disposition,
    answer: &'a Answer,
    json: &'a str,
}

/// Reads `digest, arrived, until, request`.
pub(super) fn known_key(row: &rusqlite::Row<'_>) -> Result<KnownKey> {
    Ok(KnownKey {
        digest: array(row.get_ref(0)?.as_blob()?),
        arrived: UnixMillis(unsql(row.get(1)?)),
        until: UnixMillis(unsql(row.get(2)?)),
        request: row.get(3)?,
    })
}

/// One line of `deliveries.failures`.
fn failure_line(attempt: &AttemptRecord, took_ms: u64) -> Result<String> {
    let stored = StoredAttempt {
        number: attempt.number,
        at: attempt.at,
        took_ms,
        outcome: attempt.outcome.clone(),
    };
    let mut line = serde_json::to_string(&stored)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    line.push('\n');
    Ok(line)
}
