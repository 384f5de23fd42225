//! Which addresses a destination may be reached at.
//!
//! A name is judged by what it resolves to, at every new connection, so that neither a name that
//! changes its mind nor one that always pointed inwards reaches what only this machine can reach:
//! loopback, private networks, cloud metadata. What the operator spells out is the operator's
//! choice: a literal address, `localhost`, or `allow_private = true`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// What the addresses of one destination's name may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressPolicy {
    /// Anything: `allow_private`, or an address in the URL itself.
    Any,
    /// `localhost` and names below it (RFC 6761 section 6.3).
    Loopback,
    /// Only what the Internet routes.
    Public,
}

impl AddressPolicy {
    /// Returns the policy for a destination's URL. Judges the host that `url` parsed, which is the one
    /// that is dialled: `0x7f.1` is a literal address by then.
    pub(super) fn of(url: &Url, allow_private: bool) -> Self {
        match url.host() {
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => Self::Any,
            Some(Host::Domain(_)) if allow_private => Self::Any,
            Some(Host::Domain(name)) if is_localhost(name) => Self::Loopback,
            Some(Host::Domain(_)) | None => Self::Public,
        }
    }

    /// Whether a connection to `address` may be opened.
    pub(super) fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => address.is_loopback(),
            Self::Public => is_public(address),
        }
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether the Internet routes `address` to one host: per the IANA special-purpose registries of
/// both families, minus what embeds an IPv4 address in an IPv6 one (mapped, compatible, NAT64,
/// 6to4, Teredo), since that reaches the inside by another spelling.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(address)),
        // Of IPv6 only 2000::/3 is global unicast; all else is special or unassigned.
        IpAddr::V6(address) => {
            GLOBAL_UNICAST.contains(address)
                && !SPECIAL_V6.iter().any(|network| network.contains(address))
        }
    }
}

/// An address and how many of its leading bits name the network.
struct V4(Ipv4Addr, u32);

struct V6(Ipv6Addr, u32);

impl V4 {
    fn contains(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.1).unwrap_or(0);
        (address.to_bits() ^ self.0.to_bits()) & mask == 0
    }
}

impl V6 {
    fn contains(&self, address: Ipv6Addr) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.1).unwrap_or(0);
        (address.to_bits() ^ self.0.to_bits()) & mask == 0
    }
}

