//! Who sends a request: the address that limits, allow-lists and records go by.
//!
//! It is the other end of the connection, unless that is a proxy of `ingest.trusted_proxies`: then
//! it is what this proxy says, by the one mechanism of `ingest.forwarded`. What an address that is
//! not trusted says of others is never believed, and no second mechanism is looked at.

mod forwarded;
mod proxy_protocol;
mod x_forwarded_for;

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

pub(super) use self::proxy_protocol::{DEADLINE as PROXY_DEADLINE, read as read_proxy_header};
use crate::config::{ForwardedBy, IngestConfig, TrustedProxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a request's sender; IPv4 in its own form, also where it came mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress(IpAddr);

/// The other end of a connection, and whom it spoke for when the connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbour {
    address: IpAddr,
    /// What its PROXY header said.
    told: Option<IpAddr>,
}

impl Neighbour {
    pub(super) const fn new(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), told: None }
    }

    /// Whether a connection from here has to begin with a PROXY header. From anywhere else it must
    /// not: there it is no HTTP.
    pub(super) fn owes_proxy_header(self, config: &IngestConfig) -> bool {
        config.forwarded == ForwardedBy::ProxyProtocol
            && config.trusted_proxies.contains(self.address)
    }

    /// With what its PROXY header said.
    pub(super) fn telling(self, told: Option<IpAddr>) -> Self {
        Self { told: told.map(|address| address.to_canonical()), ..self }
    }
}

impl ClientAddress {
    /// Whom a request comes from that arrived over a connection with `peer`, by the configuration
    /// that serves it: where a reload changes whom to believe, the next request of an open
    /// connection knows.
    pub(super) fn of(peer: Neighbour, headers: &HeaderMap, config: &IngestConfig) -> Self {
        let lines = |name| headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        let trusted = &config.trusted_proxies;
        let address = match config.forwarded {
            ForwardedBy::None => peer.address,
            ForwardedBy::XForwardedFor => {
                walk(peer.address, lines(X_FORWARDED_FOR), trusted, x_forwarded_for::last)
            }
            ForwardedBy::Forwarded => {
                walk(peer.address, lines(FORWARDED), trusted, forwarded::last)
            }
            ForwardedBy::ProxyProtocol if trusted.contains(peer.address) => {
                peer.told.unwrap_or(peer.address)
            }
            ForwardedBy::ProxyProtocol => peer.address,
        };
        Self(address)
    }

    pub(super) const fn ip(self) -> IpAddr {
        self.0
    }
}

/// Who counts as one client: an IPv4 address, or the /64 network of an IPv6 address, which is what
/// one customer is given and can number at will.
///
/// IPv4 stands below all of IPv6 that is given out: `::/8` is reserved (RFC 4291 section 4).
pub(super) fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments().map(u64::from);
            a << 48 | b << 32 | c << 16 | d
        }
    }
}

/// The last entry of a header line.
#[derive(Debug, PartialEq, Eq)]
struct Last<'l> {
    /// `None`: it names nobody, and stands for nothing.
    address: Option<IpAddr>,
    /// What stands before it; `None` where it is the line's first.
    before: Option<&'l [u8]>,
}

/// Goes back from the peer along what each address says of the one before it, up to the first that
/// is not trusted: the nearest one of which nobody trusted vouches for more.
///
/// Entries are read from the last one of the last line on, because each proxy adds its own at the
/// end: what stands before the first address that is not trusted is never looked at, and cannot
/// change how the rest is read. `last` takes the last entry off a line; where it returns `None`,
/// the entry is not understood, and the walk ends with the address before it.
fn walk<'l>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = &'l [u8]>,
    trusted: &TrustedProxies,
    last: impl Fn(&'l [u8]) -> Option<Last<'l>>,
) -> IpAddr {
    let mut address = peer;
    for line in lines.rev() {
        let mut rest = Some(line);
        while let Some(entries) = rest {
            if !trusted.contains(address) {
                return address;
            }
            let Some(found) = last(entries) else { return address };
            if let Some(before) = found.address {
                address = before.to_canonical();
            }
            rest = found.before;
        }
    }
    address
}

#[cfg(test)]
mod tests;
