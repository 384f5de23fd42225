//! Message authentication codes and public-key signatures.

use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::{hmac, signature};
use subtle::ConstantTimeEq as _;

use super::{KeyEncoding, KeyError};
use crate::config::SecretValue;

/// Standard alphabet; providers differ about padding. Bits beyond the value must be zero, so that
/// one value has one text.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One piece of a signed message.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    Bytes(&'a [u8]),
    /// The body as received.
    Body,
}

/// A message with the MAC or signature that the request presents for it.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub message: &'a [Part<'a>],
    /// What [`Part::Body`] stands for.
    pub body: &'a [u8],
    pub presented: &'a str,
    pub encoding: PresentedEncoding,
}

impl<'a> Signed<'a> {
    /// Length of the message, in bytes.
    #[must_use]
    pub fn message_len(&self) -> usize {
        self.parts().fold(0, |sum, part| sum.saturating_add(part.len()))
    }

    fn parts(&self) -> impl Iterator<Item = &'a [u8]> {
        let body = self.body;
        self.message.iter().map(move |part| match part {
            Part::Bytes(bytes) => bytes,
            Part::Body => body,
        })
    }

    pub(super) fn joined(&self) -> Vec<u8> {
        let parts: Vec<&[u8]> = self.parts().collect();
        parts.concat()
    }

    fn decoded(&self) -> Option<Vec<u8>> {
        match self.encoding {
            PresentedEncoding::Hex => hex::decode(self.presented).ok(),
            PresentedEncoding::Base64 => BASE64.decode(self.presented).ok(),
        }
    }
}

/// How a MAC or signature is written in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresentedEncoding {
    Hex,
    Base64,
}

impl FromStr for PresentedEncoding {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "hex" => Ok(Self::Hex),
            "base64" => Ok(Self::Base64),
            _ => Err(()),
        }
    }
}

/// HMAC (RFC 2104) with one of these hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacAlgorithm {
    /// For providers that offer nothing better; HMAC does not need SHA-1's lost properties.
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl FromStr for MacAlgorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "hmac-sha1" => Ok(Self::Sha1),
            "hmac-sha256" => Ok(Self::Sha256),
            "hmac-sha384" => Ok(Self::Sha384),
            "hmac-sha512" => Ok(Self::Sha512),
            _ => Err(()),
        }
    }
}

impl MacAlgorithm {
    const fn ring(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// How a MAC is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacScheme {
    pub algorithm: MacAlgorithm,
    /// How the secret's text becomes the key.
    pub key: KeyEncoding,
}

/// A public-key signature scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RFC 8032.
    Ed25519,
    /// ECDSA on P-256 with SHA-256; the signature in ASN.1 DER, the key an uncompressed point.
    EcdsaP256Sha256,
}

impl FromStr for SignatureAlgorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "ed25519" => Ok(Self::Ed25519),
            "ecdsa-p256-sha256" => Ok(Self::EcdsaP256Sha256),
            _ => Err(()),
        }
    }
}

impl SignatureAlgorithm {
    /// Length of a public key, in bytes.
    const fn key_len(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            // 0x04 and two coordinates.
            Self::EcdsaP256Sha256 => 65,
        }
    }

    fn key(self, value: &SecretValue) -> Result<Vec<u8>, KeyError> {
        let error = |what| KeyError { encoding: "hex or base64", what };
        let text = value.expose();
        // No base64 of a key is as long as its hex, so the length tells them apart.
        let key = if text.len() == self.key_len() * 2 {
            hex::decode(text).ok()
        } else {
            BASE64.decode(text).ok()
        };
        let key = key.ok_or_else(|| error("it does not decode"))?;
        if key.len() == self.key_len() { Ok(key) } else { Err(error("it has another length")) }
    }

    fn ring(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::Ed25519 => &signature::ED25519,
            Self::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        }
    }
}

/// Whether the presented MAC is that of the message under this value.
///
/// # Errors
///
/// Where the value is no key.
pub(super) fn mac_matches(
    scheme: MacScheme,
    value: &SecretValue,
    signed: &Signed<'_>,
) -> Result<bool, KeyError> {
    let key = scheme.key.decode(value)?;
    let Some(presented) = signed.decoded() else { return Ok(false) };
    let mut mac = hmac::Context::with_key(&hmac::Key::new(scheme.algorithm.ring(), &key));
    for part in signed.parts() {
        mac.update(part);
    }
    // A MAC's length is public; a shorter or longer one differs at once, and a truncated one never
    // matches.
    Ok(bool::from(mac.sign().as_ref().ct_eq(&presented)))
}

/// Whether the presented signature is one of the message by this value's key.
///
/// # Errors
///
/// Where the value is no key.
pub(super) fn signature_matches(
    algorithm: SignatureAlgorithm,
    value: &SecretValue,
    message: &[u8],
    signed: &Signed<'_>,
) -> Result<bool, KeyError> {
    let key = algorithm.key(value)?;
    let Some(presented) = signed.decoded() else { return Ok(false) };
    let key = signature::UnparsedPublicKey::new(algorithm.ring(), key);
    Ok(key.verify(message, &presented).is_ok())
}
