//! Random operations against a small model in memory: whatever order they come in, the store and
//! the model agree. Written against `dyn Storage`, like the conformance suite.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::Committed;
use super::conformance::{
    Bench, LEASE, START, attempt, block_on, commit, key, lease, put, record, retire,
};
use crate::model::{
    DeliveryId, DeliveryState, Disposition, EventId, LeasedDelivery, RequestId, UnixMillis,
};

const DESTINATIONS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// Events of one request: key or none, to the first, the second or both destinations.
    Commit {
        events: Vec<(Option<u8>, u8)>,
        quarantined: bool,
    },
    Lease {
        to: usize,
        limit: usize,
    },
    /// Of the leases ever given, one (stale ones too), and what its attempt came to.
    Record {
        which: prop::sample::Index,
        outcome: Outcome,
    },
    Advance {
        ms: u64,
    },
    Sweep,
    Retire {
        to: usize,
    },
    Reopen,
    Crash,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    Delivered,
    Retry { ms: u64 },
    Dead,
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let event = (prop::option::of(0_u8..4), 0_u8..4);
    let outcome = prop_oneof![
        4 => Just(Outcome::Delivered),
        3 => (0_u64..90_000).prop_map(|ms| Outcome::Retry { ms }),
        1 => Just(Outcome::Dead),
    ];
    let op = prop_oneof![
        8 => (prop::collection::vec(event, 0..4), prop::bool::weighted(0.1))
            .prop_map(|(events, quarantined)| Op::Commit { events, quarantined }),
        6 => (0_usize..2, 1_usize..4).prop_map(|(to, limit)| Op::Lease { to, limit }),
        6 => (any::<prop::sample::Index>(), outcome)
            .prop_map(|(which, outcome)| Op::Record { which, outcome }),
        4 => (0_u64..40_000).prop_map(|ms| Op::Advance { ms }),
        1 => Just(Op::Sweep),
        1 => (0_usize..2).prop_map(|to| Op::Retire { to }),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..40)
}

/// Window of every key.
const WINDOW_MS: u64 = 60_000;

/// Retention of every sweep.
const RETENTION_MS: u64 = 100_000;

#[derive(Debug)]
struct Owed {
    event: EventId,
    to: usize,
    due: UnixMillis,
    attempts: u32,
    state: DeliveryState,
    /// Lease that a record may name, and its end.
    lease: Option<(u64, UnixMillis)>,
    /// Learnt from the store at the first lease.
    id: Option<DeliveryId>,
    request: RequestId,
}

#[derive(Default)]
struct Model {
    keys: HashMap<u8, UnixMillis>,
    owed: Vec<Owed>,
    requests: Vec<(RequestId, UnixMillis, Disposition, usize)>,
    leases: Vec<(usize, LeasedDelivery)>,
}

impl Model {
    fn commit(&mut self, bench: &dyn BenchOps, events: &[(Option<u8>, u8)], quarantined: bool) {
        let now = bench.now();
        let mut new = commit(now);
        if quarantined {
            new = new.disposition(Disposition::Quarantined);
        }
        for (each, to) in events {
            let to = DESTINATIONS.iter().enumerate().filter(|(n, _)| to >> n & 1 == 1);
            let to: Vec<_> = to.map(|(_, name)| *name).collect();
            let each = each.map(|each| key(&each.to_string(), WINDOW_MS / 1_000));
            new = new.event(each, &to);
        }
        let (request, mut disposition) = (new.request.id, new.request.disposition);
        let ids: Vec<_> = new.events.iter().map(|new| new.event.id).collect();
        let known = |keys: &HashMap<u8, UnixMillis>, each: &u8| {
            keys.get(each).is_some_and(|set| now.0 - set.0 <= WINDOW_MS)
        };
        let all_known = !events.is_empty()
            && events.iter().all(|(each, _)| each.is_some_and(|each| known(&self.keys, &each)));
        let committed = bench.put(new);
        let mut stored = 0;
        if quarantined {
            assert_eq!(committed, Committed::Stored { events: 0 });
        } else if all_known {
            assert!(matches!(committed, Committed::Duplicate { .. }), "{committed:?}");
            disposition = Disposition::Duplicate;
        } else {
            for ((each, to), event) in events.iter().zip(ids) {
                if each.is_some_and(|each| known(&self.keys, &each)) {
                    continue;
                }
                self.keys.extend(each.map(|each| (each, now)));
                stored += 1;
                for to in (0..DESTINATIONS.len()).filter(|n| to >> n & 1 == 1) {
                    let state = DeliveryState::Pending;
                    let (due, attempts, lease, id) = (now, 0, None, None);
                    self.owed.push(Owed { event, to, due, attempts, state, lease, id, request });
                }
            }
            assert_eq!(committed, Committed::Stored { events: stored });
        }
        self.requests.push((request, now, disposition, stored));
    }

