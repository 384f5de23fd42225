//! `X-Forwarded-For`: addresses, each added at the end by the proxy that saw it.
//!
//! No standard says what may stand in it, so this reads exactly what nginx reads with
//! `real_ip_recursive on`, its liberties included: operators know those rules, and two hops that
//! read one header differently are how an address is forged. `it/proxies` asks nginx about the same headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Last;

/// Takes the last entry off a line. Entries are separated by any number of spaces and commas; one
/// at the very start of a line separates nothing.
pub(super) fn last(line: &[u8]) -> Option<Last<'_>> {
    let is_separator = |byte: &u8| matches!(byte, b' ' | b',');
    let end = line.iter().rposition(|byte| !is_separator(byte)).map_or(0, |last| last + 1);
    let start = line.get(1..end)?.iter().rposition(is_separator).map_or(0, |found| found + 2);
    let address = address_and_port(line.get(start..end)?)?;
    let before = start.checked_sub(1).and_then(|end| line.get(..end));
    Some(Last { address: Some(address), before })
}

/// An address by itself, or with a port: `192.0.2.1:80`, `[2001:db8::1]:80`. Brackets without a
/// port are not read.
fn address_and_port(text: &[u8]) -> Option<IpAddr> {
    if let Some(address) = address(text) {
        return Some(address);
    }
    let (host, port) = match text.strip_prefix(b"[") {
        Some(text) => {
            let end = text.iter().position(|byte| *byte == b']')?;
            (text.get(..end)?, text.get(end + 1..)?.strip_prefix(b":")?)
        }
        None => {
            let colon = text.iter().position(|byte| *byte == b':')?;
            (text.get(..colon)?, text.get(colon + 1..)?)
        }
    };
    is_port(port).then(|| address(host)).flatten()
}

fn is_port(text: &[u8]) -> bool {
    let number = text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    });
    matches!(number, Some(1..=65_535))
}

fn address(text: &[u8]) -> Option<IpAddr> {
    ipv4(text).map(IpAddr::V4).or_else(|| ipv6(text).map(IpAddr::V6))
}

/// Four decimal numbers up to 255. An empty one is 0, zeros may lead, and the address of all ones
/// is none, because nginx uses it as the sign of an error.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = text.split(|byte| *byte == b'.').map(|digits| {
        digits.iter().try_fold(0_u8, |octet, digit| match digit {
            b'0'..=b'9' => octet.checked_mul(10)?.checked_add(digit - b'0'),
            _ => None,
        })
    });
    let address = Ipv4Addr::new(octets.next()??, octets.next()??, octets.next()??, octets.next()??);
    (octets.next().is_none() && address != Ipv4Addr::BROADCAST).then_some(address)
}

/// Hexadecimal groups with at most one gap, the last two of them perhaps as IPv4. One colon more
/// than is needed is let pass at either end.
fn ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = text.strip_prefix(b":").unwrap_or(text);
    let mut groups = Groups::default();
    let mut group = 0_u16;
    let mut digits = 0;
    let mut after_colon = None;
    for (place, byte) in text.iter().enumerate() {
        match byte {
            b':' if digits > 0 => {
                groups.push(group)?;
                // The last group is the one that no colon follows.
                (groups.count < Groups::MAX).then_some(())?;
                (group, digits, after_colon) = (0, 0, Some(place + 1));
            }
            b':' if groups.gap.is_none() => {
                groups.gap = Some(groups.count);
                after_colon = Some(place + 1);
            }
            b'.' if digits > 0 => {
                let [a, b, c, d] = ipv4(text.get(after_colon?..)?)?.octets();
                groups.push(u16::from_be_bytes([a, b]))?;
                group = u16::from_be_bytes([c, d]);
                break;
            }
            _ => {
                digits += 1;
                (digits <= 4).then_some(())?;
                let digit = char::from(*byte).to_digit(16)?;
                group = group << 4 | u16::try_from(digit).ok()?;
            }
        }
    }
    (digits > 0 || groups.gap.is_some()).then_some(())?;
    groups.push(group)?;
    groups.address()
}

