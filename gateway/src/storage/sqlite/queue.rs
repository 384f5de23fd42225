//! What is due, in memory: freshly committed deliveries with their events, and all leases.
//!
//! One process owns the store, so leases live here and die with it, as they should: a delivery that
//! was leased at a crash is simply due again. The table is the truth; this queue saves the common
//! delivery from ever being looked for there. It is bounded: what does not fit is parked, that is,
//! found by the table's index when its turn comes (`Line::parked` says when that is).
//!
//! Invariant: a pending delivery is held here (ready or leased), or parked and not before its
//! line's `parked`.

mod items;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(super) use self::items::{Handover, Leasing, LoadPlan, Loaded, Taken};
use crate::model::{DeliveryId, DestinationName, Event, LeasedDelivery, UnixMillis};

/// Events held for delivery: more are parked. At ≤ 2 KiB each well within [`BYTES_MAX`].
const EVENTS_MAX: usize = 8_192;

/// Bytes of those events.
const BYTES_MAX: usize = 12 * 1024 * 1024;

/// Leases at once, all destinations together.
const LEASES_MAX: usize = 65_536;

/// The order in which deliveries of one destination are due.
pub(super) type Turn = (UnixMillis, i64);

/// What is ready.
#[derive(Clone, Debug)]
struct Entry {
    attempts: u32,
    /// Absent where it must be read again, because an earlier lease took it away.
    event: Option<Arc<Event>>,
    intact: bool,
    /// What `event` counts against the bound.
    bytes: usize,
}

#[derive(Debug)]
struct Lease {
    destination: DestinationName,
    fence: u64,
    until: UnixMillis,
    due: UnixMillis,
    attempts: u32,
    /// Its record is being committed: nobody else may have it.
    recording: bool,
}

/// The queue of one destination.
#[derive(Debug, Default)]
struct Line {
    ready: BTreeMap<Turn, Entry>,
    /// Leases by their ends.
    ends: BTreeSet<Turn>,
    /// All that are pending, held here or not.
    pending: i64,
    /// No parked delivery that is not held here comes before this.
    parked: Option<Turn>,
    /// While the table is read: the earliest parked meanwhile, and what changed meanwhile.
    loading: Option<Meanwhile>,
}

#[derive(Debug, Default)]
struct Meanwhile {
    parked: Option<Turn>,
    changed: Vec<i64>,
}

#[derive(Debug, Default)]
pub(super) struct DueQueue {
    lines: HashMap<DestinationName, Line>,
    leases: HashMap<i64, Lease>,
    events: usize,
    bytes: usize,
    last_fence: u64,
}

impl DueQueue {
    /// How many more events and bytes fit.
    pub(super) fn room(&self) -> (usize, usize) {
        (EVENTS_MAX.saturating_sub(self.events), BYTES_MAX.saturating_sub(self.bytes))
    }

    /// Takes a committed fresh delivery.
    pub(super) fn hand_over(&mut self, handover: Handover) {
        let Handover { id, destination, due, event, bytes } = handover;
        self.events += 1;
        self.bytes += bytes;
        let entry = Entry { attempts: 0, event: Some(event), intact: true, bytes };
        self.line(&destination).ready.insert((due, id), entry);
    }

    /// Takes note that `by` more deliveries of `destination` are pending.
    pub(super) fn count(&mut self, destination: &DestinationName, by: i64) {
        self.line(destination).pending += by;
    }

    /// How many deliveries are pending, by destination.
    pub(super) fn pending(&self) -> Vec<(DestinationName, u64)> {
        let lines = self.lines.iter();
        let mut all: Vec<_> = lines
            .map(|(name, line)| (name.clone(), u64::try_from(line.pending).unwrap_or_default()))
            .collect();
        all.sort_unstable();
        all
    }

    /// Takes note that a delivery that is not held here was parked.
    pub(super) fn park(&mut self, destination: &DestinationName, turn: Turn) {
        let line = self.line(destination);
        line.parked = earliest(line.parked, Some(turn));
        if let Some(meanwhile) = &mut line.loading {
            meanwhile.parked = earliest(meanwhile.parked, Some(turn));
        }
    }

