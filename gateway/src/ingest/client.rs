//! Who sends a request: the address that limits, allow-lists and records go by.

use std::net::IpAddr;

/// The address of a request's sender; IPv4 in its own form, also where it came mapped into IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The other end of the connection.
    pub(super) const fn of_peer(peer: IpAddr) -> Self {
        Self(peer.to_canonical())
    }

    pub(super) const fn ip(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_one_however_it_comes() {
        let of = |text: &str| ClientAddress::of_peer(text.parse().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(of("::ffff:192.0.2.1").ip().to_string(), "192.0.2.1");
        assert_eq!(of("2001:db8::1").ip().to_string(), "2001:db8::1");
    }
}
