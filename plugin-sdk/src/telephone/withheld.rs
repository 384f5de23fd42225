//! Callers who do not want to be known, in every spelling that telephone systems have for it.

/// What displays show instead of a number. Any text with one of these words is no number.
const WORDS: [&str; 7] =
    ["anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"];

/// `ANONYMOUS`, `RESTRICTED` and `UNAVAILABLE` on a keypad: carriers send these for a number, with
/// or without `+`. As numbers they would be equal, and one caller would pass for another.
const KEYPAD: [&str; 3] = ["266696687", "7378742833", "86282452253"];

/// `BLOCKED`, `PRIVATE`, `UNKNOWN` and `WITHHELD` on a keypad. Only after a `+`: there they are no
/// number of any country, while some small countries have national numbers like them.
const KEYPAD_AFTER_PLUS: [&str; 4] = ["2562533", "7748483", "8656696", "94844353"];

/// Whether the text has one of the words, in any case.
pub(super) fn is_spelt_out(text: &str) -> bool {
    // Most texts are digits, and have no letter to look at.
    text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && WORDS.iter().any(|word| {
            text.as_bytes()
                .windows(word.len())
                .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
        })
}

/// Whether the digits spell one of the words on a keypad.
pub(super) fn is_keyed(digits: &str, plus: bool) -> bool {
    KEYPAD.contains(&digits) || (plus && KEYPAD_AFTER_PLUS.contains(&digits))
}
