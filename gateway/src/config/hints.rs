//! Hints: what works and may still not be what the operator meant.

use std::collections::BTreeSet;

use super::{Config, DestinationKind, ForwardedBy, Location, Problem};
use crate::model::UnixMillis;

/// Certificates are renewed a month before they expire, where that is automatic.
const EXPIRY_NEAR_MILLIS: u64 = 14 * 24 * 60 * 60 * 1_000;

/// All hints on a configuration, in the order of its files.
#[must_use]
pub fn hints(config: &Config, now: UnixMillis) -> Vec<Problem> {
    let mut hints = super::Problems::default();
    unused(config, &mut hints);
    secrets(config, now, &mut hints);
    proxies(config, &mut hints);
    certificates(config, now, &mut hints);
    for destination in config.destinations.values() {
        let DestinationKind::Http { url, signing_secret, .. } = &destination.kind else { continue };
        let name = &destination.name;
        if url.scheme() == "http" && !is_loopback(url) {
            let help = "use `https`: events hold personal data".to_owned();
            let at = place(config, &format!("destinations.{name}.url"), &destination.at);
            hints.push(&at, "events travel in clear text", Some(help));
        }
        if signing_secret.is_none() {
            let help = "set `signing_secret`, so that the receiver can tell who sent them";
            hints.push(&destination.at, "events are sent unsigned", Some(help.to_owned()));
        }
    }
    hints.sort(&config.files);
    hints.0
}

fn proxies(config: &Config, hints: &mut super::Problems) {
    let ingest = &config.ingest;
    let at = config.sources.get("ingest.trusted_proxies");
    if let Some(at) = at
        && ingest.forwarded == ForwardedBy::None
        && config.sources.get("ingest.forwarded").is_none()
    {
        let help = "set `forwarded` to what they send, or to `none`".to_owned();
        hints.push(at, "nothing that these proxies say is read", Some(help));
    }
}

fn unused(config: &Config, hints: &mut super::Problems) {
    let consuming =
        config.destinations.values().filter_map(|destination| match &destination.kind {
            DestinationKind::Adapter { adapter } => Some(adapter),
            DestinationKind::Http { .. } | DestinationKind::File { .. } => None,
        });
    let serving = config.routes.values().map(|route| &route.adapter);
    let adapters: BTreeSet<_> = serving.chain(consuming).collect();
    for adapter in config.adapters.values() {
        if !adapters.contains(&adapter.name) {
            let help = "name it in a route, or in a destination of type `adapter`".to_owned();
            hints.push(&adapter.at, "nothing uses this adapter", Some(help));
        }
    }
    let used: BTreeSet<_> = config
        .routes
        .values()
        .flat_map(|route| &route.deliver_to)
        .chain(config.adapters.values().flat_map(|adapter| &adapter.deliver_to))
        .map(|delivery| &delivery.destination)
        .collect();
    for destination in config.destinations.values() {
        if !used.contains(&destination.name) {
            hints.push(&destination.at, "nothing delivers to this destination", None);
        }
    }
    for route in config.routes.values() {
        if route.deliver_to.is_empty() {
            let help = "its events are stored; add `deliver_to` to send them on".to_owned();
            hints.push(&route.at, "delivers nowhere", Some(help));
        }
    }
}

fn secrets(config: &Config, now: UnixMillis, hints: &mut super::Problems) {
    for secret in config.secrets.0.values() {
        let key = format!("secrets.{}", secret.name);
        let at = place(config, &key, &Location::default());
        if let Some(at) = config.sources.get(&format!("{key}.env")) {
            let help = "use a file, which is read again at each reload".to_owned();
            hints.push(at, "a secret from the environment cannot rotate", Some(help));
        }
        if secret.active(now).next().is_none() {
            let help = "add a new value as the first line of its file".to_owned();
            hints.push(&at, "every value has expired, so nothing matches it", Some(help));
        }
    }
}

fn certificates(config: &Config, now: UnixMillis, hints: &mut super::Problems) {
    for listener in &config.ingest.listeners {
        let (Some(name), Some(tls)) = (&listener.name, &listener.tls) else { continue };
        let message = if tls.expires_at <= now {
            "the certificate has expired: clients refuse it"
        } else if tls.expires_at.0 - now.0 < EXPIRY_NEAR_MILLIS {
            "the certificate expires within two weeks"
        } else {
            continue;
        };
        let help = "renew it; the new file is taken up while the gateway runs".to_owned();
        let key = format!("ingest.listeners.{name}.certificate");
        hints.push(&place(config, &key, &listener.at), message, Some(help));
    }
}

fn place(config: &Config, key: &str, otherwise: &Location) -> Location {
    config.sources.get(key).unwrap_or(otherwise).clone()
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}
