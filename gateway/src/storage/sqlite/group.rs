//! One commit group: what its transaction writes, and what memory learns of it.
//!
//! Of each commit everything is checked before its first write, so that none needs a savepoint: an
//! error while writing rolls the whole group back, and the writer tries its commits one by one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{OptionalExtension as _, Result, params};

use super::columns::{DESTINATION, FRESH, PARKED, ROUTE, array, disposition_number, sql, unsql};
use super::encode::{Prepared, PreparedEvent};
use super::keys::{KeyMap, Recall};
use super::probe::{KeyProbe, KnownKey, SLOTS};
use super::queue::Handover;
use super::told::Told;
use super::writer::Writer;
use crate::faults::{CrashPoint, Fault};
use crate::model::{Answer, DeliveryId, DestinationName, Disposition, UnixMillis};
use crate::storage::Committed;

/// What memory learns from a group.
#[derive(Debug, Default)]
pub(super) struct Group {
    keys: KeyMap,
    /// For each new delivery in order: whether it is fresh.
    fresh: Vec<bool>,
    quarantined: i64,
    /// Deliveries whose leases were claimed for this group's records.
    pub(super) claimed: Vec<DeliveryId>,
    /// Whether there is anything to sync.
    pub(super) wrote: bool,
    pub(super) told: Told,
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
            Some(first) if new.is_empty() => self.apply_duplicate(group, commit, first),
            _ => self.apply_new(group, commit, &new),
        }
    }

    fn apply_duplicate(
        &mut self,
        group: &mut Group,
        commit: &Prepared,
        first: i64,
    ) -> Result<Committed> {
        let answer = match &commit.duplicate_answer {
            Some(answer) => answer.clone(),
            None => self.first_answer(first)?.unwrap_or_else(|| commit.answer.clone()),
        };
        let json = serde_json::to_string(&answer)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let row = RequestRow { disposition: Disposition::Duplicate, answer: &answer, json: &json };
        self.insert_request(commit, &row, 0)?;
        group.wrote = true;
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
        group.wrote = true;
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
        let told = &group.told;
        let fresh = told.handovers.len() < events_room && told.handover_bytes + bytes <= bytes_room;
        let state = if fresh { FRESH } else { PARKED };
        let name = self.name_id(DESTINATION, destination.as_str())?;
        self.sql.insert_delivery.execute(params![id, seq, name, state, sql(due.0)])?;
        self.next.delivery += 1;
        let told = &mut group.told;
        told.count(destination, 1);
        group.fresh.push(fresh);
        if fresh {
            told.handover_bytes += bytes;
            let (destination, event) = (destination.clone(), Arc::clone(&event.event));
            told.handovers.push(Handover { id, destination, due, event, bytes });
        } else {
            told.parked.push((destination.clone(), (due, id)));
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
        let recalled = self.shared.recent().recall(probe, now);
        match recalled {
            Recall::Known(known) => return Ok(Some(known)),
            Recall::New => return Ok(None),
            Recall::AskTable => {}
        }
        self.shared.key_searches.fetch_add(1, Ordering::Relaxed);
        let mut rows = self.sql.find_key.query([probe.slot])?;
        while let Some(row) = rows.next()? {
            let known = known_key(row)?;
            if probe.matches(&known, now) {
                return Ok(Some(known));
            }
        }
        Ok(None)
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

    /// Learns what a group has committed. What the writer itself goes by, and what calls read, may
    /// be so before the group is on disk: whatever is decided by it is committed after it.
    pub(super) fn learn(&mut self, group: Group) -> Told {
        let Group { keys, fresh, quarantined, told, .. } = group;
        self.quarantined += quarantined;
        for fresh in fresh {
            self.fresh.push(fresh);
        }
        if keys.len() > 0 {
            self.shared.recent_mut().absorb(keys);
        }
        for (id, _) in &told.finished {
            self.fresh.settle(*id);
        }
        told
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
