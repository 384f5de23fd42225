use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, ToSmolStr as _};

use super::Diagnosis;

/// What the provider is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Names in lower case, and values; never a hop-by-hop header, `content-length` or `date`.
    pub headers: Vec<(SmolStr, SmolStr)>,
    #[serde(with = "body_text")]
    pub body: Bytes,
}

impl Answer {
    /// An answer without headers or body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// A small JSON answer.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
        }
    }

    /// 503 with `Retry-After`: our fault, and worth sending again.
    #[must_use]
    pub fn unavailable(retry_after_seconds: u32) -> Self {
        Self {
            status: 503,
            headers: vec![("retry-after".into(), retry_after_seconds.to_smolstr())],
            body: Bytes::new(),
        }
    }
}

/// A refusal: of the adapter, or of the gateway before or instead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// 400 to 599; all that the sender learns.
    pub status: u16,
    pub diagnosis: Diagnosis,
    /// For the operator. Untrusted text of a guest, already capped and cleaned of control
    /// characters.
    pub detail: String,
}

/// Bodies of answers are nearly always text; others are kept as base64.
mod body_text {
    use std::borrow::Cow;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Body<'a> {
        Text(Cow<'a, str>),
        Base64(String),
    }

    pub(super) fn serialize<S: Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(body) {
            Ok(text) => Body::Text(Cow::Borrowed(text)),
            Err(_) => Body::Base64(STANDARD.encode(body)),
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        match Body::deserialize(from)? {
            Body::Text(text) => Ok(text.into_owned().into()),
            Body::Base64(text) => {
                STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
            }
        }
    }
}
