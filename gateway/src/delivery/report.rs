//! Tells of attempts: from records to happenings.

use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{AttemptError, Ticket};
use crate::model::{AttemptOutcome, AttemptRecord};
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::{AttemptFailed, DeadLettered, Delivered};

/// Failed attempts of one destination that are told at INFO in [`LINES_PER`]. A receiver that is down
/// refuses thousands a second, and each is like the last: what tells how many is the metric.
const LINES_MAX: u32 = 20;

const LINES_PER: Duration = Duration::from_secs(10);

/// Which failed attempts of one destination are told.
#[derive(Debug, Default)]
pub(super) struct Failures {
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Failures {
    /// How many were left out before this one; absent where it is left out as well.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= LINES_PER) {
            self.since = Some(now);
            self.told = 0;
        }
        if self.told >= LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Tells of one attempt and of what followed.
pub(super) fn attempt(
    ticket: Ticket,
    record: &AttemptRecord,
    result: Result<(), &AttemptError>,
    failures: &mut Failures,
) {
    let (destination, event, number) = (&record.destination, ticket.event, record.number);
    match result {
        Ok(()) => {
            let since_receipt = record.at.after(record.took).since(ticket.received_at);
            Delivered { destination, event, number, took: record.took, since_receipt }.emit();
        }
        Err(error) => {
            let detail = match &record.outcome {
                AttemptOutcome::Failed { detail, .. } if !error.quotes_adapter() => Some(detail),
                AttemptOutcome::Failed { .. } | AttemptOutcome::Delivered => None,
            };
            AttemptFailed {
                destination,
                event,
                request: ticket.request,
                number,
                took: record.took,
                kind: error.kind(),
                status: error.status(),
                error: detail.map(String::as_str),
                again_in: record.again_in,
                left_out: failures.tell(Instant::now()),
            }
            .emit();
        }
    }
    if let Some(reason) = record.reason {
        let (delivery, request) = (record.delivery, ticket.request);
        DeadLettered { destination, delivery, event, request, reason }.emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_is_down_fills_no_log() {
        let mut failures = Failures::default();
        let start = Instant::now();
        let told: Vec<_> = (0..1_000).map(|_| failures.tell(start)).collect();
        assert!(told.iter().take(20).all(|told| *told == Some(0)));
        assert!(told.iter().skip(20).all(Option::is_none));
        assert_eq!(failures.tell(start + LINES_PER), Some(980), "and how many is told");
        assert_eq!(failures.tell(start + LINES_PER), Some(0));
    }
}
