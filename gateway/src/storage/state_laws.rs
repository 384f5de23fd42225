//! Random calls on adapters' state, at random moments: what is committed is what the calls would have
//! come to one after the other, in the order of their commits; and a commit is refused only where its
//! call would have read otherwise. Written against `dyn Storage`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;

use super::conformance::state::{Reader, claim};
use super::conformance::{Bench, START, block_on, commit};
use super::{Commit, Committed, Storage};
use crate::model::{Clock as _, RequestId, StatePut, StateRange, StateWrite, UnixMillis};

const ADAPTERS: [&str; 2] = ["one", "other"];

/// Keys are single letters of these.
const KEYS: u8 = 8;

#[derive(Clone, Debug)]
pub(super) enum Read {
    Get(u8),
    Scan { start: u8, end: u8, limit: usize, reverse: bool },
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    /// The value is what the call read, digested. Expires after so many milliseconds, if at all.
    Put(u8, Option<u64>),
    Delete(u8),
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A call begins: it reads, and knows what it will write.
    Call {
        adapter: usize,
        reads: Vec<Read>,
        writes: Vec<Write>,
    },
    /// Of the calls that wait, these are committed at once: the writer may group them.
    Commit(Vec<prop::sample::Index>),
    Advance {
        ms: u64,
    },
    Sweep,
    /// Closes or crashes, as the engine's tests have it. What was not committed is gone.
    Reopen,
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let read = prop_oneof![
        (0..KEYS).prop_map(Read::Get),
        (0..KEYS, 0..=KEYS, 1_usize..5, any::<bool>())
            .prop_map(|(start, end, limit, reverse)| Read::Scan { start, end, limit, reverse }),
    ];
    let write = prop_oneof![
        3 => (0..KEYS, prop::option::weighted(0.3, 0_u64..30)).prop_map(|(k, ms)| Write::Put(k, ms)),
        1 => (0..KEYS).prop_map(Write::Delete),
    ];
    let call = (0_usize..2, prop::collection::vec(read, 0..3), prop::collection::vec(write, 0..4));
    let op = prop_oneof![
        6 => call.prop_map(|(adapter, reads, writes)| Op::Call { adapter, reads, writes }),
        5 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Op::Commit),
        2 => (0_u64..20).prop_map(|ms| Op::Advance { ms }),
        1 => Just(Op::Advance { ms: 3_600_000 }),
        1 => Just(Op::Sweep),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec(op, 1..60)
}

/// An entry, and which change wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    value: Vec<u8>,
    expires_at: Option<UnixMillis>,
    change: u64,
}

#[derive(Debug, Default)]
struct Model {
    state: BTreeMap<(usize, u8), Held>,
    changes: u64,
}

/// What one read found: key, value and the change that wrote it.
type Found = Vec<(u8, Vec<u8>, u64)>;

impl Model {
    fn read(&self, adapter: usize, read: &Read, now: UnixMillis) -> Found {
        let (start, end, limit, reverse) = match *read {
            Read::Get(key) => (key, key + 1, 1, false),
            Read::Scan { start, end, limit, reverse } => (start, end, limit, reverse),
        };
        let live = |held: &Held| held.expires_at.is_none_or(|expires| now < expires);
        let mut keys: Vec<u8> = (start..end).collect();
        if reverse {
            keys.reverse();
        }
        keys.into_iter()
            .filter_map(|key| {
                let held = self.state.get(&(adapter, key)).filter(|held| live(held))?;
                Some((key, held.value.clone(), held.change))
            })
            .take(limit)
            .collect()
    }

    fn apply(&mut self, call: &Call) {
        self.changes += 1;
        for write in &call.commit.state.as_ref().unwrap().writes {
            let key = (call.adapter, write.key[0]);
            match &write.put {
                Some(StatePut { value, expires_at }) => {
                    let (value, expires_at) = (value.clone(), *expires_at);
                    self.state.insert(key, Held { value, expires_at, change: self.changes });
                }
                None => drop(self.state.remove(&key)),
            }
        }
    }
}

/// A call that waits for its commit.
struct Call {
    adapter: usize,
    reads: Vec<Read>,
    /// What the model said when it began.
    found: Vec<Found>,
    commit: Commit,
}

