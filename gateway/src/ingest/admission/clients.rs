//! What each client has used of a limit, in a table that is bounded.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference as _};
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};

use super::bucket::{Rescale, Single};

/// Clients that have a bucket of their own.
pub(super) const CLIENTS_MAX: usize = 100_000;

/// Buckets that all further clients share.
pub(super) const SHARED_BUCKETS: usize = 4_096;

/// Parts of the table, each under a lock of its own that is held for one look.
const SHARDS: usize = 16;

/// How often one part is searched, at most, for clients whose bucket is full again: such a search
/// takes some ten microseconds, and a flood of new clients would ask for one each.
const SEARCH_EVERY: Duration = Duration::from_secs(1);

/// The buckets of all clients.
#[derive(Debug)]
pub(super) struct Clients<C> {
    clock: C,
    /// Of this table, on its clock; a bucket's time counts from here.
    start: Nanos,
    /// Keyed at random, so that nobody can choose addresses that fall into one place.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Clients in all parts together.
    held: AtomicUsize,
    /// Made for the first client that finds no room.
    shared: OnceLock<Box<[Single]>>,
}

#[derive(Debug, Default)]
struct Shard {
    /// When each client's bucket is full again.
    full_at: HashMap<u64, u64>,
    searched: Option<Nanos>,
}

impl<C: Clock<Instant = Nanos> + Clone> Clients<C> {
    pub(super) fn new(clock: C) -> Self {
        Self {
            start: clock.now(),
            clock,
            hasher: RandomState::new(),
            shards: Default::default(),
            held: AtomicUsize::new(0),
            shared: OnceLock::new(),
        }
    }

    /// The same clients under another limit, which is made now.
    pub(super) fn rescaled(&self, rescale: Rescale) -> Self {
        let mut rescaled = Self { hasher: self.hasher.clone(), ..Self::new(self.clock.clone()) };
        let mut held = 0;
        for (from, to) in self.shards.iter().zip(&mut rescaled.shards) {
            let to = to.get_mut().unwrap_or_else(PoisonError::into_inner);
            let buckets = lock(from);
            let used = buckets.full_at.iter().map(|(key, full_at)| (*key, rescale.apply(*full_at)));
            to.full_at.extend(used.filter(|(_, full_at)| *full_at > 0));
            held += to.full_at.len();
        }
        *rescaled.held.get_mut() = held;
        if let Some(shared) = self.shared.get() {
            let used = shared.iter().map(|bucket| Single::new(rescale.apply(bucket.get())));
            // It has just been made, so this is the first.
            drop(rescaled.shared.set(used.collect()));
        }
        rescaled
    }

    /// Whether there is room for one more client, which is then taken.
    fn take_room(&self, shard: &mut Shard) -> bool {
        let one_more = |held| (held < CLIENTS_MAX).then_some(held + 1);
        let take =
            || self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        take() || (self.forget_rested(shard) && take()) || (self.forget_elsewhere() && take())
    }

    /// Forgets clients that have rested in another part, where one is due to be searched and nobody
    /// is at it.
    fn forget_elsewhere(&self) -> bool {
        self.shards
            .iter()
            .any(|shard| shard.try_lock().is_ok_and(|mut shard| self.forget_rested(&mut shard)))
    }

    /// Forgets clients whose bucket is full: to a limit they are as good as new ones. Whether there
    /// were any.
    fn forget_rested(&self, shard: &mut Shard) -> bool {
        let now = self.clock.now().duration_since(self.start);
        let since = |searched: Nanos| Duration::from(now.duration_since(searched));
        if shard.searched.is_some_and(|searched| since(searched) < SEARCH_EVERY) {
            return false;
        }
        shard.searched = Some(now);
        let before = shard.full_at.len();
        shard.full_at.retain(|_, full_at| *full_at > now.as_u64());
        let forgotten = before - shard.full_at.len();
        self.held.fetch_sub(forgotten, Ordering::Relaxed);
        forgotten > 0
    }

    /// One of the buckets that clients without one of their own share.
    fn shared(&self, hash: u64) -> Option<&Single> {
        let new = || (0..SHARED_BUCKETS).map(|_| Single::default()).collect();
        let buckets = self.shared.get_or_init(new);
        buckets.get(usize::try_from(hash).unwrap_or_default() % SHARED_BUCKETS)
    }
}

impl<C: Clock<Instant = Nanos> + Clone> StateStore for Clients<C> {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, client: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let hash = self.hasher.hash_one(client);
        // The upper bits: the lower ones choose among the shared buckets.
        let shard = usize::try_from(hash >> 32).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(shard) else { return decide(None).map(|(told, _)| told) };
        let mut shard = lock(shard);
        if let Some(full_at) = shard.full_at.get_mut(client) {
            let (told, after) = decide(Some((*full_at).into()))?;
            *full_at = after.into();
            return Ok(told);
        }
        if self.take_room(&mut shard) {
            let decided = decide(None);
            match &decided {
                Ok((_, after)) => drop(shard.full_at.insert(*client, after.as_u64())),
                Err(_) => drop(self.held.fetch_sub(1, Ordering::Relaxed)),
            }
            return decided.map(|(told, _)| told);
        }
        drop(shard);
        match self.shared(hash) {
            Some(bucket) => bucket.measure_and_replace(&NotKeyed::NonKey, decide),
            None => decide(None).map(|(told, _)| told),
        }
    }
}

/// No panic can happen under the lock that leaves it inconsistent, so poison means nothing.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
