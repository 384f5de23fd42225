//! What the writer is asked to do, and how what queued up becomes one group.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::encode::Prepared;
use super::job_queue::JobReceiver;
use super::lanes::Lanes;
use super::weights::Weight;
use super::writer::Writer;
use crate::model::{AdapterName, AttemptRecord};
use crate::storage::{Committed, LaneId, StorageError};

/// Commits and records in one transaction: beyond this a sync costs each of them nothing any more,
/// and the first would only wait longer.
const GROUP_MAX: usize = 256;

/// Bytes of bodies and events in one transaction; what is dirty stays within the page cache.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A place in the queue, given back when its job begins.
pub(super) type Place = OwnedSemaphorePermit;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StorageError>>;

/// What became of a commit, and what it was: that is let go of by who asked, because memory that
/// another thread frees than took it costs both of them a lock.
pub(super) type Served = (Option<Committed>, Box<Prepared>);

/// Runs between groups, and answers through what it captured; given the error instead where there
/// is no writer yet.
pub(super) type Task = Box<dyn FnOnce(Result<&mut Writer<'_>, StorageError>) + Send>;

/// What the writer is asked to do.
pub(super) enum Job {
    /// Answered by nothing where it is an attempt whose fence is stale.
    Commit(Box<Prepared>, Reply<Served>, (Place, Weight)),
    Record(Vec<AttemptRecord>, Reply<usize>, Place),
    Task(Task, Place),
    /// Answered when the lane is held, by its place in the queue.
    Lane(AdapterName, LaneId, Reply<Place>, Place),
    /// Held no longer, or waited for no longer.
    LaneEnds(AdapterName, LaneId),
    Close,
}

impl Job {
    /// Whether somebody waits for it who does not wait for the disk: who is next in a lane.
    pub(super) fn hurries(&self) -> bool {
        match self {
            Self::Commit(commit, ..) => commit.lane.is_some(),
            Self::Lane(..) => true,
            Self::Record(..) | Self::Task(..) | Self::LaneEnds(..) | Self::Close => false,
        }
    }
}

/// A commit or record of a group.
pub(super) enum Member {
    Commit(Box<Prepared>, Reply<Served>),
    Record(Vec<AttemptRecord>, Reply<usize>),
}

/// What a member is answered once its group is on disk.
pub(super) enum Done {
    Committed(Option<Committed>),
    Recorded(usize),
}

impl Done {
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Committed(Some(Committed::Conflict | Committed::Contended)))
    }

    /// Whether a commit was written.
    pub(super) const fn is_written(&self) -> bool {
        matches!(
            self,
            Self::Committed(Some(Committed::Stored { .. } | Committed::Duplicate { .. }))
        )
    }
}

/// What becomes one group, as it gathers.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) members: Vec<Member>,
    bytes: usize,
    /// Whether a lane is given on once it is written.
    pub(super) hurries: bool,
    /// What came next and does not belong in a group: nothing that follows it may overtake it.
    pub(super) next: Option<Job>,
}

impl Gathered {
    /// `first` and what has queued up behind it.
    pub(super) fn behind(first: Job, jobs: &JobReceiver, lanes: &mut Lanes) -> Self {
        let mut gathered = Self { members: Vec::with_capacity(GROUP_MAX), ..Self::default() };
        gathered.add(first);
        gathered.take(jobs, lanes);
        gathered
    }

    /// Members without a queue behind them.
    pub(super) fn of(members: Vec<Member>) -> Self {
        Self { members, ..Self::default() }
    }

    /// Takes what has queued up, within the bounds of a group. What waits for a lane is left there.
    pub(super) fn take(&mut self, jobs: &JobReceiver, lanes: &mut Lanes) {
        while !self.is_whole()
            && let Some(job) = next_admitted(jobs, lanes)
        {
            self.add(job);
        }
    }

    /// Whether nothing more goes into it.
    pub(super) fn is_whole(&self) -> bool {
        self.next.is_some() || self.members.len() >= GROUP_MAX || self.bytes >= GROUP_BYTES_MAX
    }

    fn add(&mut self, job: Job) {
        self.hurries |= job.hurries();
        match job {
            Job::Commit(commit, reply, room) => {
                drop(room);
                self.bytes += commit.bytes();
                self.members.push(Member::Commit(commit, reply));
            }
            Job::Record(attempts, reply, place) => {
                drop(place);
                self.members.push(Member::Record(attempts, reply));
            }
            // A lane begins when the commits before it can be read.
            Job::Task(..) | Job::Lane(..) | Job::LaneEnds(..) | Job::Close => self.next = Some(job),
        }
    }
}

/// The next job that waits for nothing.
fn next_admitted(jobs: &JobReceiver, lanes: &mut Lanes) -> Option<Job> {
    loop {
        let job = lanes.next_ready().or_else(|| jobs.try_recv())?;
        if let Job::LaneEnds(adapter, lane) = &job {
            // What waited for it comes next.
            lanes.end(adapter, *lane);
        } else if let Some(job) = lanes.admit(job) {
            return Some(job);
        }
    }
}

/// Commits and records apart.
pub(super) fn split(members: Vec<Member>) -> (Vec<Member>, Vec<Member>) {
    members.into_iter().partition(|member| matches!(member, Member::Commit(..)))
}

/// Answers those whose reads no longer hold, for whom nothing is to be synced: they run again.
pub(super) fn answer_conflicts(members: &mut Vec<Member>, replies: &mut Vec<Done>) {
    if !replies.iter().any(Done::is_conflict) {
        return;
    }
    let (conflicts, others): (Vec<_>, Vec<_>) = std::mem::take(members)
        .into_iter()
        .zip(std::mem::take(replies))
        .partition(|(_, reply)| reply.is_conflict());
    (*members, *replies) = others.into_iter().unzip();
    let (conflicts, replies) = conflicts.into_iter().unzip();
    answer(conflicts, replies);
}

// Nobody need wait for an answer any more: what was committed stays committed.

pub(super) fn answer(members: Vec<Member>, replies: Vec<Done>) {
    for (member, reply) in members.into_iter().zip(replies) {
        match (member, reply) {
            (Member::Commit(commit, to), Done::Committed(committed)) => {
                drop(to.send(Ok((committed, commit))));
            }
            (Member::Record(_, to), Done::Recorded(recorded)) => drop(to.send(Ok(recorded))),
            (Member::Commit(..), Done::Recorded(_)) | (Member::Record(..), Done::Committed(_)) => {
                debug_assert!(false, "replies come in the order of members");
            }
        }
    }
}

pub(super) fn refuse(members: Vec<Member>, error: &StorageError) {
    for member in members {
        match member {
            Member::Commit(_, to) => drop(to.send(Err(error.clone()))),
            Member::Record(_, to) => drop(to.send(Err(error.clone()))),
        }
    }
}
