//! State as JSON lines: a head, a line for each entry, and a last line that counts them.
//!
//! ```text
//! {"sluice_state":1,"adapter":"payouts","state_version":1}
//! {"key":"call/7","json":{"cents":1250},"expires_at":"2026-01-02T03:04:05.678Z"}
//! {"entries":1}
//! ```
//!
//! A key is text where it is UTF-8 (`key`), else `key_base64`. A value stands as it is where it is
//! JSON on one line (`json`), as `text` where it is UTF-8, and else as `base64`; so what is read back
//! is to the byte what was written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::model::{
    STATE_KEY_BYTES_MAX, STATE_VALUE_BYTES_MAX, StateEntry, StateVersion, UnixMillis,
};

/// The format that is written, and the only one that is read.
pub(super) const FORMAT: u32 = 1;

/// Bytes of a line that are read: the longest value as text of which every byte is escaped, with its
/// key.
pub(super) const LINE_BYTES_MAX: usize = 6 * (STATE_VALUE_BYTES_MAX + STATE_KEY_BYTES_MAX) + 256;

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) sluice_state: u32,
    pub(super) adapter: String,
    pub(super) state_version: u32,
}

/// The last line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Foot {
    pub(super) entries: u64,
}

/// One entry, as a line or in a page.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// `null` is a value as any other.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    json: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

impl From<StateEntry> for EntryLine {
    fn from(entry: StateEntry) -> Self {
        let (key, key_base64) = text_or_base64(entry.key);
        let json = one_line_of_json(&entry.value);
        let (text, base64) = match json {
            Some(_) => (None, None),
            None => text_or_base64(entry.value),
        };
        let expires_at = entry.expires_at.map(|at| at.to_string());
        Self { key, key_base64, json, text, base64, expires_at }
    }
}

fn text_or_base64(bytes: Vec<u8>) -> (Option<String>, Option<String>) {
    match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    }
}

/// The value, where it is JSON whose very bytes can stand in a line.
fn one_line_of_json(value: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(value).ok()?;
    if text.contains(['\n', '\r']) {
        return None;
    }
    let json: Box<RawValue> = serde_json::from_str(text).ok()?;
    // Blanks around it would be lost.
    (json.get().len() == text.len()).then_some(json)
}

impl EntryLine {
    /// Reads a line; says in words for an operator what is wrong with it.
    pub(super) fn parse(line: &[u8]) -> Result<StateEntry, String> {
        let line: Self = serde_json::from_slice(line).map_err(|error| {
            format!("this is not an entry ({error}); export the state again, or correct the line")
        })?;
        line.entry()
    }

    fn entry(self) -> Result<StateEntry, String> {
        let Self { key, key_base64, json, text, base64, expires_at } = self;
        let key = match (key, key_base64) {
            (Some(key), None) => key.into_bytes(),
            (None, Some(key)) => decoded("key_base64", &key)?,
            _ => return Err("an entry has either `key` or `key_base64`".to_owned()),
        };
        let value = match (json, text, base64) {
            (Some(json), None, None) => json.get().as_bytes().to_vec(),
            (None, Some(text), None) => text.into_bytes(),
            (None, None, Some(value)) => decoded("base64", &value)?,
            _ => return Err("an entry has one of `json`, `text` and `base64`".to_owned()),
        };
        if key.is_empty() || key.len() > STATE_KEY_BYTES_MAX {
            let bytes = key.len();
            return Err(format!(
                "a key has 1 to {STATE_KEY_BYTES_MAX} bytes, this one has {bytes}"
            ));
        }
        if value.len() > STATE_VALUE_BYTES_MAX {
            let bytes = value.len();
            return Err(format!(
                "a value has at most {STATE_VALUE_BYTES_MAX} bytes, this one has {bytes}"
            ));
        }
        let expires_at = expires_at.as_deref().map(time).transpose()?;
        Ok(StateEntry { key, value, expires_at, version: StateVersion::default() })
    }
}

fn decoded(name: &str, text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("`{name}` is not base64 with padding ({error})"))
}

