//! Who may call: the bearer token, how often it may be guessed, and under which name.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq as _};

use super::problem::Problem;
use super::{AdminState, Shared};
use crate::model::UnixMillis;

/// Wrong tokens from one address within [`FAILURE_WINDOW`] that are told of; further ones are only told
/// to come later. The right token always passes: who guesses is often at the same address as who
/// knows it, on the same machine or behind the same proxy, and must not lock them out. Guessing at
/// full speed comes to nothing with a token of 16 bytes or more.
const FAILURES_MAX: u32 = 10;

const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// Addresses that failures are counted for; beyond, the oldest is forgotten.
const ADDRESSES_MAX: usize = 1_024;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

/// Lets a call pass that carries the token.
pub(super) async fn require_token(
    State(admin): State<Shared>,
    Extension(Client(client)): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let now = admin.state.clock.now();
    let presented = bearer(request.headers());
    if presented.is_some_and(|token| is_token(&admin.state, token, now)) {
        return next.run(request).await;
    }
    if let Some(wait) = admin.failures.blocked(client, now) {
        return Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many wrong tokens came from this address",
        )
        .with_header(header::RETRY_AFTER, wait.as_secs().saturating_add(1))
        .into_response();
    }
    if presented.is_some() {
        // A call without any token is a mistake and no guess.
        admin.failures.note(client, now);
        tracing::warn!(%client, "A wrong admin token was presented.");
    }
    Problem::new(StatusCode::UNAUTHORIZED, "this endpoint wants `authorization: Bearer <token>`")
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
        .into_response()
}

/// The token of the one `authorization` header, if it has the scheme `Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    let only = values.next().is_none();
    (only && scheme.eq_ignore_ascii_case(b"bearer ")).then_some(token.trim_ascii())
}

/// Compares digests, so that neither the content nor the length of a token shows in the time, and
/// all versions, so that it does not show which was near.
fn is_token(state: &AdminState, presented: &[u8], now: UnixMillis) -> bool {
    let presented = digest(&SHA256, presented);
    let token = state.token.load();
    let matched = token.active(now).fold(Choice::from(0), |matched, (_, version)| {
        matched | digest(&SHA256, version.expose()).as_ref().ct_eq(presented.as_ref())
    });
    matched.into()
}

/// On a loopback listener, refuses calls under a foreign name: a web page whose name was made to
/// point here (DNS rebinding) can send those, and no others.
pub(super) async fn require_own_host(
    State(admin): State<Shared>,
    request: Request,
    next: Next,
) -> Response {
    if admin.loopback.load(Ordering::Relaxed) && !is_own_host(request.headers()) {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "the admin listener is on loopback and answers only to `localhost` or an address as \
             the host",
        )
        .into_response();
    }
    next.run(request).await
}

fn is_own_host(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (values.next(), values.next()) else {
        return false;
    };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = authority.host().to_ascii_lowercase();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || literal.parse::<IpAddr>().is_ok()
}

/// Counts wrong tokens by address.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<BTreeMap<IpAddr, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    since: UnixMillis,
    count: u32,
}

impl Failures {
    /// How long wrong tokens from there are still told to come later, where they are.
    fn blocked(&self, client: IpAddr, now: UnixMillis) -> Option<Duration> {
        let windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get(&network(client))?;
        let left = FAILURE_WINDOW.checked_sub(now.since(window.since))?;
        (window.count >= FAILURES_MAX && !left.is_zero()).then_some(left)
    }

    fn note(&self, client: IpAddr, now: UnixMillis) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = network(client);
        if !windows.contains_key(&key) && windows.len() >= ADDRESSES_MAX {
            let oldest = windows.iter().min_by_key(|(_, window)| window.since);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                windows.remove(&oldest);
            }
        }
        let window = windows.entry(key).or_insert(Window { since: now, count: 0 });
        if now.since(window.since) >= FAILURE_WINDOW {
            *window = Window { since: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
    }
}

/// What one guesser has at will: an IPv4 address, or a /64 of IPv6.
const fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_block_an_address_for_the_rest_of_the_minute() {
        let failures = Failures::default();
        let (guesser, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let start = UnixMillis(1_000_000);
        for _ in 0..FAILURES_MAX {
            assert_eq!(failures.blocked(guesser, start), None);
            failures.note(guesser, start);
        }
        let later = start.after(Duration::from_secs(20));
        assert_eq!(failures.blocked(guesser, later), Some(Duration::from_secs(40)));
        assert_eq!(failures.blocked(other, later), None);
        let next = start.after(FAILURE_WINDOW);
        assert_eq!(failures.blocked(guesser, next), None);
        failures.note(guesser, next);
        assert_eq!(failures.blocked(guesser, next), None);
    }

    #[test]
    fn a_whole_ipv6_network_is_one_guesser_and_the_table_is_bounded() {
        let failures = Failures::default();
        for n in 0..FAILURES_MAX {
            failures.note(address(&format!("2001:db8::{n:x}")), UnixMillis(5));
        }
        assert!(failures.blocked(address("2001:db8::ffff"), UnixMillis(5)).is_some());
        assert!(failures.blocked(address("2001:db8:0:1::1"), UnixMillis(5)).is_none());
        for n in 0..ADDRESSES_MAX + 10 {
            let n = u32::try_from(n).unwrap();
            failures.note(IpAddr::from(n.to_be_bytes()), UnixMillis(6));
        }
        assert_eq!(failures.0.lock().unwrap().len(), ADDRESSES_MAX);
        assert!(failures.blocked(address("2001:db8::ffff"), UnixMillis(6)).is_none());
    }

    #[test]
    fn only_one_bearer_header_is_a_token() {
        for (values, expected) in [
            (&["Bearer abc"][..], Some("abc")),
            (&["bEARER  abc "], Some("abc")),
            (&["Bearer"], None),
            (&["Basic abc"], None),
            (&["abc"], None),
            (&["Bearer abc", "Bearer abc"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer(&headers), expected.map(str::as_bytes), "{values:?}");
        }
    }

    #[test]
    fn only_addresses_and_localhost_are_our_own_host() {
        for (host, own) in [
            ("localhost", true),
            ("LOCALHOST:9090", true),
            ("sluice.localhost:9090", true),
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("192.168.1.5", true),
            ("example.com", false),
            ("localhost.example.com", false),
            ("127.0.0.1.nip.io", false),
            ("", false),
            ("a b", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::HOST, HeaderValue::from_static(host));
            assert_eq!(is_own_host(&headers), own, "{host}");
            headers.append(header::HOST, HeaderValue::from_static("localhost"));
            assert!(!is_own_host(&headers), "twice");
        }
        assert!(!is_own_host(&HeaderMap::new()));
    }
}
