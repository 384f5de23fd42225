//! Bounds that a reload may change while they are held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// How many of something there may be at once; who comes too many waits.
#[derive(Debug)]
pub(super) struct Bound {
    free: Semaphore,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    max: usize,
    /// Places given out beyond `max`, since it was lowered: the next to come back are not free.
    owed: usize,
}

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Bound>);

impl Bound {
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { free: Semaphore::new(max), size: Mutex::new(Size { max, owed: 0 }) }
    }

    pub(super) fn max(&self) -> usize {
        self.size().max
    }

    /// Changes the bound. Where it is lowered, places above it stay until they come back.
    pub(super) fn resize(&self, max: usize) {
        let max = max.min(Semaphore::MAX_PERMITS);
        let mut size = self.size();
        if let Some(more) = max.checked_sub(size.max) {
            let settled = more.min(size.owed);
            size.owed -= settled;
            self.free.add_permits(more - settled);
        } else {
            let fewer = size.max - max;
            size.owed += fewer - self.free.forget_permits(fewer);
        }
        size.max = max;
    }

    /// A place, if one is free.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        self.free.try_acquire().ok()?.forget();
        Some(Place(Arc::clone(self)))
    }

    /// Waits for a place; never `None`, because the semaphore is never closed. Cancel safe.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<Place> {
        self.free.acquire().await.ok()?.forget();
        Some(Place(Arc::clone(self)))
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut size = self.0.size();
        match size.owed.checked_sub(1) {
            Some(owed) => size.owed = owed,
            None => self.0.free.add_permits(1),
        }
    }
}

/// How many of something there are; who comes too many is turned away.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicUsize);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Counted<'c>(&'c Count);

impl Count {
    /// One more, unless there are `max` already.
    pub(super) fn enter(&self, max: usize) -> Option<Counted<'_>> {
        let one_more = |count| (count < max).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Counted(self))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn who_waits_enters_when_the_bound_is_raised() {
        let bound = Arc::new(Bound::new(1));
        let first = bound.enter().await;
        let waiting = bound.enter();
        tokio::pin!(waiting);
        assert!(at_once(waiting.as_mut()).await.is_none());
        bound.resize(2);
        assert!(waiting.await.is_some());
        drop(first);
    }

    /// What the future has come to, without waiting for it.
    async fn at_once<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }

    proptest! {
        /// Whatever is entered, left and resized: as many enter as the bound has room for.
        #[test]
        fn no_more_enter_than_the_bound_allows(
            first in 0_usize..5,
            steps in prop::collection::vec((0_u8..3, 0_usize..5), 0..40),
        ) {
            let bound = Arc::new(Bound::new(first));
            let mut max = first;
            let mut places = Vec::new();
            for (step, number) in steps {
                match step {
                    0 => {
                        let place = bound.try_enter();
                        prop_assert_eq!(place.is_some(), places.len() < max);
                        places.extend(place);
                    }
                    1 => drop(places.pop()),
                    _ => {
                        bound.resize(number);
                        max = number;
                    }
                }
                prop_assert_eq!(bound.max(), max);
            }
        }

        #[test]
        fn a_count_turns_away_who_comes_too_many(max in 0_usize..5, comers in 0_usize..10) {
            let count = Count::default();
            let entered: Vec<_> = (0..comers).filter_map(|_| count.enter(max)).collect();
            prop_assert_eq!(entered.len(), comers.min(max));
            drop(entered);
            prop_assert_eq!(count.enter(1).is_some(), true);
        }
    }
}
