//! The thread that builds snapshots.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A thread of its own, so that compiling holds up no request, and of low priority, so that it
/// takes no time from them.
#[derive(Debug)]
pub(super) struct Builder {
    jobs: mpsc::SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Builder {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Where the system has none to give.
    pub(super) fn start() -> anyhow::Result<Self> {
        // One job at a time is asked for, and waited for.
        let (jobs, taken) = mpsc::sync_channel::<Job>(1);
        let thread = std::thread::Builder::new()
            .name("sluice-reload".to_owned())
            .spawn(move || {
                crate::priority::step_back();
                for job in taken {
                    job();
                }
            })
            .context("starting the reload thread")?;
        Ok(Self { jobs, thread })
    }

    /// Runs a job there. `None` where it panicked.
    ///
    /// Dropping the returned future gives up waiting; the job goes on.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move || {
            // A build shares only what is safe to be left at any point: what it makes is dropped.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(job)) {
                done.send(result).ok();
            }
        });
        self.jobs.try_send(job).ok()?;
        result.await.ok()
    }

    /// Ends the thread, after the job under way.
    pub(super) fn end(self) {
        let Self { jobs, thread } = self;
        drop(jobs);
        // Jobs that panic are caught.
        thread.join().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_runs_in_a_thread_of_low_priority_and_one_that_panics_ends_no_other() {
        let builder = Builder::start().unwrap();
        let nice = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_whitespace().nth(16).unwrap().parse::<i32>().unwrap()
        };
        let here = nice();
        let there = builder.run(nice).await.unwrap();
        assert!(there > here || here >= 5, "{there} {here}");
        assert_eq!(builder.run(|| panic!("on purpose")).await, None::<()>);
        assert_eq!(builder.run(|| 7).await, Some(7));
        builder.end();
    }
}
