//! The commits and records of a group, and what they are answered.

use tokio::sync::oneshot;

use super::encode::Prepared;
use crate::model::AttemptRecord;
use crate::storage::{Committed, StorageError};

pub(super) type Reply<T> = oneshot::Sender<Result<T, StorageError>>;

/// What became of a commit, and what it was: that is let go of by who asked, because memory that
/// another thread frees than took it costs both of them a lock.
pub(super) type Served = (Option<Committed>, Box<Prepared>);

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
