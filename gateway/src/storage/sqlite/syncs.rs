//! Which groups are committed and not yet on disk, and when the next may follow them.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Members of a group that does not wait for the end of the sync before it. So it costs the disk no
/// time, but each group writes the last pages of its tables once more, so that a few members are not
/// worth it (docs/bench.md).
const FOLLOWERS_MIN: usize = 12;

/// Groups that are committed and not yet on disk where the last of them hurries: others wait for it,
/// and not for the disk. What a disk that hangs may fill of memory.
const HURRIED_MAX: u64 = 8;

/// [`Syncs::wanted`] where the writer waits for no job.
const NONE_WANTED: usize = usize::MAX;

/// A group that is being committed or synced.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Events and bytes that it brings to the queue of deliveries.
    events: usize,
    bytes: usize,
}

/// When a group may be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// Once it has so many more members, or a sync has ended.
    With(usize),
    /// Once a sync has ended: one group already waits for it, and a disk that hangs must fill no
    /// memory.
    Later,
}

/// What is written and not yet synced.
#[derive(Debug)]
pub(super) struct Syncs {
    state: Mutex<State>,
    changed: Condvar,
    /// With how many queued jobs the writer wants to be woken.
    wanted: AtomicUsize,
}

impl Default for Syncs {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            wanted: AtomicUsize::new(NONE_WANTED),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Groups that were begun, and those of them that ended, which they do in order.
    begun: u64,
    ended: u64,
    /// Events and bytes on their way to the queue of deliveries.
    on_the_way: (usize, usize),
    /// Nothing is synced any more.
    over: bool,
}

impl State {
    const fn under_way(&self) -> u64 {
        self.begun - self.ended
    }

    const fn arrived(&mut self, ticket: &Ticket) {
        let (events, bytes) = self.on_the_way;
        self.on_the_way = (events - ticket.events, bytes - ticket.bytes);
    }
}