    /// Leases what is due, oldest first, until `leasing` has enough.
    pub(super) fn take(
        &mut self,
        destination: &DestinationName,
        now: UnixMillis,
        until: UnixMillis,
        leasing: &mut Leasing,
    ) -> Taken {
        self.reclaim(destination, now);
        while !leasing.is_enough() && self.leases.len() < LEASES_MAX {
            let Some(line) = self.lines.get_mut(destination) else { return Taken::Enough };
            let parked = line.parked.filter(|(due, _)| *due <= now);
            let next = line.ready.first_entry();
            let next = next.filter(|next| *next.key() < parked.unwrap_or((now, i64::MAX)));
            let Some(next) = next else {
                return if parked.is_some() { Taken::LoadFirst } else { Taken::Enough };
            };
            if next.get().event.is_none() {
                return Taken::LoadFirst;
            }
            let ((due, id), entry) = next.remove_entry();
            let Entry { attempts, event: Some(event), intact, bytes } = entry else {
                continue;
            };
            line.ends.insert((until, id));
            self.last_fence += 1;
            self.events -= 1;
            self.bytes -= bytes;
            leasing.bytes += bytes;
            leasing.leased.push(LeasedDelivery {
                delivery: DeliveryId(id),
                fence: self.last_fence,
                until,
                attempts_before: attempts,
                event: Arc::unwrap_or_clone(event),
                intact,
            });
            let lease = Lease {
                destination: destination.clone(),
                fence: self.last_fence,
                until,
                due,
                attempts,
                recording: false,
            };
            self.leases.insert(id, lease);
        }
        Taken::Enough
    }

    /// Makes what was leased until `now` or before ready again. The old lease stays good for its
    /// record until somebody else is given the delivery.
    fn reclaim(&mut self, destination: &DestinationName, now: UnixMillis) {
        let Some(line) = self.lines.get_mut(destination) else { return };
        while let Some(&(until, id)) = line.ends.first().filter(|(until, _)| *until <= now) {
            line.ends.remove(&(until, id));
            let Some(lease) = self.leases.get(&id).filter(|lease| !lease.recording) else {
                continue;
            };
            let attempts = lease.attempts;
            let entry = Entry { attempts, event: None, intact: false, bytes: 0 };
            line.ready.insert((lease.due, id), entry);
            // Counted like the others, so that `take` need not tell them apart.
            self.events += 1;
        }
    }

    /// The earliest time at which `take` may find something.
    pub(super) fn next_due(
        &mut self,
        destination: &DestinationName,
        now: UnixMillis,
    ) -> Option<UnixMillis> {
        self.reclaim(destination, now);
        let line = self.lines.get(destination)?;
        let ready = line.ready.first_key_value().map(|((due, _), _)| *due);
        let lease_end = line.ends.first().map(|(until, _)| *until);
        earliest(earliest(ready, line.parked.map(|(due, _)| due)), lease_end)
    }

    /// Claims the lease of `delivery` for its record, so that nobody else is given it meanwhile;
    /// `false` where `fence` is not its latest lease.
    pub(super) fn claim(&mut self, delivery: DeliveryId, fence: u64) -> bool {
        let lease = self.leases.get_mut(&delivery.0);
        let Some(lease) = lease.filter(|lease| lease.fence == fence && !lease.recording) else {
            return false;
        };
        lease.recording = true;
        // It may have ended without anybody having been given the next one.
        if let Some(line) = self.lines.get_mut(&lease.destination)
            && let Some(entry) = line.ready.remove(&(lease.due, delivery.0))
        {
            self.events -= 1;
            self.bytes -= entry.bytes;
        }
        true
    }

    /// The record of `delivery` could not be committed: its lease stands as before.
    pub(super) fn unclaim(&mut self, delivery: DeliveryId) {
        let Some(lease) = self.leases.get_mut(&delivery.0) else { return };
        lease.recording = false;
        // Its end may have been passed over meanwhile.
        if let Some(line) = self.lines.get_mut(&lease.destination) {
            line.ends.insert((lease.until, delivery.0));
        }
    }

    /// The record of `delivery` is committed: it is held no longer. `parked` says until when its
    /// row is parked, where it is. Returns the destination that it is still owed to.
    pub(super) fn finish(
        &mut self,
        delivery: i64,
        parked: Option<UnixMillis>,
    ) -> Option<DestinationName> {
        let lease = self.leases.remove(&delivery)?;
        if let Some(line) = self.lines.get_mut(&lease.destination) {
            line.ends.remove(&(lease.until, delivery));
            if let Some(meanwhile) = &mut line.loading {
                meanwhile.changed.push(delivery);
            }
        }
        self.park(&lease.destination, (parked?, delivery));
        Some(lease.destination)
    }

