//! Lists of networks, as `["203.0.113.7", "10.0.0.0/8"]`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Problems;
use super::raw::Node;
use super::section::{array, shown, string};

/// Most networks of one list: each is compared with an address of every request, or with many.
const NETWORKS_MAX: usize = 256;

/// What is wrong with a network, and help.
pub(super) type Fault = (&'static str, String);

/// Whether this address is in one of the networks; mapped into IPv6, it is what it is in IPv4.
pub(super) fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The networks of an array of texts that are good, and good by `also` too.
pub(super) fn check(
    node: &Node,
    also: impl Fn(&IpNet) -> Result<(), Fault>,
    problems: &mut Problems,
) -> Vec<IpNet> {
    let nodes = array(node, problems).unwrap_or_default();
    if nodes.len() > NETWORKS_MAX {
        let message = format!("{} networks are too many", nodes.len());
        problems.push(&node.at, message, Some(format!("at most {NETWORKS_MAX}")));
    }
    let networks = nodes.iter().filter_map(|node| {
        let text = string(node, problems)?;
        match network(text).and_then(|network| also(&network).map(|()| network)) {
            Ok(network) => Some(network),
            Err((message, help)) => {
                problems.push(&node.at, format!("{} {message}", shown(text)), Some(help));
                None
            }
        }
    });
    networks.collect()
}

/// One network, or an address for a network of its own.
fn network(text: &str) -> Result<IpNet, Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let help = "an address or a network, as `203.0.113.7` or `203.0.113.0/24`";
        return Err(("is not a network", help.to_owned()));
    };
    let whole = network.trunc();
    if whole != network {
        return Err(("is an address within a network", format!("`{whole}`, or the address alone")));
    }
    match network {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Err(("is IPv4 written as IPv6", "write the IPv4 network".to_owned()))
        }
        IpNet::V4(_) | IpNet::V6(_) => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_what_is_none_is_told() {
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::1", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), expected, "{text}");
        }
        for (text, expected) in [
            ("", "is not a network"),
            ("*", "is not a network"),
            ("localhost", "is not a network"),
            ("10.0.0.0/33", "is not a network"),
            ("10.0.0.1/8", "is an address within a network"),
            ("203.0.113.7/24", "is an address within a network"),
            ("::ffff:192.0.2.0/120", "is IPv4 written as IPv6"),
        ] {
            assert_eq!(network(text).unwrap_err().0, expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_found_in_whichever_form_it_comes() {
        let networks = ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"].map(|t| network(t).unwrap());
        for (address, found) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("::ffff:192.0.2.1", true),
            ("::10.0.0.1", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(contain(&networks, address.parse().unwrap()), found, "{address}");
        }
        assert!(!contain(&[], "127.0.0.1".parse().unwrap()));
    }
}
