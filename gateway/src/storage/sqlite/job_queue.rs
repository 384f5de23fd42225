//! The writer's queue: a channel that knows how many jobs are in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel};
use std::time::Duration;

use super::jobs::Job;

pub(super) fn job_queue() -> (JobSender, JobReceiver) {
    let (sender, receiver) = channel();
    let queued = Arc::new(AtomicUsize::new(0));
    (
        JobSender { jobs: sender, queued: Arc::clone(&queued) },
        JobReceiver { jobs: receiver, queued },
    )
}

#[derive(Clone, Debug)]
pub(super) struct JobSender {
    jobs: Sender<Job>,
    queued: Arc<AtomicUsize>,
}

impl JobSender {
    /// # Errors
    ///
    /// Where nobody receives any more.
    pub(super) fn send(&self, job: Job) -> Result<(), Box<SendError<Job>>> {
        // Before it can be received: the count never falls below zero.
        self.queued.fetch_add(1, Ordering::SeqCst);
        self.jobs.send(job).map_err(Box::new)
    }

    /// How many jobs are in the queue, or about to be.
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
pub(super) struct JobReceiver {
    jobs: Receiver<Job>,
    queued: Arc<AtomicUsize>,
}

impl JobReceiver {
    pub(super) fn try_recv(&self) -> Option<Job> {
        self.jobs.try_recv().ok().inspect(|_| self.taken())
    }

    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<Job, RecvTimeoutError> {
        self.jobs.recv_timeout(timeout).inspect(|_| self.taken())
    }

    /// How many jobs are in the queue, or about to be.
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    fn taken(&self) {
        self.queued.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_how_many_jobs_are_in_it() {
        let (sender, receiver) = job_queue();
        for _ in 0..3 {
            sender.send(Job::Close).unwrap();
        }
        assert_eq!((sender.queued(), receiver.queued()), (3, 3));
        assert!(matches!(receiver.try_recv(), Some(Job::Close)));
        assert!(matches!(receiver.recv_timeout(Duration::ZERO), Ok(Job::Close)));
        assert_eq!(receiver.queued(), 1);
        assert!(receiver.try_recv().is_some() && receiver.try_recv().is_none());
        assert!(receiver.recv_timeout(Duration::ZERO).is_err());
        assert_eq!(receiver.queued(), 0);
        drop(receiver);
        assert!(sender.send(Job::Close).is_err());
    }
}
