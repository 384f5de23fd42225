//! The writer's queue: a channel that knows how many jobs are in it, and how many of them hurry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel};
use std::time::Duration;

use super::jobs::Job;

pub(super) fn job_queue() -> (JobSender, JobReceiver) {
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
    fn coming(&self, job: &Job) {
        self.all.fetch_add(1, Ordering::SeqCst);
        if job.hurries() {
            self.hurried.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn taken(&self, job: &Job) {
        self.all.fetch_sub(1, Ordering::SeqCst);
        if job.hurries() {
            self.hurried.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn are(&self, jobs: usize) -> bool {
        self.hurried.load(Ordering::SeqCst) > 0 || self.all.load(Ordering::SeqCst) >= jobs
    }
}

#[derive(Clone, Debug)]
pub(super) struct JobSender {
    jobs: Sender<Job>,
    counts: Arc<Counts>,
}

impl JobSender {
    /// # Errors
    ///
    /// Where nobody receives any more.
    pub(super) fn send(&self, job: Job) -> Result<(), Box<SendError<Job>>> {
        // Before it can be received: the count never falls below zero.
        self.counts.coming(&job);
        self.jobs.send(job).map_err(Box::new)
    }

    /// Whether so many jobs are in the queue or about to be, or one that hurries.
    pub(super) fn are_queued(&self, jobs: usize) -> bool {
        self.counts.are(jobs)
    }
}

#[derive(Debug)]
pub(super) struct JobReceiver {
    jobs: Receiver<Job>,
    counts: Arc<Counts>,
}

impl JobReceiver {
    pub(super) fn try_recv(&self) -> Option<Job> {
        self.jobs.try_recv().ok().inspect(|job| self.counts.taken(job))
    }

    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<Job, RecvTimeoutError> {
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
        let (sender, receiver) = job_queue();
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
        let (sender, receiver) = job_queue();
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
