//! Happenings of delivery.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::{Happening, chain, millis};
use crate::model::{DeadLetterReason, DeliveryId, DestinationName, EventId, RequestId};
use crate::storage::StorageError;

/// Counts attempts by destination and outcome: `delivered`, or the kind of failure.
pub const ATTEMPTS_TOTAL: &str = "sluice_attempts_total";
/// Seconds from a request's receipt to the delivery of an event it brought.
pub const DELIVERY_SECONDS: &str = "sluice_delivery_seconds";
/// Counts deliveries given up, by destination and reason.
pub const DEAD_LETTERS_TOTAL: &str = "sluice_dead_letters_total";
/// 1 while a destination that answered 410 is left alone, by destination; 0 while it is served.
pub const DESTINATION_STOPPED: &str = "sluice_destination_stopped";

/// Registers help texts and units with the metrics recorder.
pub fn describe() {
    metrics::describe_counter!(ATTEMPTS_TOTAL, "Delivery attempts, by outcome.");
    metrics::describe_histogram!(
        DELIVERY_SECONDS,
        metrics::Unit::Seconds,
        "Time from a request's receipt to the delivery of an event it brought."
    );
    metrics::describe_counter!(DEAD_LETTERS_TOTAL, "Deliveries given up, by reason.");
    metrics::describe_gauge!(
        DESTINATION_STOPPED,
        "Whether a destination answered 410 and is left alone until the next reload."
    );
}

/// One attempt delivered its event.
#[derive(Debug)]
pub(crate) struct Delivered<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) event: EventId,
    pub(crate) number: u32,
    pub(crate) took: Duration,
    /// From the request's receipt.
    pub(crate) since_receipt: Duration,
}

impl Happening for Delivered<'_> {
    fn emit(self) {
        let destination = self.destination.to_string();
        counter!(ATTEMPTS_TOTAL, "destination" => destination.clone(), "outcome" => "delivered")
            .increment(1);
        histogram!(DELIVERY_SECONDS, "destination" => destination).record(self.since_receipt);
        tracing::debug!(
            destination = self.destination.as_str(),
            event_id = %self.event,
            attempt = self.number,
            took_ms = millis(self.took),
            "Delivered."
        );
    }
}

/// One write brought many events to their destination.
#[derive(Debug)]
pub(crate) struct BatchDelivered<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) took: Duration,
    /// Of each event, from its request's receipt.
    pub(crate) since_receipt: Vec<Duration>,
}

impl Happening for BatchDelivered<'_> {
    fn emit(self) {
        let destination = self.destination.to_string();
        let events = self.since_receipt.len();
        counter!(ATTEMPTS_TOTAL, "destination" => destination.clone(), "outcome" => "delivered")
            .increment(u64::try_from(events).unwrap_or(u64::MAX));
        let histogram = histogram!(DELIVERY_SECONDS, "destination" => destination);
        for since in self.since_receipt {
            histogram.record(since);
        }
        tracing::debug!(
            destination = self.destination.as_str(),
            events,
            took_ms = millis(self.took),
            "Delivered a batch."
        );
    }
}

/// One attempt failed.
#[derive(Debug)]
pub(crate) struct AttemptFailed<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) event: EventId,
    /// What `sluice requests show` is asked for.
    pub(crate) request: RequestId,
    pub(crate) number: u32,
    pub(crate) took: Duration,
    /// From a bounded set.
    pub(crate) kind: &'static str,
    pub(crate) status: Option<u16>,
    /// With its causes; absent where it may hold what an event does.
    pub(crate) error: Option<&'a str>,
    /// Absent: a dead letter, which is told of by itself.
    pub(crate) again_in: Option<Duration>,
    /// How many of the destination were not told at INFO before it; absent where it is not either.
    pub(crate) left_out: Option<u64>,
}

impl Happening for AttemptFailed<'_> {
    fn emit(self) {
        counter!(
            ATTEMPTS_TOTAL,
            "destination" => self.destination.to_string(),
            "outcome" => self.kind
        )
        .increment(1);
        // Its level is fixed where a line is written, so that it is written twice.
        macro_rules! tell {
            ($level:ident, $left_out:expr) => {
                tracing::$level!(
                    destination = self.destination.as_str(),
                    event_id = %self.event,
                    request_id = %self.request,
                    attempt = self.number,
                    took_ms = millis(self.took),
                    kind = self.kind,
                    status = self.status,
                    error = self.error,
                    again_in_ms = self.again_in.map(millis),
                    left_out = $left_out,
                    "An attempt failed."
                )
            };
        }
        match self.left_out {
            Some(left_out) => tell!(info, (left_out > 0).then_some(left_out)),
            None => tell!(debug, None::<u64>),
        }
    }
}

