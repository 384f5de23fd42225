use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// How strongly a request was shown to come from its provider. Set by the host alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verified {
    /// The route says `auth = "none"`.
    None,
    /// The URL token matched, and nothing stronger.
    SharedUrl,
    /// A secret in a header, the query or the body matched.
    SharedSecret,
    /// A message authentication code or public-key signature matched.
    Signature,
}

impl Verified {
    /// The word in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SharedUrl => "shared-url",
            Self::SharedSecret => "shared-secret",
            Self::Signature => "signature",
        }
    }
}

/// What kind of evidence a verdict judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The `{token}` segment of the route's path.
    PathToken,
    Header,
    Query,
    /// A value the adapter found, as in the body.
    Equal,
    Mac,
    PublicKey,
}

impl Proof {
    /// What a match of this kind makes of the request.
    #[must_use]
    pub const fn verifies(self) -> Verified {
        match self {
            Self::PathToken => Verified::SharedUrl,
            Self::Header | Self::Query | Self::Equal => Verified::SharedSecret,
            Self::Mac | Self::PublicKey => Verified::Signature,
        }
    }
}

/// What the host found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// An active value matched: 0 is the newest.
    Matched {
        version: u32,
    },
    /// Only a value past its expiry matched; to the adapter this is a mismatch.
    MatchedExpired,
    Mismatched,
    /// The request does not carry it.
    Missing,
    /// The request carries it more than once.
    Repeated,
    NotConfigured,
}

impl Found {
    #[must_use]
    pub const fn is_match(self) -> bool {
        matches!(self, Self::Matched { .. })
    }

    /// The word an adapter is told.
    #[must_use]
    pub const fn as_guest_str(self) -> &'static str {
        match self {
            Self::Matched { .. } => "matched",
            Self::MatchedExpired | Self::Mismatched => "mismatched",
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::NotConfigured => "not-configured",
        }
    }
}

/// HMAC-SHA256 of a presented credential under a key of this installation, so that it can be
/// compared again later although the value itself is never kept.
///
/// Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyedDigest(pub [u8; 32]);

impl From<KeyedDigest> for String {
    fn from(digest: KeyedDigest) -> Self {
        hex::encode(digest.0)
    }
}

impl TryFrom<String> for KeyedDigest {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)?;
        Ok(Self(digest))
    }
}

impl std::fmt::Debug for KeyedDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyedDigest(…)")
    }
}

/// One verdict, as recorded with its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// The adapter's name for the secret; `token` for the path token.
    pub role: SmolStr,
    pub proof: Proof,
    pub found: Found,
    /// Of the presented value; absent where none was presented.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<KeyedDigest>,
}
