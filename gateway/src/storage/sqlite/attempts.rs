//! Attempts at deliveries, as part of a group: fenced by their leases, which are claimed until the
//! group is on disk.

use rusqlite::{Result, params};

use super::columns::sql;
use super::group::Group;
use super::writer::Writer;
use crate::model::{AttemptOutcome, AttemptRecord, DeliveryState};
use crate::storage::StoredAttempt;

impl Writer<'_> {
    /// Claims the lease of an attempt for this group; `false` where its fence is stale.
    pub(super) fn claim_lease(&self, group: &mut Group, attempt: &AttemptRecord) -> bool {
        let claimed = self.shared.queue().claim(attempt.delivery, attempt.fence);
        if claimed {
            group.claimed.push(attempt.delivery);
        }
        claimed
    }

    /// Writes one finished attempt into the open transaction; `false` where its fence is stale.
    pub(super) fn apply_attempt(
        &mut self,
        group: &mut Group,
        attempt: &AttemptRecord,
    ) -> Result<bool> {
        if !self.claim_lease(group, attempt) {
            return Ok(false);
        }
        self.write_attempt(group, attempt)?;
        Ok(true)
    }

    /// Writes a finished attempt whose lease was claimed.
    pub(super) fn write_attempt(
        &mut self,
        group: &mut Group,
        attempt: &AttemptRecord,
    ) -> Result<()> {
        let took_ms = u64::try_from(attempt.took.as_millis()).unwrap_or(u64::MAX);
        let failure = match &attempt.outcome {
            // The row itself says it, in few bytes.
            AttemptOutcome::Delivered => None,
            AttemptOutcome::Failed { .. } => Some(failure_line(attempt, took_ms)?),
        };
        let (id, number) = (attempt.delivery.0, attempt.number);
        let mut parked = None;
        let told = &mut group.told;
        let changed = match attempt.state {
            DeliveryState::Delivered => {
                told.count(&attempt.destination, -1);
                self.sql.deliver.execute(params![id, sql(attempt.at.0), number, sql(took_ms)])?
            }
            DeliveryState::DeadLetter => {
                told.count(&attempt.destination, -1);
                told.dead += 1;
                let reason = attempt.reason.map(crate::model::DeadLetterReason::as_str);
                let at = sql(attempt.at.0);
                self.sql.bury.execute(params![id, at, number, failure, reason])?
            }
            DeliveryState::Pending => {
                let due = self.group_at.even.after(attempt.again_in.unwrap_or_default());
                parked = Some(due);
                self.sql.postpone.execute(params![id, sql(due.0), number, failure])?
            }
        };
        told.finished.push((id, parked));
        group.wrote = true;
        debug_assert_eq!(changed, 1, "a leased delivery is pending");
        Ok(())
    }

    /// Takes back what was done in memory for a group that is not on disk.
    pub(super) fn withdraw(&mut self, group: &Group) {
        let mut queue = self.shared.queue();
        for delivery in &group.claimed {
            queue.unclaim(*delivery);
        }
    }
}

/// One line of `deliveries.failures`.
fn failure_line(attempt: &AttemptRecord, took_ms: u64) -> Result<String> {
    let stored = StoredAttempt {
        number: attempt.number,
        at: attempt.at,
        took_ms,
        outcome: attempt.outcome.clone(),
    };
    let mut line = serde_json::to_string(&stored)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    line.push('\n');
    Ok(line)
}
