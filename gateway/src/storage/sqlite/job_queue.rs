//! The writer's queue: a channel that knows how many jobs are in it, and how many of them hurry.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel};
use std::time::Duration;

use super::jobs::Job;

pub(super) fn job_queue<T>() -> (JobSender<T>, JobReceiver<T>) {
    let (sender, receiver) = channel();
    let counts = Arc::new(Counts::default());
    (
        JobSender { jobs: sender, counts: Arc::clone(&counts) },
        JobReceiver { jobs: receiver, counts },
    )
}

/// Jobs in the queue, or about to be.
#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    hurried: AtomicUsize,
}

impl Counts {
    fn coming<T>(&self, job: &Job<T>) {
        self.all.fetch_add(1, Ordering::SeqCst);
        if job.hurries() {
            self.hurried.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn taken<T>(&self, job: &Job<T>) {
        self.all.fetch_sub(1, Ordering::SeqCst);
        if job.hurries() {
            self.hurried.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn are(&self, jobs: usize) -> bool {
        self.hurried.load(Ordering::SeqCst) > 0 || self.all.load(Ordering::SeqCst) >= jobs
    }
}

pub(super) struct JobSender<T> {
    jobs: Sender<Job<T>>,
    counts: Arc<Counts>,
}

impl<T> Clone for JobSender<T> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), counts: Arc::clone(&self.counts) }
    }
}

impl<T> fmt::Debug for JobSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSender").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl<T> JobSender<T> {
    /// # Errors
    ///
    /// Where nobody receives any more.
    pub(super) fn send(&self, job: Job<T>) -> Result<(), Box<SendError<Job<T>>>> {
        // Before it can be received: the count never falls below zero.
        self.counts.coming(&job);
        self.jobs.send(job).map_err(Box::new)
    }

    /// Whether so many jobs are in the queue or about to be, or one that hurries.
    pub(super) fn are_queued(&self, jobs: usize) -> bool {
        self.counts.are(jobs)
    }
}

pub(super) struct JobReceiver<T> {
    jobs: Receiver<Job<T>>,
    counts: Arc<Counts>,
}

impl<T> JobReceiver<T> {
    pub(super) fn try_recv(&self) -> Option<Job<T>> {
        self.jobs.try_recv().ok().inspect(|job| self.counts.taken(job))
    }

    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<Job<T>, RecvTimeoutError> {
        self.jobs.recv_timeout(timeout).inspect(|job| self.counts.taken(job))
    }

    /// Whether so many jobs are in the queue or about to be, or one that hurries.
    pub(super) fn are_queued(&self, jobs: usize) -> bool {
        self.counts.are(jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AdapterName;
    use crate::storage::LaneId;

    #[test]
    fn it_knows_how_many_jobs_are_in_it() {
        let (sender, receiver) = job_queue::<()>();
        for _ in 0..3 {
            sender.send(Job::Close).unwrap();
        }
        assert!(sender.are_queued(3) && receiver.are_queued(3));
        assert!(!sender.are_queued(4) && !receiver.are_queued(4));
        assert!(matches!(receiver.try_recv(), Some(Job::Close)));
        assert!(matches!(receiver.recv_timeout(Duration::ZERO), Ok(Job::Close)));
        assert!(receiver.are_queued(1) && !receiver.are_queued(2));
        assert!(receiver.try_recv().is_some() && receiver.try_recv().is_none());
        assert!(receiver.recv_timeout(Duration::ZERO).is_err());
        assert!(!receiver.are_queued(1));
        drop(receiver);
        assert!(sender.send(Job::Close).is_err());
    }

    #[test]
    fn one_that_hurries_is_as_good_as_any_number() {
        let (sender, receiver) = job_queue::<()>();
        let places = Arc::new(tokio::sync::Semaphore::new(1));
        let (reply, _answer) = tokio::sync::oneshot::channel();
        let adapter = AdapterName::new("one").unwrap();
        let place = places.try_acquire_owned().unwrap();
        sender.send(Job::LaneEnds(adapter.clone(), LaneId(0))).unwrap();
        assert!(!sender.are_queued(2));
        sender.send(Job::Lane(adapter, LaneId(1), reply, place)).unwrap();
        assert!(sender.are_queued(usize::MAX) && receiver.are_queued(usize::MAX));
        assert!(receiver.try_recv().is_some() && receiver.are_queued(usize::MAX));
        assert!(receiver.try_recv().is_some() && !receiver.are_queued(1));
    }
}