    fn lease(&mut self, bench: &dyn BenchOps, to: usize, limit: usize) {
        let now = bench.now();
        let mut due: Vec<_> = (0..self.owed.len())
            .filter(|n| {
                let owed = &self.owed[*n];
                owed.to == to
                    && owed.state == DeliveryState::Pending
                    && owed.due <= now
                    && owed.lease.is_none_or(|(_, until)| until <= now)
            })
            .collect();
        due.sort_by_key(|n| (self.owed[*n].due, *n));
        due.truncate(limit);
        let leased = bench.lease(to, limit);
        assert_eq!(leased.len(), due.len(), "due {due:?}");
        for (n, leased) in due.into_iter().zip(leased) {
            let owed = &mut self.owed[n];
            assert_eq!((leased.event.id, leased.attempts_before), (owed.event, owed.attempts));
            assert!(leased.intact && owed.id.is_none_or(|id| id == leased.delivery));
            assert_eq!(leased.until, now.after(LEASE));
            owed.id = Some(leased.delivery);
            owed.lease = Some((leased.fence, leased.until));
            self.leases.push((to, leased));
        }
    }

    fn record(&mut self, bench: &dyn BenchOps, which: prop::sample::Index, outcome: Outcome) {
        if self.leases.is_empty() {
            return;
        }
        let (to, leased) = which.get(&self.leases);
        let now = bench.now();
        let record = attempt(leased, DESTINATIONS[*to], now);
        let record = match outcome {
            Outcome::Delivered => record,
            Outcome::Retry { ms } => record.failed(Some(Duration::from_millis(ms))),
            Outcome::Dead => record.failed(None),
        };
        let (number, state, again_in) = (record.number, record.state, record.again_in);
        let current = self.owed.iter_mut().find(|owed| {
            owed.id == Some(leased.delivery)
                && owed.lease.is_some_and(|(fence, _)| fence == leased.fence)
        });
        assert_eq!(bench.record(record), usize::from(current.is_some()));
        if let Some(owed) = current {
            owed.lease = None;
            owed.attempts = number;
            owed.state = state;
            owed.due = now.after(again_in.unwrap_or_default());
        }
    }

    fn sweep(&mut self, bench: &dyn BenchOps) {
        let now = bench.now();
        let before = self.requests.len();
        let owed = &self.owed;
        self.requests.retain(|(id, at, ..)| {
            let pending = |owed: &Owed| owed.request == *id && owed.state == DeliveryState::Pending;
            at.0 + RETENTION_MS >= now.0 || owed.iter().any(pending)
        });
        let requests = &self.requests;
        self.owed.retain(|owed| requests.iter().any(|(id, ..)| *id == owed.request));
        assert_eq!(bench.sweep(), (before - self.requests.len()) as u64);
    }

    fn retire(&mut self, bench: &dyn BenchOps, to: usize) {
        let mut retired = 0;
        for owed in &mut self.owed {
            if owed.to == to && owed.state == DeliveryState::Pending {
                owed.state = DeliveryState::DeadLetter;
                owed.lease = None;
                retired += 1;
            }
        }
        assert_eq!(bench.retire(1 - to), retired);
    }

