use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DeliveryId, DestinationName, Event, UnixMillis};

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Owed: due at some time.
    Pending,
    /// The destination took it.
    Delivered,
    /// Given up by automatic retries; see its [`DeadLetterReason`].
    DeadLetter,
}

/// Why automatic retries gave a delivery up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterReason {
    /// The schedule has no further delay.
    RetriesExhausted,
    /// The destination answered 410 Gone.
    Gone,
    /// The event no longer matches its SHA-256 and is never sent.
    Corrupt,
    /// The destination is no longer configured.
    DestinationRemoved,
    /// The adapter that was to consume the event refused it.
    Rejected,
    /// The event has come through as many adapters as it may.
    TooManyHops,
}

impl DeadLetterReason {
    /// The word in SQL, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RetriesExhausted => "retries_exhausted",
            Self::Gone => "gone",
            Self::Corrupt => "corrupt",
            Self::DestinationRemoved => "destination_removed",
            Self::Rejected => "rejected",
            Self::TooManyHops => "too_many_hops",
        }
    }
}

/// One delivery that a worker holds until `until`: nobody else attempts it before.
#[derive(Clone, Debug)]
pub struct LeasedDelivery {
    pub delivery: DeliveryId,
    /// Names this lease; a record made with an older one is refused.
    pub fence: u64,
    pub until: UnixMillis,
    /// Attempts made before this one.
    pub attempts_before: u32,
    pub event: Event,
    /// Whether the stored event still has the SHA-256 that was stored with it.
    pub intact: bool,
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AttemptOutcome {
    Delivered,
    Failed {
        /// A word from a bounded set, as `timed_out`, `unreachable`, `refused`, `io_error`.
        kind: String,
        /// HTTP status where there was one.
        status: Option<u16>,
        /// For the operator; holds no payload, at most 1 KiB.
        detail: String,
    },
}

/// One finished attempt, and what follows from it.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    pub delivery: DeliveryId,
    pub fence: u64,
    pub destination: DestinationName,
    /// 1 for the first.
    pub number: u32,
    pub at: UnixMillis,
    pub took: Duration,
    pub outcome: AttemptOutcome,
    /// State after this attempt.
    pub state: DeliveryState,
    /// How long after its recording it is due again; only where it stays pending. No time of the wall
    /// clock, which may be corrected while an attempt is made.
    pub again_in: Option<Duration>,
    /// Only where it becomes a dead letter.
    pub reason: Option<DeadLetterReason>,
}