fn time(text: &str) -> Result<UnixMillis, String> {
    let wrong = || format!("`expires_at` is a time as `2026-01-02T03:04:05.678Z`, got: `{text}`");
    let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(time.as_millisecond()).map(UnixMillis).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: &[u8], value: &[u8], expires_at: Option<u64>) -> StateEntry {
        StateEntry {
            key: key.to_vec(),
            value: value.to_vec(),
            expires_at: expires_at.map(UnixMillis),
            version: StateVersion::default(),
        }
    }

    fn line(entry: StateEntry) -> String {
        serde_json::to_string(&EntryLine::from(entry)).unwrap()
    }

    #[test]
    fn what_can_be_read_is_readable() {
        let time = Some(1_718_452_295_807);
        for (entry, expected) in [
            (
                entry(b"call/7", br#"{"b":1.10,"a":[2]}"#, time),
                r#"{"key":"call/7","json":{"b":1.10,"a":[2]},"expires_at":"2024-06-15T11:51:35.807Z"}"#,
            ),
            (entry(b"k\0", b"null", None), r#"{"key":"k\u0000","json":null}"#),
            (entry(b"k", b"{\"a\":\n1}", None), r#"{"key":"k","text":"{\"a\":\n1}"}"#),
            (entry(b"k", b" 1", None), r#"{"key":"k","text":" 1"}"#),
            (entry(b"k", b"", None), r#"{"key":"k","text":""}"#),
            (entry(&[0xff, 1], &[0, 0xc3], None), r#"{"key_base64":"/wE=","base64":"AMM="}"#),
        ] {
            assert_eq!(line(entry.clone()), expected);
            assert_eq!(EntryLine::parse(expected.as_bytes()), Ok(entry));
        }
    }

    proptest! {
        #[test]
        fn every_entry_is_read_back_to_the_byte(
            key in prop::collection::vec(any::<u8>(), 1..40),
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                r#"[ \n]?(\{"a":(1|-0.0|1e400|"\\u0000|é")\}|\[\]|"x"|true)[ ]?"#
                    .prop_map(String::into_bytes),
            ],
            expires_at in prop::option::of(0_u64..253_402_300_799_999),
        ) {
            let entry = entry(&key, &value, expires_at);
            let line = line(entry.clone());
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(EntryLine::parse(line.as_bytes()), Ok(entry));
        }
    }

    #[test]
    fn the_longest_entry_fits_a_line() {
        let longest = entry(&[1; STATE_KEY_BYTES_MAX], &[1; STATE_VALUE_BYTES_MAX], Some(u64::MAX));
        assert!(line(longest).len() <= LINE_BYTES_MAX);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        let long = "k".repeat(STATE_KEY_BYTES_MAX + 1);
        let large = "v".repeat(STATE_VALUE_BYTES_MAX + 1);
        for (line, said) in [
            ("{", "not an entry"),
            (r#"{"key":"k","json":1,"ttl":3}"#, "unknown field `ttl`"),
            (r#"{"key":"k","json":1,"json":2}"#, "duplicate field"),
            (r#"{"key":"k","key_base64":"aw==","json":1}"#, "either `key` or `key_base64`"),
            (r#"{"json":1}"#, "either `key` or `key_base64`"),
            (r#"{"key":"k"}"#, "one of `json`, `text` and `base64`"),
            (r#"{"key":"k","json":1,"text":"1"}"#, "one of `json`, `text` and `base64`"),
            (r#"{"key":"k","base64":"a"}"#, "not base64"),
            (r#"{"key":"","json":1}"#, "1 to 512 bytes, this one has 0"),
            (r#"{"key":"k","json":1,"expires_at":"soon"}"#, "got: `soon`"),
            (r#"{"key":"k","json":1,"expires_at":"1969-01-01T00:00:00Z"}"#, "got: `1969"),
            (&format!(r#"{{"key":"{long}","json":1}}"#), "this one has 513"),
            (&format!(r#"{{"key":"k","text":"{large}"}}"#), "this one has 65537"),
        ] {
            let told = EntryLine::parse(line.as_bytes()).unwrap_err();
            assert!(told.contains(said), "{line}: {told}");
        }
    }
}
