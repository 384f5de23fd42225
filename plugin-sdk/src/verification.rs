//! Verdicts on the route's secrets. The values stay with the gateway: an adapter says what to
//! compare and learns what was found.

use std::borrow::Cow;

use crate::{Rejection, host};

/// What the gateway found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Matched,
    Mismatched,
    /// The request does not carry it.
    Missing,
    /// The request carries it more than once.
    Repeated,
    /// The route has no such secret.
    NotConfigured,
}

impl Found {
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "matched" => Self::Matched,
            "missing" => Self::Missing,
            "repeated" => Self::Repeated,
            "not-configured" => Self::NotConfigured,
            // A word of a later contract is at least no match.
            _ => Self::Mismatched,
        }
    }

    /// The word in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Mismatched => "mismatched",
            Self::Missing => "missing",
            Self::Repeated => "repeated",
            Self::NotConfigured => "not-configured",
        }
    }
}

/// How a value was compared, which names the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    Header,
    Query,
    Value,
    Signature,
}

/// The gateway's finding on one secret. Doing nothing with it is nearly always a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a verdict that nobody looks at protects nothing"]
pub struct Verdict {
    pub(crate) found: Found,
    /// Which of several active values matched: 0 is the newest.
    pub(crate) version: Option<u32>,
    pub(crate) compared: Compared,
}

impl Verdict {
    #[must_use]
    pub const fn found(self) -> Found {
        self.found
    }

    #[must_use]
    pub const fn version(self) -> Option<u32> {
        self.version
    }

    #[must_use]
    pub const fn is_match(self) -> bool {
        matches!(self.found, Found::Matched)
    }

    /// Refuses the request unless the secret matched or the route has none. `true`: it matched.
    ///
    /// A route without the secret is not refused here, because another secret or the URL token
    /// may decide; unless every secret that the route has matched, and at least one, the gateway
    /// refuses by itself.
    ///
    /// # Errors
    ///
    /// 401 with `secret_mismatch`, `signature_mismatch`, `header_missing`, `header_repeated`,
    /// `parameter_missing` or `parameter_repeated`.
    pub fn or_refuse(self) -> Result<bool, Rejection> {
        let code = match (self.found, self.compared) {
            (Found::Matched, _) => return Ok(true),
            (Found::NotConfigured, _) => return Ok(false),
            (Found::Mismatched, Compared::Signature) => "signature_mismatch",
            (Found::Mismatched, _) => "secret_mismatch",
            (Found::Missing, Compared::Header) => "header_missing",
            (Found::Repeated, Compared::Header) => "header_repeated",
            (Found::Missing, Compared::Query) => "parameter_missing",
            (Found::Repeated, Compared::Query) => "parameter_repeated",
            (Found::Missing, _) => "secret_missing",
            (Found::Repeated, _) => "secret_repeated",
        };
        Err(Rejection::unauthorized(code, ""))
    }
}

/// Compares the header that `describe` names for this secret.
pub fn verify_header(role: &str) -> Verdict {
    host::verify_header(role)
}

/// Compares the query parameter that `describe` names for this secret.
pub fn verify_query(role: &str) -> Verdict {
    host::verify_query(role)
}

/// Compares a value that the adapter found elsewhere, as in the body.
pub fn verify_equal(role: &str, presented: &str) -> Verdict {
    host::verify_equal(role, presented)
}

/// Most codes of one request that [`any_of`] looks at: each costs one of the sixteen verdicts that a
/// call may ask for, and who rolls a key over sends two or three.
pub const CODES_MAX: usize = 8;

/// The verdict on several codes of which one has to match, as a provider sends them while it changes
/// its key: that of the first that matches, else of the last. Where there are none, of an empty one,
/// which matches nothing. Those beyond [`CODES_MAX`] are not looked at.
///
/// ```
/// # use plugin_sdk::verification::{self, Encoding, KeyEncoding, Mac, MacAlgorithm, Part, Verdict};
/// /// `v1=…,v1=…` in a header.
/// fn signed(header: &str) -> Verdict {
///     let codes = header.split(',').filter_map(|piece| piece.trim().strip_prefix("v1="));
///     verification::any_of(codes, |presented| {
///         let (algorithm, key) = (MacAlgorithm::HmacSha256, KeyEncoding::Utf8);
///         let encoding = Encoding::Hex;
///         Mac { role: "signing_key", algorithm, key, presented, encoding }.verify(&[Part::Body])
///     })
/// }
/// ```
pub fn any_of<'c>(
    codes: impl IntoIterator<Item = &'c str>,
    mut verify: impl FnMut(&'c str) -> Verdict,
) -> Verdict {
    let mut codes = codes.into_iter().take(CODES_MAX);
    let mut verdict = verify(codes.next().unwrap_or_default());
    for code in codes {
        if verdict.found() != Found::Mismatched {
            break;
        }
        verdict = verify(code);
    }
    verdict
}

