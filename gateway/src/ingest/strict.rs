//! The strict request layer: what RFC 9112 has a server refuse and hyper lets pass.
//!
//! Pure: it sees a parsed head and decides. What the parser itself refuses never comes here, and
//! what it hides cannot be judged here: a `Content-Length` beside `Transfer-Encoding` (the length
//! is dropped and the connection closed after the answer), a fragment (cut), a bare line feed.
//! `tests/data/http1.tsv` states for every case what a sender gets.

use http::header::{self, HeaderMap};
use http::{Method, StatusCode, Uri, Version};

/// Why a head is refused before anything is looked up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    /// For the operator.
    pub(super) detail: &'static str,
}

const fn bad(detail: &'static str) -> Fault {
    Fault { status: StatusCode::BAD_REQUEST, detail }
}

/// Headers that somebody on the way believes. A twin spelt with underscores (`content_length`)
/// reads like one of them to software that maps names to variables, and like another to the rest.
const GUARDED: [&str; 16] = [
    "cf-connecting-ip",
    "content-encoding",
    "content-length",
    "content-type",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-http-method-override",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// `x-forwarded-for`, `-host`, `-proto`, `-port`, `-prefix` and whatever else is in use.
const GUARDED_PREFIX: &str = "x-forwarded-";

/// Decides whether a head is one that this gateway serves at all.
///
/// # Errors
///
/// The status to answer, and why.
pub(super) fn check(
    method: &Method,
    uri: &Uri,
    version: Version,
    headers: &HeaderMap,
) -> Result<(), Fault> {
    check_host(version, headers)?;
    check_target(method, uri, headers)?;
    if version == Version::HTTP_2 {
        check_http2(headers)?;
    }
    check_transfer_encoding(headers)?;
    if has_twin(headers, |name| GUARDED.contains(&name) || name.starts_with(GUARDED_PREFIX)) {
        return Err(bad("a header with underscores reads like one that is believed"));
    }
    check_expectation(headers)
}

/// RFC 9113 section 8.2: what h2 lets pass. In HTTP/1.1 the space around a value is not part of it.
fn check_http2(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(bad("a transfer coding in HTTP/2"));
    }
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &[u8]| space(value.first()) || space(value.last());
    if headers.values().any(|value| padded(value.as_bytes())) {
        return Err(bad("space around a header's value in HTTP/2"));
    }
    Ok(())
}

/// Whether a name with underscores would be one of `guarded` with hyphens.
pub(super) fn has_twin(headers: &HeaderMap, guarded: impl Fn(&str) -> bool) -> bool {
    headers
        .keys()
        .map(header::HeaderName::as_str)
        .filter(|name| name.contains('_'))
        .any(|name| guarded(&name.replace('_', "-")))
}

/// RFC 9112 section 3.2: exactly one `Host` in HTTP/1.1, at most one before, and a valid one.
fn check_host(version: Version, headers: &HeaderMap) -> Result<(), Fault> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_10 => Ok(()),
        (None, _) => Err(bad("no host header")),
        (Some(_), Some(_)) => Err(bad("more than one host header")),
        (Some(host), None) if is_authority(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(bad("the host header is not a host")),
    }
}

/// The characters of RFC 3986 `host [ ":" port ]`, and at least one of them.
fn is_authority(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~%:[]!$&'()*+;=".contains(b))
}

/// RFC 9112 section 3.2: origin-form, or absolute-form that agrees with `Host`. A gateway is no
/// tunnel and no forward proxy.
fn check_target(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
    if *method == Method::CONNECT {
        return Err(bad("the method CONNECT"));
    }
    let Some(authority) = uri.authority() else {
        let path = uri.path();
        let asterisk = path == "*" && *method == Method::OPTIONS;
        return if path.starts_with('/') || asterisk { Ok(()) } else { Err(bad("no path")) };
    };
    match uri.scheme_str() {
        None => return Err(bad("a target in authority-form")),
        Some("http" | "https") => {}
        Some(_) => return Err(bad("a target of another scheme")),
    }
    let agrees = headers
        .get(header::HOST)
        .is_none_or(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
    if !agrees || authority.as_str().contains('@') {
        return Err(bad("an absolute target that is not the host"));
    }
    // In HTTP/2 the path is told apart from the rest, and may be anything.
    let asterisk = uri.path() == "*" && *method == Method::OPTIONS;
    if uri.path().starts_with('/') || asterisk { Ok(()) } else { Err(bad("no path")) }
}

/// RFC 9112 section 6.1 knows more codings than `chunked`; nobody who sends webhooks uses one,
/// and every further form is one that two parsers may read differently.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Fault> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad("a transfer coding other than one `chunked`")),
    }
}

