//! Exclusive lanes: while a call holds its adapter's, the other commits of that adapter wait.
//!
//! They wait on the writer's thread, which serves everybody else meanwhile; so a commit pays nothing
//! for the lanes that others hold.

use std::collections::{HashMap, VecDeque};

use super::jobs::Job;
use crate::model::AdapterName;
use crate::storage::LaneId;

/// The lanes that are held, and what waits for them.
pub(super) struct Lanes<T> {
    held: HashMap<AdapterName, Held<T>>,
    /// What waited for a lane that has ended: comes before whatever came later.
    ready: VecDeque<Job<T>>,
}

struct Held<T> {
    by: LaneId,
    /// Commits of the adapter and further lanes, in the order in which they came.
    waiting: VecDeque<Job<T>>,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { held: HashMap::new(), ready: VecDeque::new() }
    }

    /// What waits no longer.
    pub(super) fn next_ready(&mut self) -> Option<Job<T>> {
        self.ready.pop_front()
    }

    /// Whether a call holds the adapter's lane, or waits for it here or as the `next` of all jobs.
    pub(super) fn is_wanted(&self, adapter: &AdapterName, next: Option<&Job<T>>) -> bool {
        let wants = |job: &Job<T>| matches!(job, Job::Lane(of, ..) if of == adapter);
        self.held.contains_key(adapter) || self.ready.iter().chain(next).any(wants)
    }

    /// Gives the job back where it may be done now; else it waits here.
    pub(super) fn admit(&mut self, job: Job<T>) -> Option<Job<T>> {
        if self.held.is_empty() {
            return Some(job);
        }
        let (adapter, lane) = match &job {
            Job::Commit(commit, ..) => (&commit.adapter, commit.lane),
            Job::Lane(adapter, ..) => (adapter, None),
            Job::LaneEnds(..) | Job::Record(..) | Job::Task(..) | Job::Close => return Some(job),
        };
        match self.held.get_mut(adapter) {
            Some(held) if lane != Some(held.by) => {
                held.waiting.push_back(job);
                None
            }
            Some(_) | None => Some(job),
        }
    }

    /// The lane is held from here on. It was admitted, so nobody else holds it.
    pub(super) fn begin(&mut self, adapter: AdapterName, by: LaneId) {
        self.held.insert(adapter, Held { by, waiting: VecDeque::new() });
    }

    /// The lane is held no longer, or is not waited for any more.
    pub(super) fn end(&mut self, adapter: &AdapterName, by: LaneId) {
        if self.held.get(adapter).is_some_and(|held| held.by == by) {
            let waiting = self.held.remove(adapter).map(|held| held.waiting).unwrap_or_default();
            for job in waiting.into_iter().rev() {
                self.ready.push_front(job);
            }
            return;
        }
        let is_it = |job: &Job<T>| matches!(job, Job::Lane(_, id, ..) if *id == by);
        self.ready.retain(|job| !is_it(job));
        if let Some(held) = self.held.get_mut(adapter) {
            held.waiting.retain(|job| !is_it(job));
        }
    }
}
