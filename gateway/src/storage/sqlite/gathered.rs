//! How what queued up becomes one group.

use super::members::Member;
use super::writer::{Job, JobReceiver, Lanes};

/// Commits and records in one transaction: beyond this a sync costs each of them nothing any more,
/// and the first would only wait longer.
const GROUP_MAX: usize = 256;

/// Bytes of bodies and events in one transaction; what is dirty stays within the page cache.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

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