/// Automatic retries gave a delivery up.
#[derive(Debug)]
pub(crate) struct DeadLettered<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) delivery: DeliveryId,
    pub(crate) event: EventId,
    pub(crate) request: RequestId,
    pub(crate) reason: DeadLetterReason,
}

impl Happening for DeadLettered<'_> {
    fn emit(self) {
        counter!(
            DEAD_LETTERS_TOTAL,
            "destination" => self.destination.to_string(),
            "reason" => self.reason.as_str()
        )
        .increment(1);
        tracing::warn!(
            destination = self.destination.as_str(),
            delivery_id = %self.delivery,
            event_id = %self.event,
            request_id = %self.request,
            reason = self.reason.as_str(),
            "A delivery became a dead letter."
        );
    }
}

/// Deliveries to destinations that are no longer configured became dead letters.
#[derive(Debug)]
pub(crate) struct DestinationsRetired {
    pub(crate) deliveries: u64,
}

impl Happening for DestinationsRetired {
    fn emit(self) {
        // The names are gone from the configuration, and so no bounded set of labels.
        counter!(
            DEAD_LETTERS_TOTAL,
            "destination" => "removed",
            "reason" => DeadLetterReason::DestinationRemoved.as_str()
        )
        .increment(self.deliveries);
        tracing::warn!(
            deliveries = self.deliveries,
            "Deliveries to destinations that are not configured became dead letters."
        );
    }
}

/// Deliveries wait for a destination that is not configured.
#[derive(Debug)]
pub(crate) struct DestinationMissing<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) deliveries: u64,
    /// Until they become dead letters.
    pub(crate) left: Duration,
}

impl Happening for DestinationMissing<'_> {
    fn emit(self) {
        tracing::warn!(
            destination = self.destination.as_str(),
            deliveries = self.deliveries,
            left_seconds = self.left.as_secs(),
            "Deliveries wait for a destination that is not configured. Where it is not put back in \
             time, they become dead letters."
        );
    }
}

/// A destination answered 410 and is left alone.
#[derive(Debug)]
pub(crate) struct DestinationGone<'a> {
    pub(crate) destination: &'a DestinationName,
}

impl Happening for DestinationGone<'_> {
    fn emit(self) {
        gauge!(DESTINATION_STOPPED, "destination" => self.destination.to_string()).set(1.0);
        tracing::warn!(
            destination = self.destination.as_str(),
            "The destination answered 410 Gone and is stopped. Its deliveries wait for the next \
             reload or restart."
        );
    }
}

/// A destination is served, or no longer configured: in neither case it is stopped.
#[derive(Debug)]
pub(crate) struct DestinationNotStopped<'a> {
    pub(crate) destination: &'a DestinationName,
}

impl Happening for DestinationNotStopped<'_> {
    fn emit(self) {
        gauge!(DESTINATION_STOPPED, "destination" => self.destination.to_string()).set(0.0);
    }
}

/// A destination cannot be used as it is configured.
#[derive(Debug)]
pub(crate) struct DestinationUnusable<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) error: &'a (dyn std::error::Error + 'static),
}

impl Happening for DestinationUnusable<'_> {
    fn emit(self) {
        tracing::error!(
            destination = self.destination.as_str(),
            error = chain(self.error),
            "The destination cannot be used. Its deliveries wait."
        );
    }
}

/// A worker ended by a panic: a bug.
#[derive(Debug)]
pub(crate) struct WorkerPanicked<'a> {
    pub(crate) destination: &'a DestinationName,
}

impl Happening for WorkerPanicked<'_> {
    fn emit(self) {
        tracing::error!(
            destination = self.destination.as_str(),
            "A delivery worker panicked and is started again. Please report this."
        );
    }
}

/// The end of a destination's file held part of a line, as a crash leaves it.
#[derive(Debug)]
pub(crate) struct TornLineRemoved<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) bytes: u64,
}

impl Happening for TornLineRemoved<'_> {
    fn emit(self) {
        tracing::warn!(
            destination = self.destination.as_str(),
            bytes = self.bytes,
            "The file ended in part of a line, which was removed. Its event is delivered again."
        );
    }
}

/// Storage refused to lease or record.
#[derive(Debug)]
pub(crate) struct StorageRefused<'a> {
    pub(crate) destination: &'a DestinationName,
    pub(crate) error: &'a StorageError,
}

impl Happening for StorageRefused<'_> {
    fn emit(self) {
        tracing::warn!(
            destination = self.destination.as_str(),
            error = chain(self.error),
            "Storage refused, and is asked again."
        );
    }
}