/// Whether the route has a secret for this role, which describes a key, found out by presenting
/// nothing for it: no code is empty. For keys that mean nothing without a setting; the verdict is
/// recorded.
#[must_use]
pub fn is_key_configured(role: &str) -> bool {
    let nothing = Mac {
        role,
        algorithm: MacAlgorithm::HmacSha256,
        key: KeyEncoding::Utf8,
        presented: "",
        encoding: Encoding::Hex,
    };
    nothing.verify(&[]).found() != Found::NotConfigured
}

/// One piece of a signed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The body as received; it need not be copied out of the gateway.
    Body,
    Bytes(&'a [u8]),
}

/// Which message authentication code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacAlgorithm {
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl MacAlgorithm {
    /// The word in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// How a secret's text becomes the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEncoding {
    Utf8,
    Hex,
    Base64,
    /// Base64 after `whsec_`, as Standard Webhooks has it.
    Whsec,
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
}

/// How a code or signature is written in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// In either case.
    Hex,
    /// The standard alphabet, padded or not.
    Base64,
    /// The alphabet for URLs (`-` and `_`), padded or not.
    Base64Url,
}

impl Encoding {
    /// The word in the contract, which knows one alphabet of base64.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 | Self::Base64Url => "base64",
        }
    }

    /// `presented` as the contract has it. Nothing, which matches nothing, where it is of the
    /// other alphabet: one code has one text.
    pub(crate) fn told(self, presented: &str) -> Cow<'_, str> {
        match self {
            Self::Hex | Self::Base64 => Cow::Borrowed(presented),
            Self::Base64Url if presented.contains(['+', '/']) => Cow::Borrowed(""),
            Self::Base64Url => Cow::Owned(presented.replace('-', "+").replace('_', "/")),
        }
    }
}

/// A message authentication code that a request carries.
#[derive(Clone, Copy, Debug)]
pub struct Mac<'a> {
    /// The adapter's name for the secret.
    pub role: &'a str,
    pub algorithm: MacAlgorithm,
    pub key: KeyEncoding,
    /// What the request carries, without what stands before it, as `sha256=`; empty or undecodable
    /// is a mismatch.
    pub presented: &'a str,
    pub encoding: Encoding,
}

impl Mac<'_> {
    /// Compares it with the code of `message`.
    pub fn verify(&self, message: &[Part<'_>]) -> Verdict {
        host::verify_mac(self, message)
    }
}

/// Which public-key signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// Key of 32 bytes in base64 or hex.
    Ed25519,
    /// Key an uncompressed point in base64 or hex; signature in ASN.1 DER.
    EcdsaP256Sha256,
}

impl SignatureAlgorithm {
    /// The word in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
        }
    }
}

/// A public-key signature that a request carries; the secret's text holds the public key.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    /// The adapter's name for the secret.
    pub role: &'a str,
    pub algorithm: SignatureAlgorithm,
    pub presented: &'a str,
    pub encoding: Encoding,
}

impl Signature<'_> {
    /// Checks it over `message`.
    pub fn verify(&self, message: &[Part<'_>]) -> Verdict {
        host::verify_signature(self, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(found: Found) -> Verdict {
        Verdict { found, version: None, compared: Compared::Signature }
    }

    #[test]
    fn one_of_several_codes_has_to_match() {
        let judge = |codes: &[&'static str]| {
            let mut asked = Vec::new();
            let verdict = any_of(codes.iter().copied(), |code| {
                asked.push(code);
                verdict(if code == "right" { Found::Matched } else { Found::Mismatched })
            });
            (verdict.is_match(), asked)
        };
        assert_eq!(judge(&[]), (false, vec![""]));
        assert_eq!(judge(&["wrong"]), (false, vec!["wrong"]));
        assert_eq!(judge(&["wrong", "right", "x"]), (true, vec!["wrong", "right"]));
        let mut many = vec!["wrong"; CODES_MAX];
        many.push("right");
        assert_eq!(judge(&many), (false, vec!["wrong"; CODES_MAX]));
        // A route without the secret is asked once.
        let mut asked = 0;
        let none = any_of(["a", "b"], |_| {
            asked += 1;
            verdict(Found::NotConfigured)
        });
        assert_eq!((none.found(), asked), (Found::NotConfigured, 1));
    }

    #[test]
    fn a_code_is_told_in_the_alphabet_of_the_contract() {
        for (encoding, presented, told) in [
            (Encoding::Hex, "aF-_", "aF-_"),
            (Encoding::Base64, "a+/b==", "a+/b=="),
            (Encoding::Base64, "a-_b", "a-_b"),
            (Encoding::Base64Url, "a-_b", "a+/b"),
            (Encoding::Base64Url, "ab==", "ab=="),
            (Encoding::Base64Url, "a+_b", ""),
            (Encoding::Base64Url, "a/-b", ""),
        ] {
            assert_eq!(encoding.told(presented), told, "{encoding:?} {presented}");
        }
    }
}
