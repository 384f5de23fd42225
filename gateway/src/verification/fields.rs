//! Reading the fields of a head in which credentials travel.

/// A scheme's name, as `Bearer`, is compared without case (RFC 9110 section 11.1).
pub(super) fn after_prefix<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

pub(super) fn pairs(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    })
}

pub(super) fn is_named(raw: &str, name: &str) -> bool {
    raw == name || percent_decode(raw.as_bytes(), true) == name.as_bytes()
}

/// Decodes `%41`; what is no valid escape stays as it is. In a form a `+` is a space.
pub(super) fn percent_decode(text: &[u8], form: bool) -> Vec<u8> {
    if form {
        let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        percent_encoding::percent_decode(&spaced).collect()
    } else {
        percent_encoding::percent_decode(text).collect()
    }
}
