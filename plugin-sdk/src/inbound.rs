use std::borrow::Cow;
use std::cell::OnceCell;

use serde::Deserialize;

use crate::json::{self, Document};
use crate::key::hex;
use crate::{Rejection, host};

/// Byte order mark in UTF-8; some senders put one before their JSON.
const BOM: char = '\u{feff}';

/// Most pairs that become an object: ten times what any provider sends.
pub const PAIRS_MAX: usize = 1000;

/// The HTTP request, before it is believed. Read lazily: each part is fetched from the gateway
/// when it is asked for. Values that carry one of the route's secrets read as `***`.
#[derive(Debug, Default)]
pub struct Inbound {
    body: OnceCell<Vec<u8>>,
    query: OnceCell<Option<String>>,
}

impl Inbound {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn method(&self) -> String {
        host::method()
    }

    /// As received, percent-encoded.
    #[must_use]
    pub fn path(&self) -> String {
        host::path()
    }

    /// As received, without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.get_or_init(host::query).as_deref()
    }

    /// Every value of the header, in order of arrival. Case of the name does not matter.
    ///
    /// `cookie`, `proxy-authorization` and `authorization` read `***` whoever they are meant for,
    /// the last unless the route has a key and it is neither `Basic` nor `Bearer`: a code may be
    /// in it.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<String> {
        host::header(name)
    }

    /// The one value of a header that the request must have, as one that carries a signature.
    ///
    /// For a header that only routes with an optional secret need, ask for the verdict first: a
    /// route without the secret wants no header.
    ///
    /// # Errors
    ///
    /// 401 `header_missing` or `header_repeated`.
    pub fn only_header(&self, name: &str) -> Result<String, Rejection> {
        let mut values = self.header(name).into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => {
                let detail = format!("there is no header `{name}`");
                Err(Rejection::unauthorized("header_missing", detail))
            }
            (Some(_), Some(_)) => {
                let detail = format!("there are several headers `{name}`");
                Err(Rejection::unauthorized("header_repeated", detail))
            }
        }
    }

    /// The names present, in lower case, each once.
    #[must_use]
    pub fn header_names(&self) -> Vec<String> {
        host::header_names()
    }

    /// Address of the client: the peer, or what a trusted proxy says it was.
    #[must_use]
    pub fn client_address(&self) -> String {
        host::client_address()
    }

    /// The body as received; where the call runs again because it asked for a
    /// [redaction](crate::redaction), as it is kept.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.get_or_init(host::body)
    }

    /// SHA-256 of the body as received, in lower-case hexadecimal: for keys made of a whole body.
    /// It stays the same where parts of the body are masked.
    #[must_use]
    pub fn body_digest(&self) -> String {
        hex(&host::body_sha256())
    }

    /// The body as text, without a byte order mark.
    ///
    /// # Errors
    ///
    /// 400 where it is not UTF-8.
    pub fn text(&self) -> Result<&str, Rejection> {
        let text = str::from_utf8(self.body())
            .map_err(|_| Rejection::malformed_body("the body is not UTF-8"))?;
        Ok(text.strip_prefix(BOM).unwrap_or(text))
    }

    /// The body as one JSON object.
    ///
    /// A key that `T` knows may stand only once; one it does not know may repeat. Use
    /// [`Self::json_strict`] for signed bodies.
    ///
    /// # Errors
    ///
    /// 400 where it is not JSON in UTF-8, not an object, nested deeper than
    /// [`json::DEPTH_MAX`], holds half of a surrogate pair, or is not a `T`.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<Document<'a, T>, Rejection> {
        json::read_object(self.text()?)
    }

    /// As [`Self::json`], and no object in it, however deep, may name a key twice: two readers
    /// that keep different ones of them would not agree on what was signed.
    ///
    /// # Errors
    ///
    /// As [`Self::json`]; 400 `duplicate_key` too.
    pub fn json_strict<'a, T: Deserialize<'a>>(&'a self) -> Result<Document<'a, T>, Rejection> {
        json::read_strict_object(self.text()?)
    }

    /// The body as a list of JSON objects, in order, for providers that send several events in one
    /// request. No object in it may name a key twice.
    ///
    /// # Errors
    ///
    /// As [`Self::json_strict`], of the list and of each object in it.
    pub fn json_list<'a, T: Deserialize<'a>>(&'a self) -> Result<Vec<Document<'a, T>>, Rejection> {
        json::read_objects(self.text()?)
    }

    /// The body as `application/x-www-form-urlencoded` pairs, in order. A line's end behind them is
    /// no part of the last.
    ///
    /// # Errors
    ///
    /// 400 where it is not UTF-8, decoded or not, and where there are more than [`PAIRS_MAX`] pairs.
    pub fn form(&self) -> Result<Pairs<'_>, Rejection> {
        let text = form_text(self.text()?);
        if has_too_many_pairs(text) {
            return Err(Rejection::malformed_body("too many fields"));
        }
        Pairs::decode(text).ok_or_else(|| Rejection::malformed_body("the form is not UTF-8"))
    }

    /// The pairs of the query, in order; none where there is no query.
    ///
    /// # Errors
    ///
    /// 400 `malformed_query` where they do not decode to UTF-8, or are more than [`PAIRS_MAX`].
    pub fn query_pairs(&self) -> Result<Pairs<'_>, Rejection> {
        let text = self.query().unwrap_or_default();
        let refused = |why: &str| Rejection::new(400, "malformed_query", why);
        if has_too_many_pairs(text) {
            return Err(refused("too many parameters"));
        }
        Pairs::decode(text).ok_or_else(|| refused("the query is not UTF-8"))
    }
}

