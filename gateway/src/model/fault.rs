use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    Accepted,
    /// Understood, and not wanted.
    Ignored,
    /// All its idempotency keys were known.
    Duplicate,
    /// Refused; kept in the ring only.
    Rejected,
    /// Verified, but the adapter trapped or ran out of time: kept for replay, holds no key.
    Quarantined,
    /// Was quarantined, until the same body was accepted.
    Superseded,
}

impl Disposition {
    /// The word in SQL, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Quarantined => "quarantined",
            Self::Superseded => "superseded",
        }
    }

    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Accepted,
            Self::Ignored,
            Self::Duplicate,
            Self::Rejected,
            Self::Quarantined,
            Self::Superseded,
        ]
        .into_iter()
        .find(|each| each.as_str() == text)
    }
}

/// Why a request was refused, in one word for the operator.
///
/// The gateway's own codes are constants here; an adapter's is any short `snake_case` word.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnosis(Cow<'static, str>);

impl Diagnosis {
    pub const SECRET_MISMATCH: Self = Self(Cow::Borrowed("secret_mismatch"));
    pub const SIGNATURE_MISMATCH: Self = Self(Cow::Borrowed("signature_mismatch"));
    pub const MATCHES_EXPIRED_SECRET: Self = Self(Cow::Borrowed("matches_expired_secret"));
    pub const MATCHES_OTHER_ROUTE: Self = Self(Cow::Borrowed("matches_other_route"));
    /// The signature is one that came with another body before.
    pub const SIGNATURE_SEEN_WITH_OTHER_BODY: Self =
        Self(Cow::Borrowed("signature_seen_with_other_body"));
    pub const HEADER_MISSING: Self = Self(Cow::Borrowed("header_missing"));
    pub const HEADER_REPEATED: Self = Self(Cow::Borrowed("header_repeated"));
    /// The adapter returned an outcome without any matching verdict.
    pub const UNVERIFIED: Self = Self(Cow::Borrowed("unverified"));
    pub const TRAP: Self = Self(Cow::Borrowed("trap"));
    pub const DEADLINE: Self = Self(Cow::Borrowed("deadline"));
    /// The adapter returned something that breaks the contract.
    pub const INVALID_OUTCOME: Self = Self(Cow::Borrowed("invalid_outcome"));
    pub const METHOD_NOT_ALLOWED: Self = Self(Cow::Borrowed("method_not_allowed"));
    pub const BODY_TOO_LARGE: Self = Self(Cow::Borrowed("body_too_large"));
    pub const BODY_TOO_SLOW: Self = Self(Cow::Borrowed("body_too_slow"));
    pub const MALFORMED_REQUEST: Self = Self(Cow::Borrowed("malformed_request"));
    pub const STORAGE_UNAVAILABLE: Self = Self(Cow::Borrowed("storage_unavailable"));
    pub const OVERLOADED: Self = Self(Cow::Borrowed("overloaded"));
    /// A limit of the client's or the route's requests is used up.
    pub const RATE_LIMITED: Self = Self(Cow::Borrowed("rate_limited"));
    /// The client's address is not among those that the route takes requests from.
    pub const ADDRESS_NOT_ALLOWED: Self = Self(Cow::Borrowed("address_not_allowed"));
    /// The route is paused; its paused answer was given.
    pub const PAUSED: Self = Self(Cow::Borrowed("paused"));

    /// Reads a guest's code. Whatever is not 1 to 64 characters of `a-z`, `0-9` and `_` becomes
    /// `unspecified`: codes are labels, and labels are bounded.
    #[must_use]
    pub fn from_guest(code: &str) -> Self {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if (1..=64).contains(&code.len()) && code.bytes().all(plain) {
            Self(Cow::Owned(code.to_owned()))
        } else {
            Self(Cow::Borrowed("unspecified"))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
