//! Standard Webhooks signatures, symmetric (`v1`).
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use zeroize::Zeroizing;

use crate::config::Secret;
use crate::model::UnixMillis;

/// Why a secret cannot be a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret that starts with `whsec_` must go on in base64 and hold at least one byte")]
pub struct InvalidKey;

/// The keys of one destination: every event is signed with each that is active, newest first.
pub struct SigningKeys(Vec<SigningKey>);

struct SigningKey {
    key: hmac::Key,
    expires_at: Option<UnixMillis>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

impl SigningKeys {
    /// Reads every version of `secret`: `whsec_` and base64, or else the bytes themselves.
    ///
    /// # Errors
    ///
    /// Where one starts with `whsec_` and does not go on in base64.
    pub fn new(secret: &Secret) -> Result<Self, InvalidKey> {
        let keys = secret.versions.iter().map(|version| {
            let bytes = key_bytes(version.value.expose())?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
            Ok(SigningKey { key, expires_at: version.expires_at })
        });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// The value of `webhook-signature` for a body sent as `id` at `at`: one signature a key that
    /// is active then, separated by spaces. `None` where no key is.
    ///
    /// `webhook-timestamp` must say [`timestamp`] of the same time.
    #[must_use]
    pub fn sign(&self, id: &str, at: UnixMillis, body: &[u8]) -> Option<String> {
        let mut header = String::new();
        for signing in &self.0 {
            if signing.expires_at.is_some_and(|end| end <= at) {
                continue;
            }
            let mut mac = hmac::Context::with_key(&signing.key);
            mac.update(id.as_bytes());
            mac.update(b".");
            mac.update(timestamp(at).as_bytes());
            mac.update(b".");
            mac.update(body);
            if !header.is_empty() {
                header.push(' ');
            }
            header.push_str("v1,");
            STANDARD.encode_string(mac.sign(), &mut header);
        }
        (!header.is_empty()).then_some(header)
    }
}

/// The value of `webhook-timestamp`: whole seconds since the Unix epoch.
#[must_use]
pub fn timestamp(at: UnixMillis) -> String {
    (at.0 / 1_000).to_string()
}

fn key_bytes(secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, InvalidKey> {
    let Some(encoded) = secret.strip_prefix(b"whsec_") else {
        return Ok(Zeroizing::new(secret.to_vec()));
    };
    let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| InvalidKey)?);
    if bytes.is_empty() { Err(InvalidKey) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{SecretValue, SecretVersion};
    use crate::model::SecretName;

    fn secret(versions: &[(&str, Option<u64>)]) -> Secret {
        let versions = versions.iter().map(|(value, end)| SecretVersion {
            value: SecretValue::new(value.as_bytes().to_vec()),
            expires_at: end.map(UnixMillis),
        });
        Secret { name: SecretName::new("key").unwrap(), versions: versions.collect() }
    }

    /// The example of the libraries of Standard Webhooks.
    const VECTOR_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const VECTOR_ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const VECTOR_AT: UnixMillis = UnixMillis(1_614_265_330_000);
    const VECTOR_BODY: &[u8] = br#"{"test": 2432232314}"#;
    const VECTOR_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_published_vector_is_reproduced() {
        let keys = SigningKeys::new(&secret(&[(VECTOR_KEY, None)])).unwrap();
        let signature = keys.sign(VECTOR_ID, VECTOR_AT, VECTOR_BODY);
        assert_eq!(signature.as_deref(), Some(VECTOR_SIGNATURE));
    }

    #[test]
    fn every_part_of_the_message_is_signed() {
        let keys = SigningKeys::new(&secret(&[(VECTOR_KEY, None)])).unwrap();
        let other_key = SigningKeys::new(&secret(&[("whsec_AAAA", None)])).unwrap();
        for other in [
            keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJel", VECTOR_AT, VECTOR_BODY),
            keys.sign(VECTOR_ID, UnixMillis(VECTOR_AT.0 + 1_000), VECTOR_BODY),
            keys.sign(VECTOR_ID, VECTOR_AT, br#"{"test": 2432232315}"#),
            other_key.sign(VECTOR_ID, VECTOR_AT, VECTOR_BODY),
        ] {
            assert_ne!(other.as_deref(), Some(VECTOR_SIGNATURE));
        }
    }

    #[test]
    fn during_rotation_every_active_key_signs_newest_first() {
        let end = VECTOR_AT.0 + 5_000;
        let both =
            SigningKeys::new(&secret(&[("new key", None), (VECTOR_KEY, Some(end))])).unwrap();
        let new = SigningKeys::new(&secret(&[("new key", None)])).unwrap();

        let before = both.sign(VECTOR_ID, VECTOR_AT, VECTOR_BODY).unwrap();
        let newest = new.sign(VECTOR_ID, VECTOR_AT, VECTOR_BODY).unwrap();
        assert_eq!(before, format!("{newest} {VECTOR_SIGNATURE}"));

        let at_end = both.sign(VECTOR_ID, UnixMillis(end), VECTOR_BODY);
        assert_eq!(at_end, new.sign(VECTOR_ID, UnixMillis(end), VECTOR_BODY));
    }

    #[test]
    fn nothing_is_signed_with_an_expired_key() {
        let keys = SigningKeys::new(&secret(&[("old", Some(VECTOR_AT.0))])).unwrap();
        assert_eq!(keys.sign(VECTOR_ID, VECTOR_AT, VECTOR_BODY), None);
    }

    #[test]
    fn a_key_is_base64_after_its_prefix_and_raw_bytes_without_it() {
        let prefixed = SigningKeys::new(&secret(&[("whsec_c2VjcmV0", None)])).unwrap();
        let raw = SigningKeys::new(&secret(&[("secret", None)])).unwrap();
        assert_eq!(prefixed.sign("a", VECTOR_AT, b"b"), raw.sign("a", VECTOR_AT, b"b"));

        for bad in ["whsec_", "whsec_*", "whsec_c2VjcmV"] {
            assert_eq!(SigningKeys::new(&secret(&[(bad, None)])).err(), Some(InvalidKey), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = SigningKeys::new(&secret(&[("hunter2", None)])).unwrap();
        assert_eq!(format!("{keys:?}"), "SigningKeys(1)");
    }

    proptest! {
        #[test]
        fn another_message_has_another_signature(
            key in "[ -~]{1,64}",
            (one, other) in (any::<Vec<u8>>(), any::<Vec<u8>>()),
        ) {
            prop_assume!(!key.starts_with("whsec_") && one != other);
            let keys = SigningKeys::new(&secret(&[(&key, None)])).unwrap();
            prop_assert_ne!(keys.sign("id", VECTOR_AT, &one), keys.sign("id", VECTOR_AT, &other));
        }
    }
}
