//! Paths of routes: one form, so that no two of them can mean the same request.

use super::super::checked::RoutePath;
use super::super::section::shown;
use super::super::{Location, Problems};

/// Longest path, in bytes; it is a log field and a metric label.
const PATH_BYTES_MAX: usize = 1_024;

/// Stands for the segment that must equal the route's `token` secret.
const TOKEN: &str = "{token}";

pub(in crate::config) fn check(
    at: &Location,
    text: &str,
    problems: &mut Problems,
) -> Option<RoutePath> {
    if let Err((fault, help)) = check_form(text) {
        problems.push(at, format!("{} {fault}", shown(text)), Some(help.to_owned()));
        return None;
    }
    match text.split_once(TOKEN) {
        None => Some(RoutePath::Exact(text.to_owned())),
        Some((prefix, suffix)) => {
            Some(RoutePath::Token { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
        }
    }
}

fn check_form(text: &str) -> Result<(), (&'static str, &'static str)> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(("does not begin with `/`", "as `/hooks/ottu`"));
    };
    if text.len() > PATH_BYTES_MAX {
        return Err(("is too long", "at most 1024 bytes"));
    }
    if text.contains(['?', '#']) {
        return Err(("is more than a path", "the query is the adapter's to read; leave it out"));
    }
    let segments: Vec<&str> = rest.split('/').collect();
    if segments.iter().filter(|segment| **segment == TOKEN).count() > 1 {
        return Err(("has two `{token}` segments", "one at most"));
    }
    let last = segments.len() - 1;
    for (index, segment) in segments.into_iter().enumerate() {
        if segment == TOKEN {
            continue;
        }
        if segment.contains(['{', '}']) {
            return Err((
                "has an unknown placeholder",
                "only `{token}`, as a whole segment: `/in/{token}`",
            ));
        }
        if matches!(segment, "." | "..") || (segment.is_empty() && index < last) {
            return Err((
                "has an empty, `.` or `..` segment",
                "proxies resolve these, so such a request would never arrive",
            ));
        }
        if !is_plain(segment) {
            return Err((
                "has a character that a path cannot carry",
                "percent-encode it, as `%20` for a space",
            ));
        }
    }
    Ok(())
}

/// `pchar` of RFC 3986.
fn is_plain(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let is_plain = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
                hex() && hex()
            }
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
            | b',' | b';' | b'=' | b':' | b'@' => true,
            other => other.is_ascii_alphanumeric(),
        };
        if !is_plain {
            return false;
        }
    }
    true
}

/// Whether some request could match both.
pub(super) fn overlap(a: &RoutePath, b: &RoutePath) -> bool {
    let (a, b) = (written(a), written(b));
    a.split('/').count() == b.split('/').count()
        && a.split('/').zip(b.split('/')).all(|(a, b)| a == b || fills(a, b) || fills(b, a))
}

/// A token is never empty.
fn fills(token: &str, other: &str) -> bool {
    token == TOKEN && !other.is_empty()
}

/// The path as it stands in the file.
pub(super) fn written(path: &RoutePath) -> String {
    match path {
        RoutePath::Exact(path) => path.clone(),
        RoutePath::Token { prefix, suffix } => format!("{prefix}{TOKEN}{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RoutePath, String> {
        let mut problems = Problems::default();
        let path = check(&Location::default(), text, &mut problems);
        path.ok_or_else(|| problems.to_string())
    }

    #[test]
    fn a_path_has_one_form() {
        for good in ["/", "/a", "/hooks/ottu", "/a/", "/a%20b/c", "/{token}", "/in/{token}/x"] {
            assert_eq!(written(&parse(good).unwrap()), good);
        }
        for (bad, expected) in [
            ("", "does not begin with"),
            ("a", "does not begin with"),
            ("//a", "empty, `.` or `..` segment"),
            ("/a//b", "empty, `.` or `..` segment"),
            ("/a/../b", "empty, `.` or `..` segment"),
            ("/a?b=c", "more than a path"),
            ("/a b", "cannot carry"),
            ("/ä", "cannot carry"),
            ("/a%2", "cannot carry"),
            ("/a%zz", "cannot carry"),
            ("/{id}", "unknown placeholder"),
            ("/x{token}", "unknown placeholder"),
            ("/{token}/{token}", "two `{token}`"),
        ] {
            let told = parse(bad).unwrap_err();
            assert!(told.contains(expected), "{bad}: {told}");
        }
        assert!(parse(&format!("/{}", "a".repeat(1_024))).unwrap_err().contains("too long"));
    }

    #[test]
    fn paths_overlap_where_one_request_could_match_both() {
        for (a, b, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", false),
            ("/a", "/b", false),
            ("/in/{token}", "/in/{token}", true),
            ("/in/{token}", "/in/health", true),
            ("/in/{token}", "/in/", false),
            ("/in/{token}", "/in/a/b", false),
            ("/in/{token}/b", "/in/a/{token}", true),
            ("/in/{token}/b", "/in/{token}/c", false),
        ] {
            let (a, b) = (parse(a).unwrap(), parse(b).unwrap());
            assert_eq!(overlap(&a, &b), expected, "{a:?} {b:?}");
            assert_eq!(overlap(&b, &a), expected, "{b:?} {a:?}");
        }
    }
}
