//! Tells of attempts: from records to happenings.

use super::attempt::{AttemptError, Ticket};
use crate::model::AttemptRecord;
use crate::telemetry::Happening as _;
use crate::telemetry::delivery::{AttemptFailed, DeadLettered, Delivered};

/// Tells of one attempt and of what followed.
pub(super) fn attempt(ticket: Ticket, record: &AttemptRecord, result: Result<(), &AttemptError>) {
    let (destination, event, number) = (&record.destination, ticket.event, record.number);
    match result {
        Ok(()) => {
            let since_receipt = record.at.after(record.took).since(ticket.received_at);
            Delivered { destination, event, number, took: record.took, since_receipt }.emit();
        }
        Err(error) => {
            let (took, again_in) = (record.took, record.again_in);
            let (kind, status) = (error.kind(), error.status());
            AttemptFailed { destination, event, number, took, kind, status, again_in }.emit();
        }
    }
    if let Some(reason) = record.reason {
        DeadLettered { destination, delivery: record.delivery, event, reason }.emit();
    }
}
