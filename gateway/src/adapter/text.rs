//! Text that a guest wrote. It is untrusted: data to be shown, capped and without controls.

/// As [`tame`], of a text that is nearly always tame as it is.
pub(super) fn tamed(text: String, bytes_max: usize) -> String {
    let is_tame = text.len() <= bytes_max && !text.contains(is_control);
    if is_tame { text } else { tame(&text, bytes_max) }
}

/// `text` without control characters and with at most `bytes_max` bytes, cut between characters.
pub(super) fn tame(text: &str, bytes_max: usize) -> String {
    let mut tamed = String::with_capacity(text.len().min(bytes_max));
    for c in text.chars().map(|c| if is_control(c) { ' ' } else { c }) {
        if tamed.len() + c.len_utf8() > bytes_max {
            break;
        }
        tamed.push(c);
    }
    tamed
}

/// Whether a character acts on a terminal or on the direction of text instead of being shown.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_text_is_cut_between_characters_and_loses_its_controls() {
        for (text, max, expected) in [
            ("plain", 256, "plain"),
            ("a\u{1b}[31mb\r\nc\0", 256, "a [31mb  c "),
            ("x\u{202e}y", 256, "x y"),
            ("éé", 3, "é"),
            ("abc", 0, ""),
        ] {
            assert_eq!(tame(text, max), expected, "{text:?}");
            assert_eq!(tamed(text.to_owned(), max), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_that_is_tame_is_not_copied() {
        let text = "plain".to_owned();
        let allocated = allocation_counter::measure(|| drop(tamed(text, 256)));
        assert_eq!(allocated.count_total, 0);
    }
}
