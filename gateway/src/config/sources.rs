//! Where each key of the configuration stands, for problems that are found after it was checked.

use std::collections::BTreeMap;

use super::Location;
use super::raw::Table;

/// The place of every key, by its dotted name.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<String, Location>);

impl Sources {
    pub(super) fn of(root: &Table) -> Self {
        let mut places = BTreeMap::new();
        root.places(&mut places);
        Self(places)
    }

    /// Where this very key stands.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Location> {
        self.0.get(key)
    }

    /// Where a key stands, or else the nearest table that it would stand in; the location names
    /// the whole key in both cases. The number says how long the found part of the key is.
    #[must_use]
    pub fn nearest(&self, key: &str) -> Option<(Location, usize)> {
        let mut parent = key;
        loop {
            if let Some(at) = self.0.get(parent) {
                return Some((Location { key: key.to_owned(), ..at.clone() }, parent.len()));
            }
            (parent, _) = parent.rsplit_once('.')?;
        }
    }
}
