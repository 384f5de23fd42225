//! One attempt: why it failed, and what follows from how it ended.

use std::io;
use std::time::Duration;

use reqwest::StatusCode;

use super::retry::{Next, RetrySchedule};
use crate::model::{
    AttemptOutcome, AttemptRecord, DeadLetterReason, DeliveryState, DestinationName, HOPS_MAX,
    LeasedDelivery, Rejection, UnixMillis,
};
use crate::telemetry::chain;

/// Longest detail that is stored of a failure, in bytes.
const DETAIL_BYTES_MAX: usize = 1_024;

/// Why an attempt did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    #[error("the destination did not answer within {timeout:?}")]
    TimedOut { timeout: Duration },
    #[error("could not connect to the destination")]
    Unreachable(#[source] reqwest::Error),
    /// Connected, but no answer came: the destination may or may not have taken the event.
    #[error("the exchange with the destination broke off")]
    BrokenOff(#[source] reqwest::Error),
    #[error(
        "the destination's name resolves only to addresses that are not allowed, set `allow_private = \
     true` if that is meant"
    )]
    AddressDenied,
    #[error("the destination answered {status}")]
    Refused { status: StatusCode, retry_after: Option<Duration> },
    #[error("the destination redirected with {status}, and redirects are not followed")]
    Redirected { status: StatusCode, retry_after: Option<Duration> },
    #[error("the destination answered 410: it is gone")]
    Gone,
    /// Every version of the signing secret is past its expiry.
    #[error("no version of the signing secret is active")]
    Unsigned,
    #[error("could not write to the file")]
    Io(#[source] io::Error),
    /// The event does not have the SHA-256 it was stored with.
    #[error("the stored event is damaged and was not sent")]
    Corrupt,
    /// The adapter understood the event and does not take it.
    #[error("the adapter refused the event: {}: {}", .0.diagnosis, .0.detail)]
    Rejected(Rejection),
    #[error("the adapter trapped: {message}")]
    Trapped { message: String },
    #[error("the adapter's call ran out of time")]
    OutOfTime,
    /// What the call read was changed by others before its commit, again and again.
    #[error("other calls changed what the adapter's call read, until the attempt ran out of time")]
    Conflict,
    #[error("the adapter could not take up its settings and does not serve")]
    NotServing,
    #[error("the event has come through {HOPS_MAX} adapters already")]
    TooManyHops,
    #[error("what the adapter's call leaves could not be stored: {detail}")]
    NotStored { detail: String },
    /// A bug of ours.
    #[error("the attempt panicked")]
    Panicked,
}

/// What a failure allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt could succeed, not before the time that the destination asked for.
    Retry { asked: Option<Duration> },
    /// None could.
    GiveUp(DeadLetterReason),
}

impl AttemptError {
    /// Judges the head of an answer. `Ok` where the destination took the event.
    ///
    /// # Errors
    ///
    /// Every status but 2xx. 1xx cannot be final, and is a failure where a client claims it was.
    pub fn from_status(status: StatusCode, retry_after: Option<Duration>) -> Result<(), Self> {
        match status.as_u16() {
            200..=299 => Ok(()),
            300..=399 => Err(Self::Redirected { status, retry_after }),
            410 => Err(Self::Gone),
            _ => Err(Self::Refused { status, retry_after }),
        }
    }

