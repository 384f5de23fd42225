//! One pass over JSON text for what the parser lets through.

use std::borrow::Cow;

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

/// Whether any object in `text` names a key twice. What is not JSON it need not notice: the parser
/// does.
pub(super) fn has_duplicate_keys(text: &str) -> bool {
    let mut open = Vec::new();
    let mut keys: Vec<Cow<'_, str>> = Vec::new();
    let mut is_key = false;
    let mut rest = text;
    while let Some(at) =
        rest.bytes().position(|b| matches!(b, b'{' | b'}' | b'[' | b']' | b',' | b'"'))
    {
        let (mark, after) = (rest.as_bytes().get(at), rest.get(at + 1..).unwrap_or_default());
        rest = after;
        match mark {
            Some(b'{') => {
                open.push(Some(keys.len()));
                is_key = true;
            }
            Some(b'[') => {
                open.push(None);
                is_key = false;
            }
            Some(b',') => is_key = matches!(open.last(), Some(Some(_))),
            Some(b'"') => {
                let (inner, after) = split_string(rest);
                rest = after;
                if std::mem::take(&mut is_key) {
                    keys.push(unescaped(inner));
                }
            }
            _ => {
                let first = open.pop().flatten().unwrap_or(keys.len());
                if has_twice(keys.get_mut(first..).unwrap_or_default()) {
                    return true;
                }
                keys.truncate(first);
                is_key = false;
            }
        }
    }
    false
}

/// What stands before the quote that ends a text, and what after it.
fn split_string(rest: &str) -> (&str, &str) {
    let mut bytes = rest.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                return (
                    rest.get(..at).unwrap_or_default(),
                    rest.get(at + 1..).unwrap_or_default(),
                );
            }
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    (rest, "")
}

fn unescaped(inner: &str) -> Cow<'_, str> {
    if !inner.bytes().any(|byte| byte == b'\\') {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str(&format!("\"{inner}\"")).map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// Pairs that are compared before sorting is quicker.
const FEW: usize = 12;

fn has_twice(keys: &mut [Cow<'_, str>]) -> bool {
    if keys.len() <= FEW {
        let mut rest = &*keys;
        while let [first, others @ ..] = rest {
            if others.contains(first) {
                return true;
            }
            rest = others;
        }
        return false;
    }
    keys.sort_unstable();
    keys.array_windows().any(|[a, b]| a == b)
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
            (r#"{"a":"a","b":["a","a",{"a":{},"b":"a"}],"c":"a"}"#, false),
            (r#"{"a":{"x":{"y":1}},"b":0,"a":0}"#, true),
            (r#"{"a\"":1,"a":2,"\\":3,"\\\\":4}"#, false),
            (r#"{"a\"":1,"a\u0022":2}"#, true),
            (r#"{"":1,"":2}"#, true),
            ("{}", false),
            ("{", false),
        ] {
            assert_eq!(has_duplicate_keys(text), expected, "{text}");
        }
        let many = |last: usize| {
            let keys: Vec<String> =
                (0..40).chain([last]).map(|n| format!("\"k{}\":{n}", n * 7 % 41)).collect();
            format!("{{{}}}", keys.join(","))
        };
        assert!(!has_duplicate_keys(&many(40)));
        assert!(has_duplicate_keys(&many(17)));
    }

    /// Counts what a parser sees.
    fn slowly(text: &str) -> bool {
        use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
        struct Keys<'f>(&'f mut bool);
        impl<'de> serde::de::DeserializeSeed<'de> for Keys<'_> {
            type Value = ();
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
                from.deserialize_any(self)
            }
        }
        impl<'de> Visitor<'de> for Keys<'_> {
            type Value = ();
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                let mut seen = std::collections::BTreeSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    *self.0 |= !seen.insert(key);
                    map.next_value_seed(Keys(self.0))?;
                }
                Ok(())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
                while seq.next_element_seed(Keys(self.0))?.is_some() {}
                Ok(())
            }
            fn visit_u64<E>(self, _: u64) -> Result<(), E> {
                Ok(())
            }
            fn visit_str<E>(self, _: &str) -> Result<(), E> {
                Ok(())
            }
        }
        let mut found = false;
        let mut from = serde_json::Deserializer::from_str(text);
        serde::de::DeserializeSeed::deserialize(Keys(&mut found), &mut from).unwrap();
        found
    }

    /// JSON with few and odd keys, so that many stand twice.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![Just("1".to_owned()), Just(r#""a\\\"{,""#.to_owned())];
        leaf.prop_recursive(4, 24, 5, |inner| {
            let key =
                prop::sample::select(vec!["a", "b", r"\u0061", r#"\"a"#, "{", ",", "", r"\\"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[ {} ]", items.join(" , "))),
                prop::collection::vec((key, inner), 0..4).prop_map(|members| {
                    let members: Vec<String> =
                        members.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                    format!("{{ {} }}", members.join(" , "))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn duplicate_keys_are_those_that_a_parser_sees(text in json()) {
            prop_assert_eq!(has_duplicate_keys(&text), slowly(&text), "{}", text);
        }

        #[test]
        fn what_passes_and_parses_skipping_also_parses_whole(text in r#"[\[\]{}":,a0-9\\ud83]{0,40}"#) {
            let skipped = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            if skipped && check(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
