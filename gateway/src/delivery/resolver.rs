//! Name resolution under an [`AddressPolicy`]: a connection is only ever opened to an address that
//! was judged, of this very resolution.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::AddressPolicy;
use super::lookups::Lookups;

/// Addresses of one name that are tried at most: a name with a thousand costs no more.
const ADDRESSES_MAX: usize = 16;

/// A name resolved, and none of its addresses may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the destination's name resolves only to addresses that are not allowed, set `allow_private = \
     true` if that is meant"
)]
pub(super) struct AddressDenied;

/// The system's resolver, with the addresses that the policy forbids left out.
#[derive(Clone, Debug)]
pub(super) struct VettingResolver {
    pub(super) policy: AddressPolicy,
    pub(super) lookups: Arc<Lookups>,
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookups) = (self.policy, Arc::clone(&self.lookups));
        Box::pin(async move {
            // The port is the URL's; whoever dials sets it.
            let found = lookups.find(name.as_str()).await?;
            let vetted = vet(policy, found.into_iter())?;
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

fn vet(
    policy: AddressPolicy,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, AddressDenied> {
    let vetted: Vec<_> =
        found.filter(|address| policy.allows(address.ip())).take(ADDRESSES_MAX).collect();
    if vetted.is_empty() { Err(AddressDenied) } else { Ok(vetted) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> impl Iterator<Item = SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0))
    }

    #[test]
    fn only_vetted_addresses_of_a_mixed_answer_are_dialled() {
        let mixed = addresses(&["127.0.0.1", "8.8.8.8", "10.0.0.1", "2606:4700::1", "::1"]);
        let vetted = vet(AddressPolicy::Public, mixed).unwrap();
        assert_eq!(vetted, addresses(&["8.8.8.8", "2606:4700::1"]).collect::<Vec<_>>());
    }

    #[test]
    fn a_name_that_points_inwards_is_denied() {
        let inside = addresses(&["127.0.0.1", "169.254.169.254", "fd00:ec2::254"]);
        assert_eq!(vet(AddressPolicy::Public, inside), Err(AddressDenied));
        assert_eq!(vet(AddressPolicy::Public, addresses(&[])), Err(AddressDenied));
    }

    #[test]
    fn a_thousand_addresses_are_cut() {
        let many = std::iter::repeat_n(SocketAddr::from(([8, 8, 8, 8], 0)), 1_000);
        assert_eq!(vet(AddressPolicy::Public, many).unwrap().len(), ADDRESSES_MAX);
    }
}