    /// Says what to read for `destination`, and takes note that it is being read.
    pub(super) fn begin_load(
        &mut self,
        destination: &DestinationName,
        now: UnixMillis,
        again_max: usize,
    ) -> LoadPlan {
        let line = self.line(destination);
        line.loading = Some(Meanwhile::default());
        let due = line.ready.range(..=(now, i64::MAX));
        let again = due.filter(|(_, entry)| entry.event.is_none()).map(|((_, id), _)| *id);
        LoadPlan {
            again: again.take(again_max).collect(),
            parked: line.parked.is_some_and(|(due, _)| due <= now),
        }
    }

    pub(super) fn is_held(&self, destination: &DestinationName, due: UnixMillis, id: i64) -> bool {
        self.leases.contains_key(&id)
            || self.lines.get(destination).is_some_and(|line| line.ready.contains_key(&(due, id)))
    }

    /// How many deliveries of `destination` are held: so many may a reader of the table meet in
    /// vain.
    pub(super) fn held(&self, destination: &DestinationName) -> usize {
        self.lines
            .get(destination)
            .map_or(0, |line| line.ready.len() + line.ends.len() + changed_len(line))
    }

    /// Takes what was read. `parked` is where the first parked delivery that was not read comes,
    /// where parked ones were read at all.
    pub(super) fn end_load(
        &mut self,
        destination: &DestinationName,
        loaded: Vec<Loaded>,
        parked: Option<Option<Turn>>,
    ) {
        let Some(line) = self.lines.get_mut(destination) else { return };
        let Some(meanwhile) = line.loading.take() else { return };
        if let Some(read) = parked {
            line.parked = earliest(read, meanwhile.parked);
        }
        for Loaded { id, due, attempts, event, intact, bytes } in loaded {
            if meanwhile.changed.contains(&id) {
                continue;
            }
            if let Some(entry) = line.ready.get_mut(&(due, id)) {
                if entry.event.is_none() && event.is_some() {
                    entry.event = event;
                    entry.intact = intact;
                    entry.bytes = bytes;
                    self.bytes += bytes;
                }
            } else if parked.is_some() && !self.leases.contains_key(&id) {
                let entry = Entry { attempts, event, intact, bytes };
                line.ready.insert((due, id), entry);
                self.events += 1;
                self.bytes += bytes;
            }
        }
    }

    /// Reading failed: nothing is known that was not known before.
    pub(super) fn abandon_load(&mut self, destination: &DestinationName) {
        if let Some(line) = self.lines.get_mut(destination) {
            line.loading = None;
        }
    }

    /// Up to `max` of what is held for `destination`, leased or not.
    pub(super) fn held_ids(&self, destination: &DestinationName, max: usize) -> Vec<i64> {
        let Some(line) = self.lines.get(destination) else { return Vec::new() };
        let leases = self.leases.iter().filter(|(_, lease)| lease.destination == *destination);
        let leased: BTreeSet<i64> = leases.map(|(id, _)| *id).collect();
        // A lease that ended is ready too.
        let ready = line.ready.keys().map(|(_, id)| *id).filter(|id| !leased.contains(id));
        leased.iter().copied().chain(ready).take(max).collect()
    }

    /// Drops deliveries that are pending no longer, and their leases.
    pub(super) fn discard(&mut self, ids: &[i64]) {
        let ids: HashSet<i64> = ids.iter().copied().collect();
        let (events, bytes) = (&mut self.events, &mut self.bytes);
        #[expect(clippy::iter_over_hash_type, reason = "each line is done by itself")]
        for line in self.lines.values_mut() {
            line.ready.retain(|(_, id), entry| {
                let stays = !ids.contains(id);
                if !stays {
                    *events -= 1;
                    *bytes -= entry.bytes;
                }
                stays
            });
            line.ends.retain(|(_, id)| !ids.contains(id));
            if let Some(meanwhile) = &mut line.loading {
                meanwhile.changed.extend(&ids);
            }
        }
        self.leases.retain(|id, _| !ids.contains(id));
    }

    fn line(&mut self, destination: &DestinationName) -> &mut Line {
        // A name is a shared pointer: cloning it is cheaper than a second search.
        self.lines.entry(destination.clone()).or_default()
    }
}

fn changed_len(line: &Line) -> usize {
    line.loading.as_ref().map_or(0, |meanwhile| meanwhile.changed.len())
}

fn earliest<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