impl Syncs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A group is about to be committed that brings so many events and bytes to deliver.
    pub(super) fn begin(&self, events: usize, bytes: usize) -> Ticket {
        let mut state = self.state();
        state.begun += 1;
        state.on_the_way = (state.on_the_way.0 + events, state.on_the_way.1 + bytes);
        Ticket { events, bytes }
    }

    /// The group is on disk and the queue of deliveries told, or storage has failed.
    pub(super) fn end(&self, ticket: &Ticket) {
        let mut state = self.state();
        state.ended += 1;
        state.arrived(ticket);
        drop(state);
        self.changed.notify_all();
    }

    /// The group that was begun last could not be committed.
    pub(super) fn withdraw(&self, ticket: &Ticket) {
        let mut state = self.state();
        state.begun -= 1;
        state.arrived(ticket);
        drop(state);
        self.changed.notify_all();
    }

    /// Nothing is synced any more.
    pub(super) fn end_for_good(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }

    /// Events and bytes that the queue of deliveries is about to be given.
    pub(super) fn on_the_way(&self) -> (usize, usize) {
        self.state().on_the_way
    }

    /// When a group of so many members is to be committed. `hurries`: not the disk alone waits for it.
    pub(super) fn turn_of(&self, members: usize, hurries: bool) -> Turn {
        let state = self.state();
        match state.under_way() {
            0 => Turn::Now,
            _ if state.over => Turn::Now,
            under_way if hurries && under_way < HURRIED_MAX => Turn::Now,
            // It is in the log when the sync before it ends, and can be synced at once.
            1 => match FOLLOWERS_MIN.saturating_sub(members) {
                0 => Turn::Now,
                more => Turn::With(more),
            },
            _ => Turn::Later,
        }
    }

    /// Waits until one that is under way has ended, or so many jobs are queued.
    ///
    /// `are_queued`: whether so many are. Whoever queues one says so by [`Self::is_queued`].
    pub(super) fn wait_for_end_or(&self, more: usize, are_queued: impl Fn(usize) -> bool) {
        let state = self.state();
        let ended = state.ended;
        self.wait_while(state, |state| {
            self.wanted.store(more, Ordering::Relaxed);
            // Either this sees what was queued, or who queued it sees that it is wanted.
            fence(Ordering::SeqCst);
            state.under_way() > 0 && state.ended == ended && !are_queued(more)
        });
        self.wanted.store(NONE_WANTED, Ordering::Relaxed);
    }

    /// Says that a job was queued; `are_queued`: whether so many are.
    pub(super) fn is_queued(&self, are_queued: impl FnOnce(usize) -> bool) {
        fence(Ordering::SeqCst);
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted == NONE_WANTED || !are_queued(wanted) {
            return;
        }
        // One of those who see it wakes the writer.
        let taken = self.wanted.swap(NONE_WANTED, Ordering::Relaxed);
        if taken != NONE_WANTED {
            // Not between the look of who waits and its sleep.
            drop(self.state());
            self.changed.notify_all();
        }
    }

    /// Waits until one that is under way has ended, if any is.
    pub(super) fn wait_for_end(&self) {
        let state = self.state();
        let ended = state.ended;
        self.wait_while(state, |state| state.under_way() > 0 && state.ended == ended);
    }

    /// Waits until what is committed now is on disk, or storage has failed.
    pub(super) fn wait(&self) {
        let state = self.state();
        let begun = state.begun;
        // Fewer, where one of them was withdrawn.
        self.wait_while(state, |state| state.ended < begun.min(state.begun));
    }

    fn wait_while(&self, state: MutexGuard<'_, State>, waits: impl Fn(&State) -> bool) {
        let waits = |state: &mut State| !state.over && waits(state);
        drop(self.changed.wait_while(state, waits));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
    use std::thread::{self, Scope};
    use std::time::Duration;

    use super::*;

    /// Long enough for any machine.
    const SOON: Duration = Duration::from_secs(20);

    /// Runs `wait` on a thread, whose end ends the channel.
    fn waiting<'s>(scope: &'s Scope<'s, '_>, wait: impl FnOnce() + Send + 's) -> Receiver<()> {
        let (ended, told) = channel();
        scope.spawn(move || {
            wait();
            drop(ended);
        });
        told
    }

    fn has_ended(waiting: &Receiver<()>) -> bool {
        waiting.recv_timeout(SOON) == Err(RecvTimeoutError::Disconnected)
    }

    #[test]
    fn a_group_follows_a_sync_at_once_where_that_is_worth_it_and_only_one_does() {
        let syncs = Syncs::default();
        assert_eq!(syncs.turn_of(1, false), Turn::Now, "there is nothing to wait for");
        let first = syncs.begin(1, 10);
        assert_eq!(syncs.turn_of(FOLLOWERS_MIN - 1, false), Turn::With(1));
        assert_eq!(syncs.turn_of(FOLLOWERS_MIN, false), Turn::Now);
        let second = syncs.begin(2, 20);
        assert_eq!(syncs.turn_of(1, false), Turn::Later);
        assert_eq!(syncs.turn_of(usize::MAX, false), Turn::Later);
        assert_eq!(syncs.on_the_way(), (3, 30));
        syncs.end(&first);
        assert_eq!(syncs.on_the_way(), (2, 20));
        assert_eq!(syncs.turn_of(FOLLOWERS_MIN + 1, false), Turn::Now);
        syncs.withdraw(&second);
        assert_eq!(syncs.turn_of(1, false), Turn::Now);
        assert_eq!(syncs.on_the_way(), (0, 0));
        syncs.begin(0, 0);
        syncs.end_for_good();
        assert_eq!(syncs.turn_of(1, false), Turn::Now, "nothing ends any more");
    }

    #[test]
    fn a_group_that_hurries_follows_at_once_up_to_a_bound() {
        let syncs = Syncs::default();
        let groups: Vec<Ticket> = (0..HURRIED_MAX)
            .map(|_| {
                assert_eq!(syncs.turn_of(1, true), Turn::Now);
                syncs.begin(0, 0)
            })
            .collect();
        assert_eq!(syncs.turn_of(1, true), Turn::Later);
        assert_eq!(syncs.turn_of(FOLLOWERS_MIN, false), Turn::Later);
        syncs.end(&groups[0]);
        assert_eq!(syncs.turn_of(1, true), Turn::Now);
    }

    #[test]
    fn a_writer_that_waits_for_jobs_is_woken_by_the_last_of_them() {
        let (syncs, queued) = (Syncs::default(), AtomicUsize::new(0));
        let count = |jobs| queued.load(Ordering::SeqCst) >= jobs;
        syncs.begin(0, 0);
        thread::scope(|scope| {
            let told = waiting(scope, || syncs.wait_for_end_or(2, count));
            while syncs.wanted.load(Ordering::SeqCst) == NONE_WANTED {
                thread::yield_now();
            }
            for _ in 0..2 {
                assert_eq!(told.try_recv(), Err(TryRecvError::Empty), "too few are queued");
                queued.fetch_add(1, Ordering::SeqCst);
                syncs.is_queued(count);
            }
            let woken = has_ended(&told);
            syncs.end_for_good();
            assert!(woken);
        });
    }

    #[test]
    fn a_writer_that_waits_for_jobs_is_woken_by_the_end_of_a_sync() {
        let syncs = Syncs::default();
        let first = syncs.begin(0, 0);
        syncs.begin(0, 0);
        thread::scope(|scope| {
            let for_jobs = waiting(scope, || syncs.wait_for_end_or(2, |_| false));
            while syncs.wanted.load(Ordering::SeqCst) == NONE_WANTED {
                thread::yield_now();
            }
            // It holds the lock from then on until it sleeps.
            syncs.end(&first);
            let woken = has_ended(&for_jobs);
            syncs.end_for_good();
            assert!(woken);
        });
    }

    #[test]
    fn who_waits_for_what_is_committed_does_not_wait_for_what_follows() {
        let syncs = Syncs::default();
        let first = syncs.begin(0, 0);
        let state = syncs.state();
        thread::scope(|scope| {
            let told = waiting(scope, || syncs.wait());
            drop(state);
            let second = syncs.begin(0, 0);
            syncs.end(&first);
            syncs.withdraw(&second);
            let woken = has_ended(&told);
            syncs.end_for_good();
            assert!(woken);
        });
    }
}
