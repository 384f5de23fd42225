//! `Forwarded` (RFC 7239): elements of parameters, each element added at the end by a proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr as _;

use super::Last;

/// Takes the last element off a line.
///
/// It is found from the end: a quote that somebody left open further to the front does not swallow
/// what a trusted proxy has added behind it. An element that is malformed in any of its parameters,
/// or has no `for`, an obfuscated or an unknown one, is not understood; an empty one stands for
/// nothing.
pub(super) fn last(line: &[u8]) -> Option<Last<'_>> {
    let (before, element) = split_last(line)?;
    let mut address = None;
    let mut is_empty = true;
    for pair in Pairs(Some(element)) {
        let pair = trim(pair?);
        if pair.is_empty() {
            continue;
        }
        is_empty = false;
        let (name, value) = parameter(pair)?;
        if name.eq_ignore_ascii_case(b"for") {
            // Two of them, and nobody knows which is meant.
            if address.replace(node(&value)?).is_some() {
                return None;
            }
        }
    }
    (is_empty || address.is_some()).then_some(Last { address, before })
}

/// The last element and what stands before its comma; `None` where a quote is not closed.
fn split_last(line: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let mut quoted = false;
    for (place, byte) in line.iter().enumerate().rev() {
        match byte {
            b',' if !quoted => return Some((line.get(..place), line.get(place + 1..)?)),
            b'"' if !quoted => quoted = true,
            b'"' => {
                let backslashes = line.get(..place)?.iter().rev().take_while(|b| **b == b'\\');
                quoted = backslashes.count() % 2 == 1;
            }
            _ => {}
        }
    }
    (!quoted).then_some((None, line))
}

/// The parameters of an element, separated by semicolons outside quotes; `None` once a quote is
/// not closed.
struct Pairs<'e>(Option<&'e [u8]>);

impl<'e> Iterator for Pairs<'e> {
    type Item = Option<&'e [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.take()?;
        let mut quoted = false;
        let mut escaped = false;
        for (place, byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b';' if !quoted => {
                    self.0 = rest.get(place + 1..);
                    return rest.get(..place).map(Some);
                }
                _ => {}
            }
        }
        Some((!quoted).then_some(rest))
    }
}

/// `token "=" ( token / quoted-string )`, with the value as it is meant.
fn parameter(pair: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
    is_token(name).then_some(())?;
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return is_token(value).then(|| (name, value.to_vec()));
    };
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.strip_suffix(b"\"")?.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(bytes.next()?),
            _ => text.push(byte),
        }
    }
    Some((name, text))
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// RFC 7239 section 6: an IPv4 address or a bracketed IPv6 address, each perhaps with a port or an
/// obfuscated one. `unknown` and obfuscated names are none.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (address, rest) = text.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (IpAddr::V6(Ipv6Addr::from_str(address).ok()?), port)
        }
        None => {
            let (address, port) = match text.split_once(':') {
                Some((address, port)) => (address, Some(port)),
                None => (text, None),
            };
            (IpAddr::V4(Ipv4Addr::from_str(address).ok()?), port)
        }
    };
    port.is_none_or(is_port).then_some(address)
}

