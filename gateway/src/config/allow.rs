//! Whose requests a route takes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Problems;
use super::raw::Node;
use super::section::{array, shown, string};

/// Most networks of one route: each is compared with the address of every request.
const NETWORKS_MAX: usize = 256;

/// `allow_from`: networks from which a route takes requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowFrom(Option<Vec<IpNet>>);

impl AllowFrom {
    /// Only from these networks; from none where there is none.
    #[must_use]
    pub const fn only(networks: Vec<IpNet>) -> Self {
        Self(Some(networks))
    }

    /// Whether requests from this address are taken: from everywhere, unless networks were named.
    /// Mapped into IPv6, an address is what it is in IPv4.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let Some(networks) = &self.0 else { return true };
        let address = address.to_canonical();
        networks.iter().any(|network| network.contains(&address))
    }

    /// The networks, where some were named.
    #[must_use]
    pub fn networks(&self) -> Option<&[IpNet]> {
        self.0.as_deref()
    }

    pub(super) fn check(node: &Node, problems: &mut Problems) -> Self {
        let nodes = array(node, problems).unwrap_or_default();
        if nodes.is_empty() {
            let help = "leave the key out to take requests from everywhere; `paused = true` takes \
                        none";
            problems.push(&node.at, "names no network", Some(help.to_owned()));
        }
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
        Self(Some(networks.collect()))
    }
}

/// One network, or an address for a network of its own. The error: what is wrong with it, and help.
fn network(text: &str) -> Result<IpNet, (&'static str, String)> {
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
    fn only_named_networks_are_allowed_and_without_any_all_are() {
        let networks = ["203.0.113.0/24", "192.0.2.1", "2001:db8::/32"].map(network);
        let allow = AllowFrom::only(networks.into_iter().map(Result::unwrap).collect());
        for (address, allowed) in [
            ("203.0.113.255", true),
            ("203.0.114.0", false),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("::ffff:192.0.2.1", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(allow.allows(address.parse().unwrap()), allowed, "{address}");
            assert!(AllowFrom::default().allows(address.parse().unwrap()));
        }
        assert!(!AllowFrom::only(Vec::new()).allows("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_not_exactly_a_network_is_refused() {
        for text in ["", "host", "203.0.113.7/24", "203.0.113.0/33", "::ffff:192.0.2.0/120", "*"] {
            assert!(network(text).is_err(), "{text}");
        }
        assert!(network("0.0.0.0/0").is_ok(), "IPv4 only");
    }
}