/// RFC 9110 section 10.1.1. hyper sends `100 Continue` when the body is first read, which happens
/// only after path, method and declared size were found good.
fn check_expectation(headers: &HeaderMap) -> Result<(), Fault> {
    let known = headers
        .get_all(header::EXPECT)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let fault = Fault { status: StatusCode::EXPECTATION_FAILED, detail: "an unknown expectation" };
    if known { Ok(()) } else { Err(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a request of HTTP/1.1; `host` is added unless a header says otherwise.
    fn judge(method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                header::HeaderName::try_from(*name).unwrap(),
                header::HeaderValue::try_from(*value).unwrap(),
            );
        }
        let method = Method::try_from(method).unwrap();
        let target = target.parse::<Uri>().unwrap();
        match check(&method, &target, Version::HTTP_11, &map) {
            Ok(()) => 200,
            Err(fault) => fault.status.as_u16(),
        }
    }

    #[test]
    fn hosts() {
        let one = ("host", "a.example:8080");
        assert_eq!(judge("POST", "/", &[one]), 200);
        assert_eq!(judge("POST", "/", &[("host", "[::1]:80")]), 200);
        assert_eq!(judge("POST", "/", &[]), 400);
        assert_eq!(judge("POST", "/", &[one, one]), 400);
        for bad in ["", "a b", "a/b", "u@a", "a,b", "a#b", "a?b", "a\\b"] {
            assert_eq!(judge("POST", "/", &[("host", bad)]), 400, "{bad:?}");
        }
        let http_10 =
            check(&Method::POST, &Uri::from_static("/"), Version::HTTP_10, &HeaderMap::new());
        assert_eq!(http_10, Ok(()));
    }

    #[test]
    fn targets() {
        let host = [("host", "a:1")];
        for (method, target, expected) in [
            ("GET", "/", 200),
            ("GET", "/x?y", 200),
            ("OPTIONS", "*", 200),
            ("GET", "*", 400),
            ("GET", "evil:80", 400),
            ("CONNECT", "a:1", 400),
            ("CONNECT", "/", 400),
            ("GET", "http://a:1/x", 200),
            ("GET", "http://A:1/x", 200),
            ("GET", "http://b:1/x", 400),
            ("GET", "http://a/x", 400),
            ("GET", "http://u@a:1/x", 400),
            ("GET", "ftp://a:1/x", 400),
        ] {
            assert_eq!(judge(method, target, &host), expected, "{method} {target}");
        }
        // HTTP/1.0 may send an absolute target without a host; credentials in it are refused.
        let uri = Uri::from_static("http://u@a/x");
        assert!(check(&Method::GET, &uri, Version::HTTP_10, &HeaderMap::new()).is_err());
    }

    #[test]
    fn http_2_has_a_path_no_transfer_coding_and_no_space_around_values() {
        let judge = |method: Method, uri: &'static str, more: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in [&[("host", "a:1")], more].concat() {
                headers.append(name, http::HeaderValue::from_static(value));
            }
            check(&method, &Uri::from_static(uri), Version::HTTP_2, &headers).is_ok()
        };
        let with = |name, value| judge(Method::POST, "https://a:1/x", &[(name, value)]);
        assert!(judge(Method::POST, "https://a:1/x", &[]));
        assert!(!judge(Method::POST, "https://b:1/x", &[]));
        assert!(!judge(Method::CONNECT, "a:1", &[]));
        assert!(!with("transfer-encoding", "chunked"));
        for (value, expected) in
            [("", true), ("a b", true), (" a", false), ("a ", false), ("\ta", false), ("\t", false)]
        {
            assert_eq!(with("x", value), expected, "{value:?}");
        }
    }

    #[test]
    fn codings_expectations_and_twins() {
        let with = |name, value| judge("POST", "/", &[("host", "a"), (name, value)]);
        assert_eq!(with("transfer-encoding", "chunked"), 200);
        assert_eq!(with("transfer-encoding", "Chunked"), 200);
        for coding in ["gzip, chunked", "identity", "chunked, chunked", " chunked;q=1", ""] {
            assert_eq!(with("transfer-encoding", coding), 400, "{coding:?}");
        }
        let chunked = ("transfer-encoding", "chunked");
        assert_eq!(judge("POST", "/", &[("host", "a"), chunked, chunked]), 400);

        assert_eq!(with("expect", "100-Continue"), 200);
        assert_eq!(with("expect", "200-ok"), 417);
        assert_eq!(with("expect", ""), 417);

        for twin in ["content_length", "Transfer_Encoding", "x_forwarded_for", "x-forwarded_host"] {
            assert_eq!(with(twin, "1"), 400, "{twin}");
        }
        assert_eq!(with("my_own_header", "1"), 200);
    }

    proptest::proptest! {
        #[test]
        fn only_a_host_of_authority_characters_passes(host in "[ -~]{0,20}") {
            let plain = !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%:[]!$&'()*+;=".contains(&b));
            let expected = if plain { 200 } else { 400 };
            proptest::prop_assert_eq!(judge("POST", "/", &[("host", &host)]), expected);
        }
    }
}
