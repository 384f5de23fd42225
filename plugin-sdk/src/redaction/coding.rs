//! Between a text as received and the text it stands for.

use std::borrow::Cow;
use std::ops::Range;

use crate::inbound::{hex_pair, percent_decode};

/// How a text was written down inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// A name or value of `application/x-www-form-urlencoded`.
    Form,
    /// What stands between the quotes of a JSON string.
    Json,
}

impl Coding {
    /// `None` where it stands for no text.
    pub(super) fn decode(self, raw: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Form => percent_decode(raw),
            Self::Json if !raw.contains('\\') => Some(Cow::Borrowed(raw)),
            Self::Json => serde_json::from_str(&format!("\"{raw}\"")).ok().map(Cow::Owned),
        }
    }

    /// The bytes of `raw` that these bytes of the decoded text were made of, escapes whole.
    pub(super) fn raw_range(self, raw: &str, decoded: Range<usize>) -> Range<usize> {
        let (mut rest, mut at, mut decoded_at) = (raw.as_bytes(), 0, 0);
        let mut start = None;
        while decoded_at < decoded.end && !rest.is_empty() {
            let (raw_bytes, decoded_bytes) = self.unit(rest);
            if start.is_none() && decoded_at + decoded_bytes > decoded.start {
                start = Some(at);
            }
            (at, decoded_at) = (at + raw_bytes, decoded_at + decoded_bytes);
            rest = rest.get(raw_bytes..).unwrap_or_default();
        }
        let at = at.min(raw.len());
        start.unwrap_or(at)..at
    }

    /// Length of what stands first, as written and decoded.
    fn unit(self, rest: &[u8]) -> (usize, usize) {
        match (self, rest) {
            (Self::Form, [b'%', high, low, ..]) if hex_pair(*high, *low).is_some() => (3, 1),
            (Self::Json, [b'\\', b'u', rest @ ..]) => match (code_unit(rest), rest.get(4..)) {
                (0xD800..0xDC00, Some([b'\\', b'u', ..])) => (12, 4),
                (0..0x80, _) => (6, 1),
                (0x80..0x800, _) => (6, 2),
                _ => (6, 3),
            },
            (Self::Json, [b'\\', _, ..]) => (2, 1),
            _ => (1, 1),
        }
    }
}

fn code_unit(digits: &[u8]) -> u32 {
    let digits = digits.iter().take(4);
    digits.fold(0, |unit, &byte| unit << 4 | char::from(byte).to_digit(16).unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a range that splits a character fails the test")]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_of_the_text_is_found_in_what_was_received() {
        for (coding, raw, text, expected) in [
            (Coding::Form, "a+b%41%2Bc", "bA", "b%41"),
            (Coding::Form, "100%&%zz", "%&", "%&"),
            (Coding::Form, "%E2%82%ACx", "€", "%E2%82%AC"),
            (Coding::Json, r"a\nb\u0041c", "bA", r"b\u0041"),
            (Coding::Json, r"\ud83d\ude00x", "😀", r"\ud83d\ude00"),
            (Coding::Json, r#"\"\u00e9é\\"#, "éé", r"\u00e9é"),
            (Coding::Json, "plain", "lai", "lai"),
        ] {
            let decoded = coding.decode(raw).unwrap();
            let start = decoded.find(text).unwrap();
            let range = coding.raw_range(raw, start..start + text.len());
            assert_eq!(&raw[range], expected, "{raw}");
        }
        assert_eq!(Coding::Json.decode(r"\ud83d"), None);
        assert_eq!(Coding::Form.decode("%ff"), None);
    }

    /// The same text in one of its many spellings.
    pub(in crate::redaction) fn spelled(coding: Coding, text: &str, escape: &[bool]) -> String {
        let mut escape = escape.iter().chain(std::iter::repeat(&false));
        let mut raw = String::new();
        for c in text.chars() {
            let must = match coding {
                Coding::Form => !c.is_ascii_alphanumeric(),
                Coding::Json => c.is_control() || matches!(c, '"' | '\\'),
            };
            if !*escape.next().unwrap() && !must {
                raw.push(c);
                continue;
            }
            match coding {
                Coding::Form => {
                    let bytes = c.to_string().into_bytes();
                    raw.extend(bytes.iter().map(|byte| format!("%{byte:02X}")));
                }
                Coding::Json => {
                    let units = c.encode_utf16(&mut [0; 2]).to_vec();
                    raw.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
                }
            }
        }
        raw
    }

    proptest! {
        #[test]
        fn any_range_decodes_from_its_bytes_alone(
            form: bool, text in "\\PC{0,20}", escape in prop::collection::vec(any::<bool>(), 20),
            from in 0_usize..20, to in 0_usize..20,
        ) {
            let coding = if form { Coding::Form } else { Coding::Json };
            let raw = spelled(coding, &text, &escape);
            let decoded = coding.decode(&raw).unwrap();
            prop_assert_eq!(&decoded, &text);
            let (from, to) = (from.min(to), from.max(to));
            let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
            let range = coding.raw_range(&raw, at(from)..at(to));
            let inside = coding.decode(&raw[range]).unwrap();
            prop_assert_eq!(&inside, &text[at(from)..at(to)]);
        }

        #[test]
        fn no_bytes_make_it_panic(form: bool, raw in ".{0,30}", from in 0_usize..40, to in 0_usize..40) {
            let coding = if form { Coding::Form } else { Coding::Json };
            let range = coding.raw_range(&raw, from..to);
            prop_assert!(range.start <= range.end && range.end <= raw.len());
        }
    }
}