    /// Leases die with the process that gave them.
    fn forget_leases(&mut self) {
        for owed in &mut self.owed {
            owed.lease = None;
        }
        self.leases.clear();
    }

    fn check(&self, bench: &dyn BenchOps) {
        let in_state = |state| self.owed.iter().filter(|owed| owed.state == state).count() as u64;
        let wanted = (in_state(DeliveryState::Pending), in_state(DeliveryState::DeadLetter));
        assert_eq!(bench.counts(), wanted);
        let mut rows: Vec<_> =
            self.requests.iter().map(|(id, _, how, events)| (*id, *how, *events)).collect();
        rows.sort_unstable_by_key(|(id, ..)| std::cmp::Reverse(*id));
        assert_eq!(bench.rows(), rows);
    }
}

/// What the model asks of the store, without its type.
trait BenchOps {
    fn now(&self) -> UnixMillis;
    fn put(&self, commit: super::Commit) -> Committed;
    fn lease(&self, to: usize, limit: usize) -> Vec<LeasedDelivery>;
    fn record(&self, record: crate::model::AttemptRecord) -> usize;
    fn sweep(&self) -> u64;
    fn retire(&self, kept: usize) -> u64;
    fn counts(&self) -> (u64, u64);
    fn rows(&self) -> Vec<(RequestId, Disposition, usize)>;
}

impl<B: Bench> BenchOps for B {
    fn now(&self) -> UnixMillis {
        crate::model::Clock::now(self.clock())
    }

    fn put(&self, commit: super::Commit) -> Committed {
        put(self.store(), commit)
    }

    fn lease(&self, to: usize, limit: usize) -> Vec<LeasedDelivery> {
        lease(self.store(), DESTINATIONS[to], limit)
    }

    fn record(&self, attempt: crate::model::AttemptRecord) -> usize {
        record(self.store(), vec![attempt])
    }

    fn sweep(&self) -> u64 {
        block_on(self.store().sweep(Duration::from_millis(RETENTION_MS))).unwrap()
    }

    fn retire(&self, kept: usize) -> u64 {
        retire(self.store(), &[DESTINATIONS[kept]]).unwrap()
    }

    fn counts(&self) -> (u64, u64) {
        let health = block_on(self.store().health()).unwrap();
        let by_destination = health.pending_by_destination.iter().map(|(_, pending)| pending);
        assert_eq!(by_destination.sum::<u64>(), health.pending_deliveries);
        (health.pending_deliveries, health.dead_letters)
    }

    fn rows(&self) -> Vec<(RequestId, Disposition, usize)> {
        let filter = super::RequestFilter { limit: 500, ..super::RequestFilter::default() };
        let rows = block_on(self.store().requests(filter)).unwrap();
        rows.into_iter().map(|row| (row.id, row.disposition, row.events as usize)).collect()
    }
}

/// Runs `ops` on the store and the model. Panics where they differ.
pub(super) fn agree<B: Bench>(bench: &mut B, ops: &[Op]) {
    let mut model = Model::default();
    assert_eq!(bench.now(), START);
    for op in ops {
        match op {
            Op::Commit { events, quarantined } => model.commit(bench, events, *quarantined),
            Op::Lease { to, limit } => model.lease(bench, *to, *limit),
            Op::Record { which, outcome } => model.record(bench, *which, *outcome),
            Op::Advance { ms } => bench.clock().advance(Duration::from_millis(*ms)),
            Op::Sweep => model.sweep(bench),
            Op::Retire { to } => model.retire(bench, *to),
            Op::Reopen => {
                bench.reopen();
                model.forget_leases();
            }
            Op::Crash => {
                bench.crash();
                model.forget_leases();
            }
        }
        model.check(bench);
    }
}
