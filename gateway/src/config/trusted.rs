//! Whose word about a client's address is believed.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Problems;
use super::raw::Node;
use super::section::{array, shown, string};

/// Most networks: each is compared with every address that a header names, and a header may name
/// thousands.
const NETWORKS_MAX: usize = 256;

/// Networks whose peers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Whether this address is in one of the networks; mapped into IPv6, it is what it is in IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The networks of an array of texts.
    pub(super) fn check(node: &Node, problems: &mut Problems) -> Self {
        let nodes = array(node, problems).unwrap_or_default();
        if nodes.len() > NETWORKS_MAX {
            let message = format!("{} networks are too many", nodes.len());
            problems.push(&node.at, message, Some(format!("at most {NETWORKS_MAX}")));
        }
        let networks = nodes.iter().filter_map(|node| {
            let text = string(node, problems)?;
            match network(text) {
                Ok(network) => Some(network),
                Err((message, help)) => {
                    problems.push(&node.at, format!("{} {message}", shown(text)), Some(help));
                    None
                }
            }
        });
        Self(networks.collect())
    }
}

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

/// One network, or an address for a network of its own. The error: what is wrong with it, and help.
fn network(text: &str) -> Result<IpNet, (&'static str, String)> {
    const EXAMPLE: &str = "an address or a network, as `127.0.0.1` or `10.0.0.0/8`";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let network: IpNet = text.parse().map_err(|_| ("is not a network", EXAMPLE.to_owned()))?;
    let whole = network.trunc();
    if network.prefix_len() == 0 {
        let help = "name the proxies alone: everybody else writes what they like";
        return Err(("believes everybody", help.to_owned()));
    }
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

/// As the configuration lists them.
impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (n, network) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{network}")?;
        }
        f.write_str("]")
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
            ("::1", "::1/128"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), expected, "{text}");
        }
        for (text, expected) in [
            ("localhost", "is not a network"),
            ("10.0.0.0/33", "is not a network"),
            ("10.0.0.1/8", "is an address within a network"),
            ("0.0.0.0/0", "believes everybody"),
            ("::/0", "believes everybody"),
            ("::ffff:10.0.0.0/104", "is IPv4 written as IPv6"),
        ] {
            assert_eq!(network(text).unwrap_err().0, expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_trusted_in_whichever_form_it_comes() {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| network(text).unwrap());
        let trusted: TrustedProxies = networks.into_iter().collect();
        let contains = |text: &str| trusted.contains(text.parse().unwrap());
        assert!(contains("10.255.0.1") && contains("::ffff:10.0.0.1") && contains("2001:db8::9"));
        assert!(!contains("11.0.0.1") && !contains("::10.0.0.1") && !contains("2001:db9::"));
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }
}
