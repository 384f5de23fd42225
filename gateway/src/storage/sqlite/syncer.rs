//! Syncs the log beside the writer, which writes the next group while the last one goes to disk.
//!
//! SQLite itself syncs the log where it begins anew and before it is copied into the database
//! (`synchronous = NORMAL`); what a group adds to it is on disk once this thread has synced it, and
//! only then is anybody told: who waits for its commit, and the queue of deliveries. No later group
//! can be on disk without it, because the log is read from its beginning up to what is not whole.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::members::{Done, Member, answer, refuse};
use super::shared::Shared;
use super::syncs::Ticket;
use super::told::Told;
use crate::faults::{CrashPoint, Fault};
use crate::storage::StorageError;

/// Syncs the log.
type SyncLog = Box<dyn Fn() -> io::Result<()> + Send>;

/// A group that is in the log.
pub(super) struct Written {
    pub(super) ticket: Ticket,
    pub(super) members: Vec<Member>,
    /// One a member, in their order.
    pub(super) replies: Vec<Done>,
    pub(super) told: Told,
    /// Whether anything of it was written.
    pub(super) wrote: bool,
}

/// A thread that syncs what it is given, as much at once as there is.
#[derive(Debug)]
pub(super) struct Syncer {
    written: Option<Sender<Written>>,
    log: Arc<File>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// `log`: SQLite's log, opened by itself. An error of writing it back is told once to each of
    /// those who had it open, so that none that SQLite met is missed here.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread.
    pub(super) fn start(log: File, shared: Arc<Shared>) -> io::Result<Self> {
        let log = Arc::new(log);
        let synced = Arc::clone(&log);
        let (written, thread) = start(Box::new(move || synced.sync_data()), shared)?;
        Ok(Self { written: Some(written), log, thread: Some(thread) })
    }

    /// Has `written` synced, and those told who wait for it.
    pub(super) fn sync(&self, written: Written) {
        let Some(to) = &self.written else { return };
        // Its end has said why, and to whoever waits dropping it says so too.
        drop(to.send(written));
    }

    /// The log that is synced.
    #[cfg(test)]
    pub(super) fn log(&self) -> &File {
        &self.log
    }

    /// Syncs everything that is in the log, on this thread.
    pub(super) fn sync_now(&self) -> Result<(), StorageError> {
        self.log.sync_data().map_err(|error| failed(&error))
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.written = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The thread that syncs the log panicked.");
        }
    }
}

fn start(sync: SyncLog, shared: Arc<Shared>) -> io::Result<(Sender<Written>, JoinHandle<()>)> {
    let (written, given) = channel();
    let thread = thread::Builder::new()
        .name("storage-syncer".to_owned())
        .spawn(move || sync_what_is_given(&sync, &given, &shared))?;
    Ok((written, thread))
}

fn sync_what_is_given(sync: &SyncLog, given: &Receiver<Written>, shared: &Shared) {
    let _end = End(shared);
    while let Ok(first) = given.recv() {
        while Fault::SyncerHangs.is_on() {
            thread::park();
        }
        let groups: Vec<Written> = std::iter::once(first).chain(given.try_iter()).collect();
        let synced = match shared.failure() {
            // After an error the kernel may have dropped what it could not write, and would sync
            // without it.
            Some(error) => Err(error),
            None if Fault::TellBeforeSync.is_on() => Ok(()),
            None if groups.iter().any(|group| group.wrote) => sync().map_err(|e| failed(&e)),
            None => Ok(()),
        };
        for group in groups {
            let Written { ticket, members, replies, told, .. } = group;
            match &synced {
                Ok(()) => {
                    CrashPoint::AfterCommit.reached();
                    told.publish(shared);
                    // First the writer, whose next group can be synced while these are answered.
                    shared.syncs.end(&ticket);
                    answer(members, replies);
                }
                Err(error) => {
                    if let StorageError::Fatal { detail } = error {
                        shared.fail(detail);
                    }
                    shared.syncs.end(&ticket);
                    refuse(members, error);
                }
            }
        }
    }
}

/// Nothing that is written afterwards can be trusted to be on disk.
fn failed(error: &io::Error) -> StorageError {
    StorageError::Fatal { detail: format!("could not sync the log: {error}") }
}