    /// Says whether another attempt could succeed. Every variant must decide.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::TimedOut { .. }
            | Self::Unreachable(_)
            | Self::BrokenOff(_)
            // A name server may be mended, a key renewed.
            | Self::AddressDenied
            | Self::Unsigned
            | Self::Io(_)
            | Self::Trapped { .. }
            | Self::OutOfTime
            | Self::Conflict
            | Self::NotServing
            | Self::NotStored { .. }
            // The schedule bounds how often a bug is tried again.
            | Self::Panicked => Verdict::Retry { asked: None },
            Self::Refused { retry_after, .. } | Self::Redirected { retry_after, .. } => {
                Verdict::Retry { asked: *retry_after }
            }
            Self::Gone => Verdict::GiveUp(DeadLetterReason::Gone),
            Self::Corrupt => Verdict::GiveUp(DeadLetterReason::Corrupt),
            Self::Rejected(_) => Verdict::GiveUp(DeadLetterReason::Rejected),
            Self::TooManyHops => Verdict::GiveUp(DeadLetterReason::TooManyHops),
        }
    }

    /// The word in metrics and the API.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::BrokenOff(_) => "broken_off",
            Self::AddressDenied => "address_denied",
            Self::Refused { .. } => "refused",
            Self::Redirected { .. } => "redirected",
            Self::Gone => "gone",
            Self::Unsigned => "unsigned",
            Self::Io(_) => "io_error",
            Self::Corrupt => "corrupt",
            Self::Rejected(_) => "rejected",
            Self::Trapped { .. } => "trap",
            Self::OutOfTime => "deadline",
            Self::Conflict => "conflict",
            Self::NotServing => "not_serving",
            Self::TooManyHops => "too_many_hops",
            Self::NotStored { .. } => "not_stored",
            Self::Panicked => "panicked",
        }
    }

    /// Whether its text holds what an adapter said, which may be of a payload: the store's, and no log's.
    pub(super) const fn quotes_adapter(&self) -> bool {
        matches!(self, Self::Rejected(_) | Self::Trapped { .. })
    }

    pub(super) const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Redirected { status, .. } => Some(status.as_u16()),
            Self::Gone => Some(410),
            Self::Rejected(rejection) => Some(rejection.status),
            Self::TimedOut { .. }
            | Self::Unreachable(_)
            | Self::BrokenOff(_)
            | Self::AddressDenied
            | Self::Unsigned
            | Self::Io(_)
            | Self::Corrupt
            | Self::Trapped { .. }
            | Self::OutOfTime
            | Self::Conflict
            | Self::NotServing
            | Self::TooManyHops
            | Self::NotStored { .. }
            | Self::Panicked => None,
        }
    }

    fn outcome(&self) -> AttemptOutcome {
        AttemptOutcome::Failed {
            kind: self.kind().to_owned(),
            status: self.status(),
            detail: printable(&chain(self)),
        }
    }
}

/// Control characters become spaces, and the end beyond [`DETAIL_BYTES_MAX`] is cut: causes come
/// from libraries, and may quote a peer.
fn printable(text: &str) -> String {
    let end = text.floor_char_boundary(DETAIL_BYTES_MAX);
    let (kept, _) = text.split_at(end);
    kept.replace(char::is_control, " ")
}

/// What is known of a delivery under way, once its event has been given to the attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) delivery: crate::model::DeliveryId,
    pub(super) event: crate::model::EventId,
    /// That brought the event.
    pub(super) request: crate::model::RequestId,
    pub(super) fence: u64,
    /// Of this attempt, 1 for the first.
    pub(super) number: u32,
    pub(super) received_at: UnixMillis,
}

impl From<&LeasedDelivery> for Ticket {
    fn from(leased: &LeasedDelivery) -> Self {
        Self {
            delivery: leased.delivery,
            event: leased.event.id,
            request: leased.event.request,
            fence: leased.fence,
            number: leased.attempts_before.saturating_add(1),
            received_at: leased.event.received_at,
        }
    }
}

/// When an attempt began, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) started_at: UnixMillis,
    pub(super) took: Duration,
}

