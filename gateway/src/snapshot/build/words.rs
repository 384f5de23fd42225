//! Words of a guest in messages for operators.

use crate::adapter::LoadError;
use crate::telemetry::chain;

/// Longest text of a guest in a message. What to do about it stands at the end of the longest ones.
const GUEST_TEXT_BYTES_MAX: usize = 512;

/// A guest's text for a message: short, on one line.
pub(super) fn untrusted(text: &str) -> String {
    let mut end = text.len().min(GUEST_TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = text.get(..end).unwrap_or_default();
    let plain: String = cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if end < text.len() { format!("{plain}…") } else { plain }
}

/// A load error in one line with its causes.
pub(super) fn told(error: &LoadError) -> String {
    untrusted(&chain(error))
}
