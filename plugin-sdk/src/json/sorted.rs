use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use serde::de::IgnoredAny;

use super::scan;
use crate::Rejection;

/// JSON text with the keys of every object sorted and without white space: the form over which
/// senders with a "stable stringify" compute their codes.
///
/// Keys are sorted by UTF-16 code units, as JavaScript sorts; texts are escaped as `JSON.stringify`
/// escapes them; numbers keep their literals.
///
/// # Errors
///
/// 400 where the text is not JSON, is nested too deeply, or names a key twice.
pub fn to_sorted(text: &str) -> Result<String, Rejection> {
    scan::check(text).map_err(Rejection::malformed_body)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| super::malformed(&error))?;
    let mut compact =
        Compact { rest: text, text: String::with_capacity(text.len()), objects: Vec::new() };
    // Only the parser above decides what JSON is; this cannot disagree with it.
    compact.document().ok_or_else(|| Rejection::malformed_body("the body is not JSON"))?;
    let Compact { text, mut objects, .. } = compact;
    for object in &mut objects {
        object.members.sort_unstable_by(|a, b| in_utf16(&a.key, &b.key));
        if object.members.array_windows().any(|[a, b]| a.key == b.key) {
            return Err(super::duplicate_key());
        }
    }
    objects.sort_unstable_by_key(|object| object.place.start);
    let mut sorted = String::with_capacity(text.len());
    write(&text, &objects, 0..text.len(), &mut sorted);
    Ok(sorted)
}

/// Compares by UTF-16 code units. UTF-8 has the same order but for one thing: what UTF-16 writes
/// as surrogates (first byte `F0` and above) comes before U+E000 to U+FFFF (`EE` and `EF`).
fn in_utf16(a: &str, b: &str) -> Ordering {
    let rank = |byte: u8| if matches!(byte, 0xEE | 0xEF) { byte + 0x10 } else { byte };
    a.bytes().map(rank).cmp(b.bytes().map(rank))
}

/// An object of the compact text.
struct Object<'a> {
    /// From its brace to after the other.
    place: Range<usize>,
    members: Vec<Member<'a>>,
}

struct Member<'a> {
    key: Cow<'a, str>,
    /// Key and value in the compact text.
    place: Range<usize>,
}

/// JSON text without white space, its keys in the order in which they came. Every byte is looked
/// at once, however deep it stands: an object is put in order where it is written, not here.
struct Compact<'a> {
    rest: &'a str,
    text: String,
    /// Those with several keys.
    objects: Vec<Object<'a>>,
}

impl<'a> Compact<'a> {
    fn document(&mut self) -> Option<()> {
        let first = self.peek()?;
        self.value(first)
    }

    /// A value that begins with this byte.
    fn value(&mut self, first: u8) -> Option<()> {
        match first {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => self.string().map(drop),
            _ => {
                let ends = |b| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
                let length = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
                let literal = self.take(length)?;
                self.text.push_str(literal);
                Some(())
            }
        }
    }

    fn object(&mut self) -> Option<()> {
        let start = self.text.len();
        let mut members = Vec::new();
        self.punctuation('{')?;
        loop {
            match self.peek()? {
                b'}' => break,
                b',' => self.punctuation(',')?,
                _ => {
                    let from = self.text.len();
                    let key = self.string()?;
                    self.peek()?;
                    self.punctuation(':')?;
                    let first = self.peek()?;
                    self.value(first)?;
                    members.push(Member { key, place: from..self.text.len() });
                }
            }
        }
        self.punctuation('}')?;
        if members.len() > 1 {
            self.objects.push(Object { place: start..self.text.len(), members });
        }
        Some(())
    }

    fn array(&mut self) -> Option<()> {
        self.punctuation('[')?;
        loop {
            match self.peek()? {
                b']' => return self.punctuation(']'),
                b',' => self.punctuation(',')?,
                first => self.value(first)?,
            }
        }
    }

    /// Writes a text as `JSON.stringify` does, and returns what it says.
    fn string(&mut self) -> Option<Cow<'a, str>> {
        let mut bytes = self.rest.bytes().enumerate().skip(1);
        let mut escaped = false;
        let end = loop {
            match bytes.next()? {
                (_, b'\\') => {
                    escaped = true;
                    bytes.next()?;
                }
                (index, b'"') => break index,
                _ => {}
            }
        };
        let literal = self.take(end + 1)?;
        if !escaped {
            // Whatever would need an escape cannot stand without one.
            self.text.push_str(literal);
            return literal.get(1..end).map(Cow::Borrowed);
        }
        let text: String = serde_json::from_str(literal).ok()?;
        self.text.push_str(&serde_json::to_string(&text).ok()?);
        Some(Cow::Owned(text))
    }

    /// The next byte that is not white space, left where it is.
    fn peek(&mut self) -> Option<u8> {
        if self.rest.starts_with([' ', '\t', '\r', '\n']) {
            self.rest = self.rest.trim_ascii_start();
        }
        self.rest.bytes().next()
    }

    fn punctuation(&mut self, mark: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(mark)?;
        self.text.push(mark);
        Some(())
    }

    fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Writes a part of the compact text with its objects in order. `objects` come by their start and