/// Decoded names and values of a form or query, in order. Names may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Pairs<'a> {
    /// Decodes pairs joined by `&`: `+` and percent escapes, leniently (a `%` that starts no
    /// escape stands for itself). `None` where the result is not UTF-8.
    #[must_use]
    pub fn decode(text: &'a str) -> Option<Self> {
        text.split('&')
            .filter(|piece| !piece.is_empty())
            .map(|piece| {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                Some((percent_decode(name)?, percent_decode(value)?))
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// The first value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(each, _)| *each == name).map(|(_, value)| value)
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The pairs as the text of a JSON object, for [`json::read_object`] and with it for
    /// [`crate::Event::original`]: names in order, each once. The values of a name that repeats
    /// are a list.
    ///
    /// # Errors
    ///
    /// 400 where there are more than [`PAIRS_MAX`] pairs.
    pub fn to_json(&self) -> Result<String, Rejection> {
        if self.0.len() > PAIRS_MAX {
            return Err(Rejection::malformed_body("too many fields"));
        }
        let mut text = String::with_capacity(16 * self.0.len() + 256);
        text.push('{');
        for (at, (name, value)) in self.iter().enumerate() {
            let (before, after) = self.0.split_at(at);
            if before.iter().any(|(earlier, _)| earlier == name) {
                continue;
            }
            if at > 0 {
                text.push(',');
            }
            push_text(&mut text, name);
            text.push(':');
            let same = || after.iter().filter(|(each, _)| each == name);
            if same().nth(1).is_none() {
                push_text(&mut text, value);
            } else {
                for (index, (_, value)) in same().enumerate() {
                    text.push(if index == 0 { '[' } else { ',' });
                    push_text(&mut text, value);
                }
                text.push(']');
            }
        }
        text.push('}');
        Ok(text)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }
}

/// Pairs that were read elsewhere, as from a multipart body.
impl<'a> FromIterator<(&'a str, &'a str)> for Pairs<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let borrow = |(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value));
        Self(pairs.into_iter().map(borrow).collect())
    }
}

/// Whether `text` has more than [`PAIRS_MAX`] pairs. Asked before any is decoded: a pair of two bytes
/// takes many times as much in memory, and a sandbox that has none left ends as a trap.
pub(crate) fn has_too_many_pairs(text: &str) -> bool {
    text.split('&').filter(|piece| !piece.is_empty()).nth(PAIRS_MAX).is_some()
}

/// A form without the line's end that some senders put behind it. White space that is meant is
/// escaped.
pub(crate) fn form_text(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Writes a text as JSON.
fn push_text(to: &mut String, text: &str) {
    to.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|sign: char| matches!(sign, '"' | '\\') || sign < ' ') {
        let (plain, special) = rest.split_at(at);
        to.push_str(plain);
        let mut signs = special.chars();
        match signs.next() {
            Some(sign @ ('"' | '\\')) => to.extend(['\\', sign]),
            Some(sign) => to.push_str(&format!("\\u{:04x}", u32::from(sign))),
            None => {}
        }
        rest = signs.as_str();
    }
    to.push_str(rest);
    to.push('"');
}

pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => decoded.push(b' '),
            (b'%', &[high, low, ..]) if let Some(byte) = hex_pair(high, low) => {
                decoded.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_decode_as_browsers_write_them() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("", &[]),
            ("a=1&b=&c&&=x", &[("a", "1"), ("b", ""), ("c", ""), ("", "x")]),
            ("n=%2B44+20%20", &[("n", "+44 20 ")]),
            ("p=100%&q=%zz%4", &[("p", "100%"), ("q", "%zz%4")]),
            ("k=a=b", &[("k", "a=b")]),
            ("%C3%A9=%E2%82%AC", &[("é", "€")]),
        ];
        for (text, expected) in cases {
            let pairs = Pairs::decode(text).unwrap();
            assert_eq!(pairs.iter().collect::<Vec<_>>(), *expected, "{text}");
        }
        assert_eq!(Pairs::decode("a=%ff"), None);
    }

    #[test]
    fn a_form_ends_before_the_line_does() {
        for (text, expected) in [
            ("a=1&b=2", "a=1&b=2"),
            ("a=1&b=2\r\n", "a=1&b=2"),
            ("a=1%0A\n\n", "a=1%0A"),
            ("a=1 ", "a=1 "),
            ("\n", ""),
        ] {
            assert_eq!(form_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn pairs_become_an_object_that_names_each_once() {
        for (text, expected) in [
            ("", "{}"),
            ("b=1&a=%22%5C%0A+%F0%9F%98%80", r#"{"b":"1","a":"\"\\\u000a 😀"}"#),
            ("a=1&b=2&a=3&a=", r#"{"a":["1","3",""],"b":"2"}"#),
            ("a&=x", r#"{"a":"","":"x"}"#),
        ] {
            assert_eq!(Pairs::decode(text).unwrap().to_json().unwrap(), expected, "{text}");
        }
        let many = |count: usize| Pairs::decode(&"a&".repeat(count)).unwrap().to_json().is_ok();
        assert!(many(PAIRS_MAX));
        assert!(!many(PAIRS_MAX + 1));
    }

    proptest! {
        #[test]
        fn any_text_decodes_without_panicking(text in ".*") {
            if let Some(pairs) = Pairs::decode(&text) {
                prop_assert!(pairs.len() <= text.len());
                let object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(&pairs.to_json().unwrap()).unwrap();
                for (name, value) in pairs.iter() {
                    let found = object.get(name).unwrap();
                    let all = found.as_array().map_or(std::slice::from_ref(found), Vec::as_slice);
                    prop_assert!(all.iter().any(|each| each == value));
                }
            }
        }
    }
}
