//! How the writer serves commits and records: in groups, of which one is written while the one
//! before goes to disk.

use std::sync::atomic::Ordering;

use rusqlite::params;

use super::gathered::Gathered;
use super::group::Group;
use super::keys::KeyMove;
use super::members::{Done, Member, answer_conflicts, refuse, split};
use super::probe::RECENT_MAX;
use super::syncer::Written;
use super::syncs::{Ticket, Turn};
use super::times::NOTE_CLOCKS_EVERY;
use super::writer::{Job, JobReceiver, Writer};
use crate::faults::{CrashPoint, Fault};
use crate::storage::{Committed, StorageError};

/// Keys moved into the table with each group while a move is on. At least as many as come in, so
/// that a move ends before the next begins.
const MOVE_SLICE: usize = 256;

/// Deliveries handed out between two notes of `meta.settled_below`; recovery walks so many more.
const FLOOR_NOTE_EVERY: i64 = 16_384;

/// A group that was committed.
struct InLog {
    ticket: Ticket,
    replies: Vec<Done>,
    /// How far the move of keys stands.
    moved: usize,
    /// Whether the clocks and the floor of fresh deliveries were noted.
    noted: bool,
}

impl Writer<'_> {
    /// Serves `first` and what has queued up behind it. Returns what came next and does not belong
    /// in a group.
    pub(super) fn serve_queue(&mut self, first: Job, jobs: &JobReceiver) -> Option<Job> {
        while Fault::WriterHangs.is_on() {
            std::thread::park();
        }
        let gathered = Gathered::behind(first, jobs, &mut self.lanes);
        if self.shared.full.load(Ordering::Acquire) {
            let (commits, records) = split(gathered.members);
            refuse(commits, &StorageError::Full);
            self.serve(Gathered::of(records), None);
            return gathered.next;
        }
        self.serve(gathered, Some(jobs))
    }

    /// Serves what was gathered, and with it what queues up in `jobs` meanwhile.
    fn serve(&mut self, mut gathered: Gathered, jobs: Option<&JobReceiver>) -> Option<Job> {
        if gathered.members.is_empty() {
            return gathered.next;
        }
        let written = self.try_group(&mut gathered, jobs);
        let Gathered { members, next, .. } = gathered;
        match written {
            Ok((group, in_log)) => self.have_synced(members, group, in_log),
            Err(StorageError::Full) => self.serve_without_room(members),
            Err(StorageError::Failed { .. }) if members.len() > 1 => {
                // One of them cannot be stored; the others must not suffer for it.
                for member in members {
                    self.serve(Gathered::of(vec![member]), None);
                }
            }
            Err(error) => {
                if let StorageError::Fatal { detail } = &error {
                    self.shared.fail(detail);
                }
                refuse(members, &error);
            }
        }
        next
    }

    /// The disk is full: commits are refused from here on, and the ballast's room goes to the
    /// bookkeeping of deliveries.
    fn serve_without_room(&mut self, members: Vec<Member>) {
        let already = self.shared.full.load(Ordering::Acquire);
        self.take_no_commits();
        let (commits, records) = split(members);
        refuse(commits, &StorageError::Full);
        if already {
            refuse(records, &StorageError::Full);
        } else {
            self.serve(Gathered::of(records), None);
        }
    }

    fn try_group(
        &mut self,
        gathered: &mut Gathered,
        jobs: Option<&JobReceiver>,
    ) -> Result<(Group, InLog), StorageError> {
        self.group_at = self.shared.moment();
        self.queue_room = self.queue_room();
        let next = self.next;
        let mut group = Group::default();
        match self.write_group(&mut group, gathered, jobs) {
            Ok(in_log) => Ok((group, in_log)),
            Err(error) => {
                self.next = next;
                self.withdraw(&group);
                Err(self.roll_back(&error))
            }
        }
    }

    /// How many more events and bytes the queue of deliveries has room for.
    fn queue_room(&self) -> (usize, usize) {
        // First what is on its way: what arrives in between is counted twice rather than not.
        let (events, bytes) = self.shared.syncs.on_the_way();
        let (events_room, bytes_room) = self.shared.queue().room();
        (events_room.saturating_sub(events), bytes_room.saturating_sub(bytes))
    }

    /// Writes and commits.
    fn write_group(
        &mut self,
        group: &mut Group,
        gathered: &mut Gathered,
        jobs: Option<&JobReceiver>,
    ) -> rusqlite::Result<InLog> {
        self.sql.begin.execute([])?;
        let replies = self.apply_all(group, gathered, jobs)?;
        let moved = self.move_keys(MOVE_SLICE.max(2 * group.new_keys()))?;
        let noted = self.next.delivery - self.floor_noted >= FLOOR_NOTE_EVERY
            || self.group_at.even.since(self.clocks_noted) >= NOTE_CLOCKS_EVERY;
        if noted {
            self.note_clocks(self.group_at)?;
            self.sql.set_meta.execute(params!["settled_below", self.fresh.floor()])?;
        }
        group.wrote |= noted || moved > 0;
        CrashPoint::BeforeCommit.reached();
        let (events, bytes) = group.told.handed_over();
        let ticket = self.shared.syncs.begin(events, bytes);
        if let Err(error) = self.sql.commit.execute([]) {
            self.shared.syncs.withdraw(&ticket);
            return Err(error);
        }
        Ok(InLog { ticket, replies, moved, noted })
    }

    /// Writes what was gathered, and what comes until the group is to be committed.
    fn apply_all(
        &mut self,
        group: &mut Group,
        gathered: &mut Gathered,
        jobs: Option<&JobReceiver>,
    ) -> rusqlite::Result<Vec<Done>> {
        let mut replies = Vec::with_capacity(gathered.members.len());
        loop {
            self.apply_members(group, gathered, &mut replies)?;
            let syncs = &self.shared.syncs;
            let turn = syncs.turn_of(gathered.members.len(), gathered.hurries);
            if turn == Turn::Now {
                return Ok(replies);
            }
            let Some(jobs) = jobs.filter(|_| !gathered.is_whole()) else {
                syncs.wait_for_end();
                continue;
            };
            match turn {
                Turn::With(more) => syncs.wait_for_end_or(more, |more| jobs.are_queued(more)),
                Turn::Now | Turn::Later => syncs.wait_for_end(),
            }
            gathered.take(jobs, &mut self.lanes);
        }
    }

    /// Writes the members that have no reply yet into the open transaction.
    fn apply_members(
        &mut self,
        group: &mut Group,
        gathered: &Gathered,
        replies: &mut Vec<Done>,
    ) -> rusqlite::Result<()> {
        for member in gathered.members.iter().skip(replies.len()) {
            replies.push(match member {
                Member::Commit(commit, _) => {
                    let committed = self.apply_member(group, commit)?;
                    let is_wanted =
                        || self.lanes.is_wanted(&commit.adapter, gathered.next.as_ref());
                    Done::Committed(match committed {
                        Some(Committed::Conflict) if commit.lane.is_none() && is_wanted() => {
                            Some(Committed::Contended)
                        }
                        committed => committed,
                    })
                }
                Member::Record(attempts, _) => {
                    let mut recorded = 0;
                    for attempt in attempts {
                        recorded += usize::from(self.apply_attempt(group, attempt)?);
                    }
                    Done::Recorded(recorded)
                }
            });
        }
        Ok(())
    }

    /// Hands a committed group on, to be synced and answered.
    fn have_synced(&mut self, mut members: Vec<Member>, group: Group, in_log: InLog) {
        let InLog { ticket, mut replies, moved, noted } = in_log;
        let wrote = group.wrote;
        let told = self.learn(group);
        self.end_lanes(&members, &replies);
        answer_conflicts(&mut members, &mut replies);
        self.syncer.sync(Written { ticket, members, replies, told, wrote });
        self.after_group(moved, noted);
    }

    /// Ends the lanes whose commits can be read now: whoever is next in one is synced no earlier.
    fn end_lanes(&mut self, members: &[Member], replies: &[Done]) {
        for (member, reply) in members.iter().zip(replies) {
            if let Member::Commit(commit, _) = member
                && let Some(lane) = commit.lane
                && reply.is_written()
            {
                self.lanes.end(&commit.adapter, lane);
            }
        }
    }

    pub(super) fn after_group(&mut self, moved: usize, noted: bool) {
        // Their rows are committed, and memory still holds them.
        let moved_now = self.key_move.until(moved);
        if !moved_now.is_empty() {
            let recent = self.shared.recent();
            moved_now.iter().for_each(|(slot, _)| recent.filters.enter(*slot));
        }
        self.key_move.advance(moved);
        if let Some(through) = self.key_move.finishes_at(moved) {
            self.keys_moved_through = through;
            self.key_move = KeyMove::default();
            self.shared.recent_mut().end_move();
        }
        if self.key_move.is_over() && self.shared.recent().active_len() >= RECENT_MAX {
            self.begin_move();
        }
        if noted {
            self.floor_noted = self.next.delivery;
            self.clocks_noted = self.group_at.even;
            self.park_overdue();
        }
    }

    pub(super) fn begin_move(&mut self) {
        let keys = self.shared.recent_mut().begin_move();
        self.key_move = KeyMove::new(keys, self.next.event - 1);
        self.make_filter_when_wanting();
    }

    /// Parks fresh deliveries that have hung for very long, so that recovery stays short.
    fn park_overdue(&mut self) {
        let overdue = self.fresh.overdue();
        if overdue.is_empty() {
            return;
        }
        let parked = self.transaction(|writer| {
            for id in &overdue {
                writer.sql.park_fresh.execute([id])?;
            }
            Ok(())
        });
        // Where it failed they simply stay fresh.
        if parked.is_ok() {
            for id in overdue {
                self.fresh.settle(id);
            }
        }
    }
}