/// Decides what follows an attempt: the record of it. `random` is from 0.0 to 1.0.
pub(super) fn conclude(
    ticket: Ticket,
    destination: &DestinationName,
    schedule: &RetrySchedule,
    (timing, result): (Timing, Result<(), &AttemptError>),
    random: f64,
) -> AttemptRecord {
    let (outcome, state, again_in, reason) = match result {
        Ok(()) => (AttemptOutcome::Delivered, DeliveryState::Delivered, None, None),
        Err(error) => {
            let next = match error.verdict() {
                Verdict::GiveUp(reason) => Err(reason),
                Verdict::Retry { asked } => match schedule.next(ticket.number, asked, random) {
                    Next::RetryAfter(delay) => Ok(delay),
                    Next::DeadLetter => Err(DeadLetterReason::RetriesExhausted),
                },
            };
            match next {
                Ok(delay) => (error.outcome(), DeliveryState::Pending, Some(delay), None),
                Err(reason) => (error.outcome(), DeliveryState::DeadLetter, None, Some(reason)),
            }
        }
    };
    AttemptRecord {
        delivery: ticket.delivery,
        fence: ticket.fence,
        destination: destination.clone(),
        number: ticket.number,
        at: timing.started_at,
        took: timing.took,
        outcome,
        state,
        again_in,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RetryConfig;
    use crate::delivery::testing::leased;

    fn concluded(attempts_before: u32, result: Result<(), &AttemptError>) -> AttemptRecord {
        let retry = RetryConfig { delays: vec![Duration::from_secs(5); 2], jitter: 0.0 };
        let ticket = Ticket::from(&LeasedDelivery { attempts_before, ..leased(1) });
        let timing = Timing { started_at: UnixMillis(900), took: Duration::from_millis(100) };
        let name = DestinationName::new("ledger").unwrap();
        conclude(ticket, &name, &RetrySchedule::from(&retry), (timing, result), 0.5)
    }

    #[test]
    fn only_2xx_is_success_and_every_other_status_says_what_follows() {
        let asked = Some(Duration::from_secs(9));
        let retry = Some(Verdict::Retry { asked });
        let gone = Some(Verdict::GiveUp(DeadLetterReason::Gone));
        for (range, kind, verdict) in [
            (100..200, "refused", retry),
            (200..300, "", None),
            (300..400, "redirected", retry),
            (400..410, "refused", retry),
            (410..411, "gone", gone),
            (411..600, "refused", retry),
            (600..1_000, "refused", retry),
        ] {
            for code in range {
                let status = StatusCode::from_u16(code).unwrap();
                let judged = AttemptError::from_status(status, asked).err();
                assert_eq!(judged.as_ref().map(AttemptError::verdict), verdict, "{code}");
                assert_eq!(judged.as_ref().map_or("", AttemptError::kind), kind, "{code}");
                assert_eq!(judged.and_then(|e| e.status()), verdict.map(|_| code), "{code}");
            }
        }
    }

    #[test]
    fn every_way_to_fail_is_in_the_operators_manual() {
        const MANUAL: &str = include_str!("../../../docs/operating.md");
        const SOURCE: &str = include_str!("attempt.rs");

        let (_, kinds) = SOURCE.split_once("fn kind(&self)").unwrap();
        let (kinds, _) = kinds.split_once("    }\n\n").unwrap();
        let kinds: Vec<_> = kinds.split('"').skip(1).step_by(2).collect();
        assert!(kinds.len() >= 18 && kinds.contains(&"timed_out"), "{kinds:?}");
        let (_, table) = MANUAL.split_once("| outcome, `kind` |").unwrap();
        let (table, _) = table.split_once("\n\n").unwrap();
        for kind in kinds {
            assert!(table.contains(&format!("`{kind}`")), "{kind}");
        }
    }

    #[test]
    fn a_success_owes_nothing_more() {
        let record = concluded(0, Ok(()));
        assert_eq!(record.outcome, AttemptOutcome::Delivered);
        assert_eq!(record.state, DeliveryState::Delivered);
        assert_eq!((record.again_in, record.reason, record.number), (None, None, 1));
    }

    #[test]
    fn a_failure_is_due_again_until_the_schedule_ends() {
        let error = AttemptError::TimedOut { timeout: Duration::from_secs(15) };
        for (attempts_before, again_in) in [(0, Some(5)), (1, Some(5)), (2, None)] {
            let record = concluded(attempts_before, Err(&error));
            assert_eq!(record.again_in, again_in.map(Duration::from_secs));
            assert_eq!(record.number, attempts_before + 1);
            let exhausted = again_in.is_none();
            assert_eq!(record.state == DeliveryState::DeadLetter, exhausted);
            assert_eq!(record.reason, exhausted.then_some(DeadLetterReason::RetriesExhausted));
        }
    }

    #[test]
    fn gone_and_corrupt_are_never_tried_again() {
        for (error, reason) in [
            (AttemptError::Gone, DeadLetterReason::Gone),
            (AttemptError::Corrupt, DeadLetterReason::Corrupt),
        ] {
            let record = concluded(0, Err(&error));
            assert_eq!(record.state, DeliveryState::DeadLetter);
            assert_eq!((record.again_in, record.reason), (None, Some(reason)));
        }
    }

    #[test]
    fn a_detail_is_one_short_line_with_its_causes() {
        let cause = io::Error::other(format!("no\r\nroom\u{1b}[31m{}", "é".repeat(2_000)));
        let AttemptOutcome::Failed { kind, status, detail } = AttemptError::Io(cause).outcome()
        else {
            panic!("a failure");
        };
        assert_eq!((kind.as_str(), status), ("io_error", None));
        assert!(detail.starts_with("could not write to the file: no  room [31mé"), "{detail}");
        assert!(detail.len() <= DETAIL_BYTES_MAX);
        assert!(!detail.contains(char::is_control));
    }
}
