//! Between a text as received and the text it stands for.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

use crate::inbound::{hex_pair, percent_decode};

/// The same place in a text as received and in the text it stands for: between two units.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    raw: usize,
    decoded: usize,
}

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
    ///
    /// `place`: where the last question about this text ended, or the beginning. A range that
    /// follows on it is found from there, so that many in order take one walk.
    pub(super) fn raw_range(
        self,
        raw: &str,
        decoded: Range<usize>,
        place: &Cell<Place>,
    ) -> Range<usize> {
        let last = place.get();
        let mut here = if last.decoded <= decoded.start { last } else { Place::default() };
        let mut start = None;
        while here.decoded < decoded.end
            && let Some(rest @ [_, ..]) = raw.as_bytes().get(here.raw..)
        {
            let (raw_bytes, decoded_bytes) = self.unit(rest);
            if start.is_none() && here.decoded + decoded_bytes > decoded.start {
                start = Some(here.raw);
            }
            here.raw += raw_bytes;
            here.decoded += decoded_bytes;
        }
        place.set(here);
        let end = here.raw.min(raw.len());
        start.unwrap_or(end)..end
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
    fn ranges_in_order_take_one_walk() {
        let raw = "%34".repeat(1_000);
        let place = Cell::default();
        for at in 0..1_000 {
            let before: Place = place.get();
            assert_eq!(Coding::Form.raw_range(&raw, at..at + 1, &place), at * 3..at * 3 + 3);
            assert_eq!((before.raw, before.decoded), (at * 3, at), "it begins where it ended");
        }
        assert_eq!(Coding::Form.raw_range(&raw, 1..2, &place), 3..6, "and goes back where it must");
    }

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
            let range = coding.raw_range(raw, start..start + text.len(), &Cell::default());
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
            let range = coding.raw_range(&raw, at(from)..at(to), &Cell::default());
            let inside = coding.decode(&raw[range]).unwrap();
            prop_assert_eq!(&inside, &text[at(from)..at(to)]);
        }

        #[test]
        fn no_bytes_make_it_panic(form: bool, raw in ".{0,30}", from in 0_usize..40, to in 0_usize..40) {
            let coding = if form { Coding::Form } else { Coding::Json };
            let range = coding.raw_range(&raw, from..to, &Cell::default());
            prop_assert!(range.start <= range.end && range.end <= raw.len());
        }

        /// Whatever was asked before.
        #[test]
        fn one_place_after_the_other_is_found_as_each_alone(
            form: bool, text in "\\PC{0,20}", escape in prop::collection::vec(any::<bool>(), 20),
            asked in prop::collection::vec((0_usize..40, 0_usize..40), 1..6),
        ) {
            let coding = if form { Coding::Form } else { Coding::Json };
            let raw = spelled(coding, &text, &escape);
            let place = Cell::default();
            for (one, other) in asked {
                let (from, to) = (one.min(other), one.max(other));
                let alone = coding.raw_range(&raw, from..to, &Cell::default());
                prop_assert_eq!(coding.raw_range(&raw, from..to, &place), alone);
            }
        }
    }
}
