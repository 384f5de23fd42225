//! Whose word about a client's address is believed.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::raw::Node;
use super::{Problems, networks};

/// Networks whose peers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        networks::contain(&self.0, address)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn check(node: &Node, problems: &mut Problems) -> Self {
        let not_everybody = |network: &IpNet| {
            if network.prefix_len() == 0 {
                let help = "name the proxies alone: everybody else writes what they like";
                return Err(("believes everybody", help.to_owned()));
            }
            Ok(())
        };
        Self(networks::check(node, not_everybody, problems))
    }
}

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
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
