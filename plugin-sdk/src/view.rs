//! Views: what an adapter answers operators. Lists come in pages.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Rejection;

/// Rows of a page where none are asked for.
const ROWS: u32 = 50;

/// Most rows of a page.
const ROWS_MAX: u32 = 200;

/// Which page: the parameters of a view that takes no others.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// Rows of the page, from 1 to 200.
    pub limit: Option<u32>,
    /// `next` of the page before; absent: the first page.
    pub after: Option<String>,
}

/// A page of rows.
#[derive(Clone, Debug, Serialize)]
pub struct Rows<T> {
    pub rows: Vec<T>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Reads the parameters of a view.
///
/// # Errors
///
/// 400 `bad_parameters`.
pub fn parameters<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Rejection> {
    serde_json::from_str(text).map_err(|error| wrong(error.to_string()))
}

/// Rows of a page, from 1 to 200; 50 where none are asked for.
///
/// # Errors
///
/// 400 `bad_parameters`.
pub fn limit(asked: Option<u32>) -> Result<u32, Rejection> {
    match asked.unwrap_or(ROWS) {
        limit @ 1..=ROWS_MAX => Ok(limit),
        _ => Err(wrong("`limit` is from 1 to 200")),
    }
}

/// Where the page after `found` begins: behind its last row, whose `place` it is. Nowhere where
/// fewer were found than the `limit`.
pub fn next<T>(found: &[T], limit: u32, place: impl FnOnce(&T) -> String) -> Option<String> {
    let full = u32::try_from(found.len()).is_ok_and(|rows| rows == limit);
    found.last().filter(|_| full).map(place)
}

/// The answer as JSON.
///
/// # Errors
///
/// 500 where it cannot be written: a mistake in the adapter.
pub fn answer(answer: &impl Serialize) -> Result<String, Rejection> {
    serde_json::to_string(answer)
        .map_err(|error| Rejection::new(500, "unwritable", error.to_string()))
}

/// 400 `bad_parameters`.
pub fn wrong(detail: impl Into<String>) -> Rejection {
    Rejection::new(400, "bad_parameters", detail)
}

/// 400 `bad_parameters`: the parameter `after` was not told as `next`.
#[must_use]
pub fn not_a_place() -> Rejection {
    wrong("`after` is not the `next` of a page")
}

/// 404 `no_such_view`.
#[must_use]
pub fn unknown() -> Rejection {
    Rejection::new(404, "no_such_view", "there is no view of this name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_bounds_and_full_ones_a_next() {
        for (asked, rows) in [(None, 50), (Some(1), 1), (Some(200), 200)] {
            assert_eq!(limit(asked).unwrap(), rows);
        }
        for asked in [0, 201, u32::MAX] {
            assert_eq!(limit(Some(asked)).unwrap_err().status(), 400);
        }
        assert_eq!(next(&[1, 2], 2, u8::to_string).as_deref(), Some("2"));
        assert_eq!(next(&[1, 2], 3, u8::to_string), None);
        assert_eq!(next(&[], 1, u8::to_string), None);
    }

    #[test]
    fn unknown_parameters_are_refused() {
        let page: Page = parameters(r#"{"limit":7,"after":"x"}"#).unwrap();
        assert_eq!((page.limit, page.after.as_deref()), (Some(7), Some("x")));
        for text in [r#"{"limits":7}"#, "7", "", r#"{"limit":-1}"#] {
            assert_eq!(parameters::<Page>(text).unwrap_err().code(), "bad_parameters", "{text}");
        }
    }
}