/// Ends the wait for every sync however the thread ends.
struct End<'s>(&'s Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("the thread that syncs the log panicked");
        }
        self.0.syncs.end_for_good();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use tokio::sync::oneshot;

    use super::super::syncs::Turn;
    use super::*;
    use crate::model::{ManualClock, UnixMillis};

    fn shared() -> Arc<Shared> {
        let clock = Arc::new(ManualClock::at(UnixMillis(0)));
        Arc::new(Shared::new(Arc::clone(&clock) as _, clock))
    }

    type Answer = oneshot::Receiver<Result<usize, StorageError>>;

    fn written(shared: &Shared, wrote: bool) -> (Written, Answer) {
        let (reply, answer) = oneshot::channel();
        let written = Written {
            ticket: shared.syncs.begin(1, 10),
            members: vec![Member::Record(Vec::new(), reply)],
            replies: vec![Done::Recorded(1)],
            told: Told::default(),
            wrote,
        };
        (written, answer)
    }

    /// A log whose syncs end as the test says.
    fn log() -> (SyncLog, Receiver<()>, Sender<io::Result<()>>) {
        let (asked, asking) = channel();
        let (end, ends) = channel();
        let sync = move || {
            asked.send(()).unwrap();
            ends.recv().unwrap()
        };
        (Box::new(sync), asking, end)
    }

    #[test]
    fn nobody_is_answered_before_the_sync_has_ended() {
        let shared = shared();
        let (sync, asked, end) = log();
        let (to, thread) = start(sync, Arc::clone(&shared)).unwrap();
        let (group, mut answer) = written(&shared, true);
        to.send(group).unwrap();
        asked.recv().unwrap();
        assert!(answer.try_recv().is_err(), "it is not synced");
        assert_ne!(shared.syncs.turn_of(1, false), Turn::Now);
        assert_eq!(shared.syncs.on_the_way(), (1, 10));
        end.send(Ok(())).unwrap();
        shared.syncs.wait();
        assert_eq!(shared.syncs.on_the_way(), (0, 0));
        assert_eq!(answer.blocking_recv().unwrap().unwrap(), 1);
        drop(to);
        thread.join().unwrap();
    }

    #[test]
    fn a_group_that_wrote_nothing_needs_no_sync() {
        let shared = shared();
        let (sync, asked, _end) = log();
        let (to, thread) = start(sync, Arc::clone(&shared)).unwrap();
        let (group, answer) = written(&shared, false);
        to.send(group).unwrap();
        assert_eq!(answer.blocking_recv().unwrap().unwrap(), 1);
        assert!(asked.try_recv().is_err());
        drop(to);
        thread.join().unwrap();
    }

    #[test]
    fn a_sync_that_fails_is_fatal_to_it_and_to_all_that_follow() {
        let shared = shared();
        let (sync, asked, end) = log();
        let (to, thread) = start(sync, Arc::clone(&shared)).unwrap();
        let (first, first_answer) = written(&shared, true);
        to.send(first).unwrap();
        asked.recv().unwrap();
        let (second, second_answer) = written(&shared, true);
        to.send(second).unwrap();
        end.send(Err(io::Error::other("a broken disk"))).unwrap();
        let told = |answer: Answer| answer.blocking_recv().unwrap().unwrap_err().to_string();
        assert!(told(first_answer).contains("a broken disk"));
        // The next sync would find nothing left to write, and succeed.
        assert!(told(second_answer).contains("a broken disk"));
        assert!(asked.try_recv().is_err(), "nothing is synced after an error");
        assert!(matches!(shared.over(), Some(StorageError::Fatal { .. })));
        shared.syncs.wait();
        drop(to);
        thread.join().unwrap();
    }

    #[test]
    fn nobody_waits_for_a_thread_that_has_ended() {
        let shared = shared();
        let (to, thread) =
            start(Box::new(|| panic!("as a test wants it")), Arc::clone(&shared)).unwrap();
        let (group, answer) = written(&shared, true);
        to.send(group).unwrap();
        shared.syncs.wait();
        assert!(answer.blocking_recv().is_err());
        assert!(shared.over().unwrap().to_string().contains("panicked"));
        assert!(thread.join().is_err());
    }
}
