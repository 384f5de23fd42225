//! JSON as providers send it: kept exactly, read leniently.

mod loose;
mod object;
mod reader;
mod scan;
mod sorted;

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use loose::{Loose, Unreadable};
pub use object::Object;
pub use reader::Reader;
pub use sorted::to_sorted;

use crate::Rejection;

/// Deepest nesting that is read. Everything behind the adapter can still read it when it stands
/// inside an event.
pub const DEPTH_MAX: usize = 64;

/// The text of a JSON object, checked to be one: what [`crate::Event::original`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original<'a>(&'a str);

impl<'a> Original<'a> {
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    #[cfg(test)]
    pub(crate) const fn for_tests(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Original<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A JSON object, read as `T`, with its text.
#[derive(Clone, Debug)]
pub struct Document<'a, T> {
    pub value: T,
    pub original: Original<'a>,
}

/// Reads one JSON object from `text`.
///
/// # Errors
///
/// 400 `malformed_body`, as [`crate::Inbound::json`] says. The detail holds a position and
/// nothing of the text.
pub fn read_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Document<'a, T>, Rejection> {
    read_checked(text, |_| Ok(()))
}

/// As [`read_object`], and no object in it, however deep, may name a key twice.
///
/// # Errors
///
/// As [`read_object`]; 400 `duplicate_key` too.
pub fn read_strict_object<'a, T: Deserialize<'a>>(
    text: &'a str,
) -> Result<Document<'a, T>, Rejection> {
    read_checked(text, refuse_duplicate_keys)
}

fn read_checked<'a, T: Deserialize<'a>>(
    text: &'a str,
    check: impl FnOnce(&str) -> Result<(), Rejection>,
) -> Result<Document<'a, T>, Rejection> {
    let text = text.trim_ascii();
    scan::check(text).map_err(Rejection::malformed_body)?;
    if !text.starts_with('{') {
        return Err(Rejection::malformed_body("the body is not a JSON object"));
    }
    // First, since a `T` complains of a key twice only where it knows the key, and otherwise.
    check(text)?;
    let value = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    Ok(Document { value, original: Original(text) })
}

/// Reads a list of JSON objects from `text`, each as [`read_strict_object`] does.
///
/// # Errors
///
/// As [`read_strict_object`], of the list and of each object.
pub fn read_objects<'a, T: Deserialize<'a>>(
    text: &'a str,
) -> Result<Vec<Document<'a, T>>, Rejection> {
    let text = text.trim_ascii();
    scan::check(text).map_err(Rejection::malformed_body)?;
    if !text.starts_with('[') {
        return Err(Rejection::malformed_body("the body is not a list of JSON objects"));
    }
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    items.into_iter().map(|item| read_strict_object(item.get())).collect()
}

/// Refuses JSON text in which any object names a key twice. Of text that is not JSON it may say
/// anything.
///
/// # Errors
///
/// 400 `duplicate_key`.
pub fn refuse_duplicate_keys(text: &str) -> Result<(), Rejection> {
    if scan::has_duplicate_keys(text) { Err(duplicate_key()) } else { Ok(()) }
}

fn duplicate_key() -> Rejection {
    Rejection::new(400, "duplicate_key", "an object names a key twice")
}

/// What serde says may quote the text, so only the position is told.
fn malformed(error: &serde_json::Error) -> Rejection {
    let what = if error.is_data() { "is not as expected" } else { "is not JSON" };
    Rejection::malformed_body(format!(
        "the body {what} at line {}, column {}",
        error.line(),
        error.column()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loose;

    #[derive(Debug, Deserialize)]
    struct One<'a> {
        #[serde(borrow, default)]
        a: Loose<'a>,
    }

    #[test]
    fn a_list_of_objects_keeps_each_as_it_came() {
        let text = " [{\"a\": 1.50}, {\"b\":[{}]} ]\n";
        let found = read_objects::<One<'_>>(text).unwrap();
        let told: Vec<_> =
            found.iter().map(|each| (each.value.a.literal(), each.original.as_str())).collect();
        assert_eq!(told, [(Some("1.50"), "{\"a\": 1.50}"), (None, "{\"b\":[{}]}")]);
        assert!(read_objects::<One<'_>>("[]").unwrap().is_empty());
        for (text, code) in [
            ("{}", "malformed_body"),
            ("[1]", "malformed_body"),
            ("[{}", "malformed_body"),
            ("[{\"x\":1,\"x\":2}]", "duplicate_key"),
            (&format!("[{}{}]", "[".repeat(80), "]".repeat(80)), "malformed_body"),
        ] {
            assert_eq!(read_objects::<One<'_>>(text).unwrap_err().code(), code, "{text}");
        }
    }
}