fn is_port(text: &str) -> bool {
    let is_obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_obfuscated),
        None => matches!(text.len(), 1..=5) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a line's last element: `Ok(Some)` an address, `Ok(None)` nothing, `Err` not understood.
    fn read(line: &str) -> Result<Option<String>, ()> {
        let found = last(line.as_bytes()).ok_or(())?;
        Ok(found.address.map(|address| address.to_string()))
    }

    #[track_caller]
    fn check(line: &str, expected: &str) {
        assert_eq!(read(line), Ok(Some(expected.to_owned())), "{line}");
    }

    #[test]
    fn elements_of_the_standard() {
        check("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60");
        check("For=192.0.2.43", "192.0.2.43");
        check("FOR=\"192.0.2.43\"", "192.0.2.43");
        check("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17");
        check("for=\"[2001:db8::1]\"", "2001:db8::1");
        check("for=\"192.0.2.43:47011\"", "192.0.2.43");
        check("for=\"192.0.2.43:_port-1\"", "192.0.2.43");
        check("for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17");
        check("proto=https; for=192.0.2.43 ;host=\"a;b,c\\\"d\"", "192.0.2.43");
        check(";;for=192.0.2.43;", "192.0.2.43");
        check("for=\"\\1\\92.0.2.43\"", "192.0.2.43");
        check("for=\"evil, for=192.0.2.43", "192.0.2.43");
        check("\\\", for=\"192.0.2.43\"", "192.0.2.43");
        for empty in ["", " ", ";", "for=192.0.2.43,", "for=192.0.2.43, ;; "] {
            assert_eq!(read(empty), Ok(None), "{empty:?}");
        }
        for refused in [
            "for=unknown",
            "for=\"unknown:80\"",
            "for=_hidden",
            "for=_SEVKISEK",
            "proto=https",
            "for",
            "for=",
            "=192.0.2.43",
            "for =192.0.2.43",
            "for= 192.0.2.43",
            "192.0.2.43",
            // A colon and brackets stand in quotes only.
            "for=192.0.2.43:80",
            "for=[2001:db8::1]",
            "for=\"2001:db8::1\"",
            "for=\"[fe80::1%eth0]\"",
            "for=\"[2001:db8::1\"",
            "for=\"[2001:db8::1]80\"",
            "for=\"[192.0.2.43]\"",
            "for=\"192.0.2.43:\"",
            "for=\"192.0.2.43:123456\"",
            "for=\"192.0.2.43:_\"",
            "for=\"192.0.2.043\"",
            "for=192.0.2.43;for=192.0.2.44",
            "for=192.0.2.43;broken",
            "for=192.0.2.43;proto=\"http",
            "for=\"192.0.2.43",
            "for=192.0.2.43\"",
            "for=\"192.0.2.43\\\"",
            "for=\"192.0.2.43\"x",
        ] {
            assert_eq!(read(refused), Err(()), "{refused}");
        }
    }

    /// A value that is quoted where it has to be, and sometimes where not.
    fn value() -> impl Strategy<Value = String> {
        let quoted = "[ -~]{0,12}".prop_map(|text: String| {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        });
        prop_oneof!["[a-z0-9._-]{1,8}", quoted]
    }

    fn element() -> impl Strategy<Value = (IpAddr, String)> {
        let others = || prop::collection::vec(("x[a-z]{0,5}", value()), 0..3);
        (any::<IpAddr>(), others(), others()).prop_map(|(address, before, after)| {
            let pair = |(name, value): (String, String)| format!("{name}={value}");
            let mut pairs: Vec<_> = before.into_iter().map(pair).collect();
            pairs.push(match address {
                IpAddr::V4(address) => format!("for={address}"),
                IpAddr::V6(address) => format!("For=\"[{address}]:8080\""),
            });
            pairs.extend(after.into_iter().map(pair));
            (address, pairs.join(";"))
        })
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            last(&line);
        }

        #[test]
        fn likely_text_is_read_without_a_panic(line in "[for=;,\"\\\\\\[\\]:0-9. ]{0,40}") {
            last(line.as_bytes());
        }

        /// However elements are written, and whatever stands before them: each is read from the
        /// end as it was meant.
        #[test]
        fn elements_are_read_from_the_end(
            garbage in "[ -~]{0,20}",
            elements in prop::collection::vec(element(), 1..4),
        ) {
            let texts: Vec<&str> = elements.iter().map(|(_, text)| text.as_str()).collect();
            let line = format!("{garbage}, {}", texts.join(", "));
            let mut rest = line.as_bytes();
            for (address, _) in elements.iter().rev() {
                let found = last(rest);
                let read = found.as_ref().and_then(|found| found.address);
                prop_assert_eq!(read, Some(*address), "{}", line);
                rest = found.and_then(|found| found.before).unwrap_or_default();
            }
            prop_assert_eq!(rest, garbage.as_bytes());
        }
    }
}
