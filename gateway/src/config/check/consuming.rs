//! Adapters that consume what other adapters make: none may be brought what comes of its own events.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Problems;
use super::super::checked::{
    AdapterConfig, Delivery, DestinationConfig, DestinationKind, RouteConfig,
};
use super::conflicts::Places;
use crate::model::{AdapterName, DestinationName, RouteName};

/// Adapters by those that they bring events to, with the destination that does.
type Edges<'c> = BTreeMap<&'c AdapterName, BTreeMap<&'c AdapterName, &'c DestinationName>>;

pub(super) fn check(
    adapters: &BTreeMap<AdapterName, AdapterConfig>,
    routes: &BTreeMap<RouteName, RouteConfig>,
    destinations: &BTreeMap<DestinationName, DestinationConfig>,
    places: &Places<'_>,
    problems: &mut Problems,
) {
    let mut edges = Edges::new();
    let mut add = |from, deliver_to: &[Delivery]| {
        for delivery in deliver_to {
            let Some(destination) = destinations.get(&delivery.destination) else { continue };
            let DestinationKind::Adapter { adapter } = &destination.kind else { continue };
            let to: &mut BTreeMap<_, _> = edges.entry(from).or_default();
            to.insert(adapter, &destination.name);
        }
    };
    for adapter in adapters.values() {
        add(&adapter.name, &adapter.deliver_to);
    }
    for route in routes.values() {
        add(&route.adapter, &route.deliver_to);
    }
    let mut told = BTreeSet::new();
    for from in edges.keys() {
        let Some(circle) = way_back(&edges, from) else { continue };
        // The others of the circle find it as well.
        if circle.iter().any(|(adapter, _)| told.contains(adapter)) {
            continue;
        }
        told.extend(circle.iter().map(|(adapter, _)| *adapter));
        let names: Vec<String> = circle.iter().map(|(adapter, _)| format!("`{adapter}`")).collect();
        let Some((_, last)) = circle.last() else { continue };
        let message = format!("events would go round: `{from}` to {}", names.join(" to "));
        let help = "take one of them out of the `deliver_to` before it".to_owned();
        problems.push(&places.of(&format!("destinations.{last}.adapter")), message, Some(help));
    }
}

/// The shortest way from an adapter to itself: each next adapter, and by which destination.
fn way_back<'c>(
    edges: &Edges<'c>,
    from: &'c AdapterName,
) -> Option<Vec<(&'c AdapterName, &'c DestinationName)>> {
    let mut ways = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let at = way.last().map_or(from, |(adapter, _)| *adapter);
            for (next, by) in edges.get(at).into_iter().flatten() {
                let mut way: Vec<(&AdapterName, &DestinationName)> = way.clone();
                way.push((*next, *by));
                if *next == from {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