/// have their members sorted.
fn write(text: &str, objects: &[Object<'_>], part: Range<usize>, to: &mut String) {
    let copy = |place: Range<usize>, to: &mut String| {
        to.push_str(text.get(place).unwrap_or_default());
    };
    let first_from = |start| objects.partition_point(|object| object.place.start < start);
    let mut at = part.start;
    while let Some(Object { place, members }) =
        objects.get(first_from(at)).filter(|object| object.place.start < part.end)
    {
        copy(at..place.start, to);
        for (index, member) in members.iter().enumerate() {
            to.push(if index == 0 { '{' } else { ',' });
            write(text, objects, member.place.clone(), to);
        }
        to.push('}');
        at = place.end;
    }
    copy(at..part.end, to);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth_and_numbers_kept() {
        for (text, expected) in [
            (
                r#" { "b" : 1.50 , "a" : [ {"d":1,"c":null} , true ] } "#,
                r#"{"a":[{"c":null,"d":1},true],"b":1.50}"#,
            ),
            (r#"{"\u00e9":"\u0041\/\n\u007f"}"#, "{\"é\":\"A/\\n\u{7f}\"}"),
            // U+1F600 sorts before U+FF5E: its first code unit is a surrogate.
            ("{\"\u{ff5e}\":1,\"\u{1f600}\":2}", "{\"\u{1f600}\":2,\"\u{ff5e}\":1}"),
            // An escaped key sorts by what it says.
            (r#"{"b":{"y":[],"x":{}},"\u0061":" , "}"#, r#"{"a":" , ","b":{"x":{},"y":[]}}"#),
            ("[ ]", "[]"),
            (" -1.0E+2 ", "-1.0E+2"),
        ] {
            assert_eq!(to_sorted(text).unwrap(), expected, "{text}");
        }
        for text in [r#"{"a":1,"a":2}"#, r#"[{"b":0,"c":{"a":1,"\u0061":2}}]"#] {
            assert_eq!(to_sorted(text).unwrap_err().code(), "duplicate_key", "{text}");
        }
        for text in ["{", "", "1 2", r#"{"a":1,}"#] {
            assert_eq!(to_sorted(text).unwrap_err().code(), "malformed_body", "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// The same by way of a tree.
    fn slowly(value: &serde_json::Value) -> String {
        use serde_json::Value;
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>());
                let members = members.iter().map(|(key, value)| {
                    format!("{}:{}", serde_json::to_string(key).unwrap(), slowly(value))
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Value::Array(items) => {
                format!("[{}]", items.iter().map(slowly).collect::<Vec<_>>().join(","))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        }
    }

    proptest! {
        #[test]
        fn it_is_what_a_tree_would_be_written_as(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(to_sorted(&pretty).unwrap(), slowly(&value));
        }

        #[test]
        fn keys_compare_as_in_utf16(a in "[a-c\u{d7ff}\u{e000}-\u{ffff}\u{10000}-\u{10010}]{0,4}", b in ".{0,4}") {
            for (a, b) in [(&a, &b), (&b, &a)] {
                prop_assert_eq!(in_utf16(a, b), a.encode_utf16().cmp(b.encode_utf16()));
            }
        }
    }

    /// What stands deep is not read again for each level above it. Compared with the same bytes
    /// at the top, so that it holds on any machine; once for each level would be 32 times as slow.
    #[test]
    fn depth_costs_nothing() {
        let items = "[1],".repeat(1 << 16);
        let body = |depth: usize| {
            let (open, close) = (r#"{"b":1,"a":"#.repeat(depth), "}".repeat(depth));
            format!("{open}[{items}0]{close}")
        };
        let took = |text: &str| {
            let once = |_| {
                let start = Instant::now();
                assert_eq!(to_sorted(text).unwrap().len(), text.len());
                start.elapsed()
            };
            (0..5).map(once).min().unwrap_or(Duration::MAX)
        };
        let (flat, deep) = (took(&body(1)), took(&body(60)));
        assert!(deep < flat * 6, "{deep:?} at depth 60, {flat:?} at the top");
    }
}
