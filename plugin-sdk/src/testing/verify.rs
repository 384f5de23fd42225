//! What the gateway computes, for the scripted host.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::{hmac, signature as ring_signature};

use crate::verification::{
    Encoding, Found, KeyEncoding, Mac, MacAlgorithm, Signature, SignatureAlgorithm,
};

/// Standard alphabet, padded or not, as the gateway reads it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn first_match(
    values: &[String],
    matches: impl Fn(&str) -> bool,
) -> (Found, Option<usize>) {
    values
        .iter()
        .position(|value| matches(value))
        .map_or((Found::Mismatched, None), |index| (Found::Matched, Some(index)))
}

fn presented(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    let text = encoding.told(text);
    let bytes = match encoding {
        Encoding::Hex => hex::decode(&*text).ok()?,
        Encoding::Base64 | Encoding::Base64Url => BASE64.decode(&*text).ok()?,
    };
    (!bytes.is_empty()).then_some(bytes)
}

pub(super) fn mac(secret: &str, mac: &Mac<'_>, message: &[u8]) -> bool {
    let algorithm = match mac.algorithm {
        MacAlgorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        MacAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
        MacAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
        MacAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
    };
    let key = match mac.key {
        KeyEncoding::Utf8 => Some(secret.as_bytes().to_vec()),
        KeyEncoding::Hex => hex::decode(secret).ok(),
        KeyEncoding::Base64 => BASE64.decode(secret).ok(),
        KeyEncoding::Whsec => BASE64.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok(),
    };
    let key = key.filter(|key| !key.is_empty());
    let (Some(key), Some(code)) = (key, presented(mac.presented, mac.encoding)) else {
        return false;
    };
    hmac::verify(&hmac::Key::new(algorithm, &key), message, &code).is_ok()
}

pub(super) fn signature(secret: &str, signature: &Signature<'_>, message: &[u8]) -> bool {
    let algorithm: &dyn ring_signature::VerificationAlgorithm = match signature.algorithm {
        SignatureAlgorithm::Ed25519 => &ring_signature::ED25519,
        SignatureAlgorithm::EcdsaP256Sha256 => &ring_signature::ECDSA_P256_SHA256_ASN1,
    };
    let key = hex::decode(secret).ok().or_else(|| BASE64.decode(secret).ok());
    let (Some(key), Some(bytes)) = (key, presented(signature.presented, signature.encoding)) else {
        return false;
    };
    ring_signature::UnparsedPublicKey::new(algorithm, key).verify(message, &bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn codes_are_those_of_the_standard() {
        let code = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let check = |key, encoding, presented: &str| {
            let mac = Mac {
                role: "key",
                algorithm: MacAlgorithm::HmacSha256,
                key: encoding,
                presented,
                encoding: Encoding::Hex,
            };
            super::mac(key, &mac, b"what do ya want for nothing?")
        };
        assert!(check("Jefe", KeyEncoding::Utf8, code));
        assert!(check("4a656665", KeyEncoding::Hex, &code.to_uppercase()));
        assert!(check("SmVmZQ==", KeyEncoding::Base64, code));
        assert!(check("whsec_SmVmZQ==", KeyEncoding::Whsec, code));
        // As the gateway has it: the prefix and the padding may be missing.
        assert!(check("SmVmZQ", KeyEncoding::Whsec, code));
        assert!(check("SmVmZQ", KeyEncoding::Base64, code));
        assert!(!check("Jefe", KeyEncoding::Utf8, ""));
        assert!(!check("Jefe", KeyEncoding::Utf8, code.trim_end_matches("43")));
        assert!(!check("jefe", KeyEncoding::Utf8, code));
    }
}
