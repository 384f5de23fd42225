use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::UnixMillis;

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id (`UUIDv7`, RFC 9562 section 5.7) that sorts by `at`.
            #[must_use]
            pub fn new(at: UnixMillis) -> Self {
                Self(uuid_v7(at))
            }

            /// Sorts before every id of `at` or later, and after every earlier one.
            #[must_use]
            pub fn first_of(at: UnixMillis) -> Self {
                Self(Uuid::from_u128(u128::from(at.0) << 80))
            }

            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

typed_id!(
    /// Identifies one inbound request, refused ones too.
    RequestId
);
typed_id!(
    /// Identifies one event; `CloudEvents` `id` and `webhook-id`.
    EventId
);

/// Identifies the duty to bring one event to one destination, within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub i64);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An id of `at`, with 62 random bits.
fn uuid_v7(at: UnixMillis) -> Uuid {
    static COUNTER: Counter = Counter::new();

    let mut bytes: [u8; 10] = rand::random();
    let [high, low] = COUNTER.next(at).to_be_bytes();
    (bytes[0], bytes[1]) = (high, low);
    uuid::Builder::from_unix_timestamp_millis(at.0, &bytes).into_uuid()
}

/// Counts the ids of one millisecond, so that they sort in the order in which they were made
/// (RFC 9562 section 6.2, method 1).
#[derive(Debug)]
struct Counter(
    /// The millisecond of the last id, and in the lowest bits its number.
    AtomicU64,
);

impl Counter {
    /// All of `rand_a` (RFC 9562 section 5.7).
    const BITS: u32 = 12;

    const MAX: u64 = (1 << Self::BITS) - 1;

    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The number of the next id of `at`. The last of them is given again: what is random still
    /// tells its ids apart.
    fn next(&self, at: UnixMillis) -> u16 {
        let first = at.0 << Self::BITS;
        let next = |last: u64| match last.checked_sub(first) {
            Some(number) if number <= Self::MAX => first | (number + 1).min(Self::MAX),
            Some(_) | None => first,
        };
        let step = |last| Some(next(last));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        u16::try_from(next(last.unwrap_or_default()) & Self::MAX).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_their_time() {
        let at = UnixMillis(1_111_111_111_111);
        let (id, later) = (EventId::new(at), EventId::new(UnixMillis(at.0 + 1)));
        assert!(id < later);
        assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(id.0.as_u128() >> 80, u128::from(at.0));
        assert!(EventId::first_of(at) < id && id < EventId::first_of(UnixMillis(at.0 + 1)));
    }

    #[test]
    fn ids_of_one_millisecond_are_counted() {
        let (counter, at) = (Counter::new(), UnixMillis(1_111_111_111_111));
        assert_eq!([counter.next(at), counter.next(at), counter.next(at)], [0, 1, 2]);
        assert_eq!(counter.next(UnixMillis(at.0 + 1)), 0);
        assert_eq!(counter.next(at), 0, "a clock that was set back");
        for number in 1..4_096 {
            assert_eq!(counter.next(at), number);
        }
        assert_eq!(counter.next(at), 4_095, "the last one stays");
        assert_ne!(EventId::new(at), EventId::new(at));
    }
}
