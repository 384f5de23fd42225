//! How a secret's text becomes the key of a MAC.

use std::str::FromStr;

use base64::Engine as _;
use zeroize::Zeroizing;

use super::proof::BASE64;
use crate::config::SecretValue;

/// How a secret's text becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEncoding {
    /// The text's own bytes.
    Utf8,
    Hex,
    Base64,
    /// Base64 after `whsec_`, as Standard Webhooks writes keys; the prefix may be missing.
    Whsec,
}

/// Why a secret's value is no key. Names the encoding, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is not a key in {encoding}: {what}")]
pub struct KeyError {
    pub(super) encoding: &'static str,
    pub(super) what: &'static str,
}

impl FromStr for KeyEncoding {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Utf8, Self::Hex, Self::Base64, Self::Whsec]
            .into_iter()
            .find(|each| each.as_str() == text)
            .ok_or(())
    }
}

impl KeyEncoding {
    /// The word in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Hex => "hex",
            Self::Base64 => "base64",
            Self::Whsec => "whsec",
        }
    }

    /// The key that `value` is in this encoding. Which encoding is meant only the adapter knows,
    /// and says with each question.
    ///
    /// # Errors
    ///
    /// Where it does not decode, or decodes to nothing.
    pub(super) fn decode(self, value: &SecretValue) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let bytes = value.expose();
        let key = match self {
            Self::Utf8 => Some(bytes.to_vec()),
            Self::Hex => hex::decode(bytes).ok(),
            Self::Base64 => BASE64.decode(bytes).ok(),
            Self::Whsec => BASE64.decode(bytes.strip_prefix(b"whsec_").unwrap_or(bytes)).ok(),
        };
        let error = |what| KeyError { encoding: self.as_str(), what };
        let key = Zeroizing::new(key.ok_or_else(|| error("it does not decode"))?);
        if key.is_empty() { Err(error("it is empty")) } else { Ok(key) }
    }
}