/// The groups of an IPv6 address as they are read.
#[derive(Default)]
struct Groups {
    read: [u16; Self::MAX],
    count: usize,
    /// Before which of them zeros are left out.
    gap: Option<usize>,
}

impl Groups {
    const MAX: usize = 8;

    fn push(&mut self, group: u16) -> Option<()> {
        *self.read.get_mut(self.count)? = group;
        self.count += 1;
        Some(())
    }

    /// A gap stands for at least one group, and without one there are eight.
    fn address(mut self) -> Option<Ipv6Addr> {
        let missing = Self::MAX - self.count;
        match self.gap {
            Some(gap) if missing > 0 => self.read.get_mut(gap..)?.rotate_right(missing),
            None if missing == 0 => {}
            _ => return None,
        }
        Some(Ipv6Addr::from(self.read))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(entry: &str, expected: Option<&str>) {
        let expected = expected.map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(address_and_port(entry.as_bytes()), expected, "{entry:?}");
    }

    /// What nginx takes and refuses.
    #[test]
    fn entries_are_read_as_nginx_reads_them() {
        check("192.0.2.1", Some("192.0.2.1"));
        check("192.0.2.1:1", Some("192.0.2.1"));
        check("192.0.2.1:65535", Some("192.0.2.1"));
        check("192.0.2.001:00080", Some("192.0.2.1"));
        check("1..2.3", Some("1.0.2.3"));
        check("2001:db8::1", Some("2001:db8::1"));
        check("2001:DB8::1", Some("2001:db8::1"));
        check("[2001:db8::1]:443", Some("2001:db8::1"));
        check("[192.0.2.1]:443", Some("192.0.2.1"));
        check("::", Some("::"));
        check("::1", Some("::1"));
        check("1::", Some("1::"));
        check("::ffff:192.0.2.1", Some("::ffff:192.0.2.1"));
        check("1:2:3:4:5:6:192.0.2.1", Some("1:2:3:4:5:6:c000:201"));
        check(":1:2:3:4:5:6:7:8", Some("1:2:3:4:5:6:7:8"));
        check("::1:", Some("::1:0"));
        for refused in [
            "",
            ".",
            ":",
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.1.1",
            "192.0.2.256",
            "192.0.2.1:",
            "192.0.2.1:0",
            "192.0.2.1:65536",
            "192.0.2.1:99999999999999999999999",
            "192.0.2.1:8o",
            "255.255.255.255",
            "0x7f.0.0.1",
            "127.1",
            "\t192.0.2.1",
            "\"192.0.2.1\"",
            "[2001:db8::1]",
            "[2001:db8::1]:",
            "[2001:db8::1",
            "2001:db8::1]:80",
            "[2001:db8::1]80",
            "fe80::1%eth0",
            "[fe80::1%25eth0]:80",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            "1:2:3:4::5:6:7:8",
            "12345::1",
            "g::1",
            "::ffff:192.0.2",
            "::ffff:255.255.255.255",
            "1:2:3:4:5:6:7:192.0.2.1",
        ] {
            check(refused, None);
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            last(&line);
        }

        #[test]
        fn likely_text_is_read_without_a_panic(line in "[0-9a-f:.,\\[\\] %_]{0,40}") {
            last(line.as_bytes());
        }

        /// Every address is read as it is written by everybody else.
        #[test]
        fn an_address_is_read_as_it_is_written(address: IpAddr, port in 1_u16..) {
            prop_assume!(address != IpAddr::V4(Ipv4Addr::BROADCAST));
            // Written with its tail as IPv4, it may be that one again.
            let tail = |address: Ipv6Addr| address.octets().ends_with(&[255; 4]);
            prop_assume!(!matches!(address, IpAddr::V6(address) if tail(address)));
            let text = address.to_string();
            prop_assert_eq!(address_and_port(text.as_bytes()), Some(address));
            let text = std::net::SocketAddr::new(address, port).to_string();
            prop_assert_eq!(address_and_port(text.as_bytes()), Some(address));
        }
    }
}
