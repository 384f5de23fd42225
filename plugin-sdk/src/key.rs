use sha2::{Digest as _, Sha256};

/// Longest key that the contract allows, in bytes.
const KEY_BYTES_MAX: usize = 256;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What makes a provider's redelivery the same event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub(crate) value: String,
    pub(crate) adapter_wide: bool,
    pub(crate) window_seconds: u64,
}

impl Key {
    /// A key of these parts, known to the route alone and remembered for 7 days: longer than any
    /// known provider repeats itself.
    ///
    /// Different parts make different keys. Parts are joined by `/`; whatever is not printable
    /// ASCII, and `/` and `%` themselves, become `%XX`. What is too long becomes its SHA-256.
    #[must_use]
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut value = String::with_capacity(96);
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                value.push('/');
            }
            for byte in part.bytes() {
                if byte.is_ascii_graphic() && !matches!(byte, b'/' | b'%') {
                    value.push(char::from(byte));
                } else {
                    value.push('%');
                    value.extend(hex_digits(byte).map(|digit| digit.to_ascii_uppercase()));
                }
            }
        }
        if value.len() > KEY_BYTES_MAX || value.is_empty() {
            value = format!("sha256/{}", digest_hex(value.as_bytes()));
        }
        Self { value, adapter_wide: false, window_seconds: 7 * DAY_SECONDS }
    }

    /// How long the key is remembered: 1 second to 400 days.
    #[must_use]
    pub const fn window_seconds(mut self, seconds: u64) -> Self {
        self.window_seconds = seconds;
        self
    }

    /// How long the key is remembered: 1 to 400 days.
    #[must_use]
    pub const fn window_days(self, days: u64) -> Self {
        self.window_seconds(days * DAY_SECONDS)
    }

    /// Makes the key known to all routes of the adapter.
    #[must_use]
    pub const fn adapter_wide(mut self) -> Self {
        self.adapter_wide = true;
        self
    }

    /// The text that is compared.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// SHA-256 in lower-case hexadecimal. Of the whole body see [`crate::Inbound::body_digest`].
#[must_use]
pub fn digest_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend(hex_digits(*byte));
    }
    text
}

fn hex_digits(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|nibble| char::from_digit(u32::from(nibble), 16).unwrap_or('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_joined_and_escaped() {
        for (parts, expected) in [
            (vec!["event", "app", "trn:vkyc:1"], "event/app/trn:vkyc:1"),
            (vec!["a/b", "c"], "a%2Fb/c"),
            (vec!["a", "b/c"], "a/b%2Fc"),
            (vec!["%2F", " \n"], "%252F/%20%0A"),
            (vec!["é"], "%C3%A9"),
        ] {
            assert_eq!(Key::new(parts).value(), expected);
        }
    }

    #[test]
    fn digests_are_sha256() {
        assert_eq!(
            digest_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    proptest! {
        #[test]
        fn different_parts_make_different_keys_within_bounds(
            a in prop::collection::vec(".{0,40}", 1..5), b in prop::collection::vec(".{0,40}", 1..5),
        ) {
            let key = |parts: &[String]| Key::new(parts.iter().map(String::as_str)).value;
            let (left, right) = (key(&a), key(&b));
            prop_assert!((1..=256).contains(&left.len()));
            prop_assert!(left.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(a == b, left == right);
        }
    }
}