const SPECIAL_V4: &[V4] = &[
    V4(Ipv4Addr::new(0, 0, 0, 0), 8),        // "This network" (RFC 791).
    V4(Ipv4Addr::new(10, 0, 0, 0), 8),       // Private (RFC 1918).
    V4(Ipv4Addr::new(100, 64, 0, 0), 10),    // Carrier-grade NAT (RFC 6598).
    V4(Ipv4Addr::new(127, 0, 0, 0), 8),      // Loopback (RFC 1122).
    V4(Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's host agent, by a public number.
    V4(Ipv4Addr::new(169, 254, 0, 0), 16),   // Link-local and cloud metadata (RFC 3927).
    V4(Ipv4Addr::new(172, 16, 0, 0), 12),    // Private (RFC 1918).
    V4(Ipv4Addr::new(192, 0, 0, 0), 24),     // IETF protocol assignments (RFC 6890).
    V4(Ipv4Addr::new(192, 0, 2, 0), 24),     // Documentation (RFC 5737).
    V4(Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relay anycast, deprecated (RFC 7526).
    V4(Ipv4Addr::new(192, 168, 0, 0), 16),   // Private (RFC 1918).
    V4(Ipv4Addr::new(198, 18, 0, 0), 15),    // Benchmarking (RFC 2544).
    V4(Ipv4Addr::new(198, 51, 100, 0), 24),  // Documentation (RFC 5737).
    V4(Ipv4Addr::new(203, 0, 113, 0), 24),   // Documentation (RFC 5737).
    V4(Ipv4Addr::new(224, 0, 0, 0), 4),      // Multicast (RFC 5771).
    V4(Ipv4Addr::new(240, 0, 0, 0), 4),      // Reserved, and broadcast (RFC 1112, 8190).
];

const GLOBAL_UNICAST: V6 = V6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const SPECIAL_V6: &[V6] = &[
    // IETF protocol assignments (RFC 2928): Teredo, ORCHID, benchmarking.
    V6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // Documentation (RFC 3849).
    V6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),     // 6to4 (RFC 3056).
    V6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),     // Documentation (RFC 9637).
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.9",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fdff:ffff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "1fff::1",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert!(!is_public(address), "{text}");
            assert!(!AddressPolicy::Public.allows(address), "{text}");
            assert!(AddressPolicy::Any.allows(address), "{text}");
        }
    }

    #[test]
    fn their_neighbours_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:db7::1",
            "2001:db9::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "3ffe:ffff::1",
            "3fff:1000::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[track_caller]
    fn policy(url: &str) -> AddressPolicy {
        AddressPolicy::of(&Url::parse(url).unwrap(), false)
    }

    #[test]
    fn a_name_must_be_public_and_a_spelt_out_address_may_be_anything() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http:127.0.0.1",
            "http://user@127.0.0.1/",
            "http://１２７.0.0.1/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http:\\\\127.0.0.1\\x",
        ] {
            assert_eq!(policy(url), AddressPolicy::Any, "{url}");
        }
        for url in [
            "http://localhost/",
            "http://LOCALHOST:81/",
            "http://localhost./",
            "http://a.localhost/",
        ] {
            assert_eq!(policy(url), AddressPolicy::Loopback, "{url}");
        }
        for url in [
            "https://example.com/",
            "http://localhost.example.com/",
            "http://notlocalhost/",
            "http://metadata.google.internal/",
            "http://127.0.0.1.nip.io/",
            "http://localhost@example.com/",
            "http://example.com#@localhost/",
            "http://example.com\\@localhost/",
            "http://xn--bcher-kva.example/",
            "http://bücher.example/",
        ] {
            assert_eq!(policy(url), AddressPolicy::Public, "{url}");
        }
    }

    #[test]
    fn a_host_that_is_no_host_is_no_url() {
        for url in [
            "http://",
            "http://127.0.0.1:65536/",
            "http://256.1.1.1/",
            "http://1.2.3.4.5/",
            "http://0x100000000/",
            "http://a%00b/",
            "http://a b/",
            "http://[::1/",
            "http://[fe80::1%25eth0]/",
            "http://exa%2fmple/",
        ] {
            assert!(Url::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn permission_makes_a_private_name_reachable_and_localhost_never_leaves_the_machine() {
        let name = Url::parse("http://ledger.internal/").unwrap();
        assert_eq!(AddressPolicy::of(&name, true), AddressPolicy::Any);
        assert!(AddressPolicy::Loopback.allows("127.0.0.9".parse().unwrap()));
        assert!(AddressPolicy::Loopback.allows("::1".parse().unwrap()));
        assert!(!AddressPolicy::Loopback.allows("8.8.8.8".parse().unwrap()));
        assert!(!AddressPolicy::Loopback.allows("10.0.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn nothing_that_the_standard_library_calls_special_is_public(bits in any::<u32>()) {
            let address = Ipv4Addr::from_bits(bits);
            let special = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_multicast() || address.is_broadcast() || address.is_documentation()
                || address.is_unspecified();
            prop_assert!(!(special && is_public(address.into())));
            // No spelling of an IPv4 address inside an IPv6 one is public.
            let low = u128::from(bits);
            for embedded in [
                low,
                0xffff_0000_0000 | low,
                (0x0064_ff9b_u128 << 96) | low,
                (0x2002_u128 << 112) | (low << 80),
                (0x2001_0000_u128 << 96) | low,
            ] {
                prop_assert!(!is_public(Ipv6Addr::from_bits(embedded).into()));
            }
        }

        #[test]
        fn no_local_ipv6_address_is_public(bits in any::<u128>()) {
            let address = Ipv6Addr::from_bits(bits);
            let special = address.is_loopback() || address.is_unspecified()
                || address.is_multicast() || address.is_unique_local()
                || address.is_unicast_link_local();
            prop_assert!(!(special && is_public(address.into())));
        }
    }
}