fn begin(
    store: &dyn Storage,
    model: &Model,
    now: UnixMillis,
    (adapter, reads, writes): (usize, &[Read], &[Write]),
) -> Call {
    let found: Vec<Found> = reads.iter().map(|read| model.read(adapter, read, now)).collect();
    let mut reader = Reader::of(store, ADAPTERS[adapter], now);
    for (read, wanted) in reads.iter().zip(&found) {
        let got = match *read {
            Read::Get(key) => reader.get(&[key]).into_iter().collect(),
            Read::Scan { start, end, limit, reverse } => {
                let range = StateRange { start: vec![start], end: vec![end] };
                reader.scan(range, limit, reverse)
            }
        };
        let got: Vec<_> = got.into_iter().map(|entry| (entry.key[0], entry.value)).collect();
        let wanted: Vec<_> = wanted.iter().map(|(key, value, _)| (*key, value.clone())).collect();
        assert_eq!(got, wanted, "{read:?}");
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{found:?}").as_bytes());
    let mut changes = BTreeMap::new();
    for write in writes {
        let (key, put) = match *write {
            Write::Put(key, ms) => {
                let value = digest.as_ref()[..8].to_vec();
                let expires_at = ms.map(|ms| UnixMillis(now.0 + ms));
                (key, Some(StatePut { value, expires_at }))
            }
            Write::Delete(key) => (key, None),
        };
        changes.insert(key, StateWrite { key: vec![key], put });
    }
    let commit = commit(now)
        .of_adapter(ADAPTERS[adapter])
        .having_read(reader.reads.clone())
        .changing(changes.into_values());
    Call { adapter, reads: reads.to_vec(), found, commit }
}

/// Commits all of them at once, in this order.
fn commit_together(store: &dyn Storage, model: &mut Model, calls: &[Call]) {
    let mut commits: Vec<_> = calls.iter().map(|call| store.commit(call.commit.clone())).collect();
    let outcomes = block_on(async {
        // Each is handed to the writer before the first answer is waited for.
        let mut outcomes = Vec::with_capacity(commits.len());
        for commit in &mut commits {
            let polled = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
            outcomes.push(match polled {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            });
        }
        for (outcome, commit) in outcomes.iter_mut().zip(commits) {
            if outcome.is_none() {
                *outcome = Some(commit.await);
            }
        }
        outcomes
    });
    for (call, outcome) in calls.iter().zip(outcomes) {
        let now = call.commit.request.received_at;
        let read = |read: &Read| model.read(call.adapter, read, now);
        let reads_now: Vec<Found> = call.reads.iter().map(read).collect();
        let expected = if reads_now == call.found {
            model.apply(call);
            Committed::Stored { events: 0 }
        } else {
            Committed::Conflict
        };
        assert_eq!(outcome.unwrap().unwrap(), expected, "{:?}", call.reads);
    }
}

fn check(store: &dyn Storage, model: &Model, now: UnixMillis) {
    for (adapter, name) in ADAPTERS.iter().enumerate() {
        let mut reader = Reader::of(store, name, now);
        let got = reader.scan(StateRange::new(Vec::new(), None), 999, false);
        let got: Vec<_> = got.into_iter().map(|entry| (entry.key[0], entry.value)).collect();
        let all = Read::Scan { start: 0, end: KEYS, limit: 999, reverse: false };
        let wanted = model.read(adapter, &all, now).into_iter();
        assert_eq!(got, wanted.map(|(key, value, _)| (key, value)).collect::<Vec<_>>());
    }
}

/// Runs `ops` on the store and the model. Panics where they differ.
pub(super) fn agree<B: Bench>(bench: &mut B, ops: &[Op]) {
    let mut model = Model::default();
    let mut waiting: Vec<Call> = Vec::new();
    let claim_all = |bench: &B| ADAPTERS.iter().for_each(|name| claim(bench.store(), name));
    claim_all(bench);
    assert_eq!(bench.clock().now(), START);
    for op in ops {
        match op {
            Op::Call { adapter, reads, writes } => {
                let now = bench.clock().now();
                waiting.push(begin(bench.store(), &model, now, (*adapter, reads, writes)));
            }
            Op::Commit(which) => {
                let mut together = Vec::new();
                for index in which {
                    if !waiting.is_empty() {
                        let mut call = waiting.remove(index.index(waiting.len()));
                        call.commit.request.id = RequestId::new(bench.clock().now());
                        together.push(call);
                    }
                }
                commit_together(bench.store(), &mut model, &together);
            }
            Op::Advance { ms } => bench.clock().advance(Duration::from_millis(*ms)),
            Op::Sweep => {
                block_on(bench.store().sweep(Duration::from_secs(86_400))).unwrap();
                // Calls older than what a sweep removes are over: no deadline is that long.
                let oldest = bench.clock().now().0.saturating_sub(3_000_000);
                waiting.retain(|call| call.commit.request.received_at.0 >= oldest);
            }
            Op::Reopen => {
                bench.reopen();
                waiting.clear();
                claim_all(bench);
            }
        }
        check(bench.store(), &model, bench.clock().now());
    }
}
