//! One pass over JSON text for what the parser lets through.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::DEPTH_MAX;

/// Refuses nesting beyond [`DEPTH_MAX`] and escapes that are half a surrogate pair: the parser
/// skips both in parts that nobody asked for, and a later reader would choke on them.
///
/// Of text that is not JSON it may say anything; the parser finds that out.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    let mut rest = text.as_bytes().iter();
    let mut depth = 0_usize;
    while let Some(byte) = rest.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err("the JSON is nested too deeply");
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => check_string(&mut rest)?,
            _ => {}
        }
    }
    Ok(())
}

fn check_string(rest: &mut std::slice::Iter<'_, u8>) -> Result<(), &'static str> {
    const LONE: &str = "a text in the JSON holds half of a surrogate pair";
    let mut high_pending = false;
    while let Some(byte) = rest.next() {
        let unit = match byte {
            b'"' => return if high_pending { Err(LONE) } else { Ok(()) },
            b'\\' => match rest.next() {
                Some(b'u') => code_unit(rest),
                _ => 0,
            },
            _ if high_pending => return Err(LONE),
            _ => continue,
        };
        let (is_high, is_low) =
            ((0xD800..0xDC00).contains(&unit), (0xDC00..0xE000).contains(&unit));
        if is_low != high_pending {
            return Err(LONE);
        }
        high_pending = is_high;
    }
    Ok(())
}

fn code_unit(rest: &mut std::slice::Iter<'_, u8>) -> u32 {
    rest.by_ref()
        .take(4)
        .fold(0, |unit, &byte| unit << 4 | char::from(byte).to_digit(16).unwrap_or_default())
}

/// Whether any object in `text` names a key twice. `text` has passed [`check`], which bounds the
/// recursion.
pub(super) fn has_duplicate_keys(text: &str) -> Result<bool, serde_json::Error> {
    let mut found = false;
    let mut from = serde_json::Deserializer::from_str(text);
    Keys(&mut found).deserialize(&mut from)?;
    from.end()?;
    Ok(found)
}

struct Keys<'f>(&'f mut bool);

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            *self.0 |= !seen.insert(key);
            map.next_value_seed(Keys(self.0))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Keys(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn depth_is_bounded_and_counts_no_brackets_in_texts() {
        assert_eq!(check(&nested(64)), Ok(()));
        assert!(check(&nested(65)).is_err());
        assert_eq!(check(&format!("\"{}\\\"[\"", "[".repeat(99))), Ok(()));
    }

    #[test]
    fn surrogates_come_in_pairs() {
        for good in [r#""\ud83d\ude00""#, r#""a\u00e9\n\\u""#, r#""\ud83d\ude00\ud83d\ude00""#] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx\ude00""#, r#""\ud83d\n""#] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn duplicate_keys_are_found_at_any_depth_and_in_any_spelling() {
        for (text, expected) in [
            (r#"{"a":1,"b":{"a":2}}"#, false),
            (r#"{"a":1,"a":1}"#, true),
            (r#"{"x":[{"a":1,"\u0061":2}]}"#, true),
            (r#"[{"a":1},{"a":1}]"#, false),
        ] {
            assert_eq!(has_duplicate_keys(text).unwrap(), expected, "{text}");
        }
        assert!(has_duplicate_keys("{").is_err());
    }

    proptest! {
        #[test]
        fn what_passes_and_parses_skipping_also_parses_whole(text in r#"[\[\]{}":,a0-9\\ud83]{0,40}"#) {
            let skipped = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            if skipped && check(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
