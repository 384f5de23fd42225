//! Whose requests a route takes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::raw::{Node, Value};
use super::{Problems, networks};

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
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.0.as_ref().is_none_or(|networks| networks::contain(networks, address))
    }

    /// The networks, where some were named.
    #[must_use]
    pub fn networks(&self) -> Option<&[IpNet]> {
        self.0.as_deref()
    }

    pub(super) fn check(node: &Node, problems: &mut Problems) -> Self {
        if matches!(&node.value, Value::Array(nodes) if nodes.is_empty()) {
            let help = "leave the key out to take requests from everywhere; `paused = true` takes \
                        none";
            problems.push(&node.at, "names no network", Some(help.to_owned()));
        }
        Self(Some(networks::check(node, |_| Ok(()), problems)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_networks_are_allowed_and_without_any_all_are() {
        let inside = "203.0.113.255".parse().unwrap();
        let outside = "203.0.114.0".parse().unwrap();
        let allow = AllowFrom::only(vec!["203.0.113.0/24".parse().unwrap()]);
        assert!(allow.allows(inside) && !allow.allows(outside));
        assert!(AllowFrom::default().allows(outside));
        assert!(!AllowFrom::only(Vec::new()).allows(inside));
    }
}
