//! Parts that are right alone and wrong together.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::super::checked::{DestinationConfig, DestinationKind, RoutePath, StorageConfig};
use super::super::{Location, Problems, Sources};
use super::path;
use crate::model::{DestinationName, RouteName};

/// Finds the place of a key; where it is left out, of what it would stand in.
pub(super) struct Places<'c> {
    pub(super) sources: &'c Sources,
    pub(super) main: &'c Location,
}

impl Places<'_> {
    pub(super) fn of(&self, key: &str) -> Location {
        self.sources.nearest(key).map_or_else(|| self.main.child(key), |(at, _)| at)
    }
}

/// No request may match two routes. Each route that shares requests tells the first other one.
pub(super) fn route_paths(
    paths: &BTreeMap<RouteName, RoutePath>,
    places: &Places<'_>,
    problems: &mut Problems,
) {
    let place = |name: &RouteName| places.of(&format!("routes.{name}.path"));
    for (name, path) in paths {
        let mut others = paths.iter().filter(|(other, _)| *other != name);
        let Some((other, theirs)) = others.find(|(_, theirs)| path::overlap(path, theirs)) else {
            continue;
        };
        let message = format!(
            "`{}` matches requests of route `{other}`, `{}` at {}",
            path::written(path),
            path::written(theirs),
            place(other).place(),
        );
        let help = Some("every route needs paths of its own".to_owned());
        problems.push(&place(name), message, help);
    }
}

/// What the gateway writes to must not be anything else.
pub(super) fn written_files(
    storage: &StorageConfig,
    destinations: &BTreeMap<DestinationName, DestinationConfig>,
    read: &[PathBuf],
    places: &Places<'_>,
    problems: &mut Problems,
) {
    let mut taken: BTreeMap<PathBuf, String> = BTreeMap::new();
    for file in read {
        taken.insert(normal(file), "a configuration file".to_owned());
    }
    // SQLite's companions: its log and its shared memory.
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = storage.sqlite_path.clone().into_os_string();
        name.push(suffix);
        let name = normal(Path::new(&name));
        if let Some(owner) = taken.insert(name, "the database".to_owned()) {
            problems.push(&places.of("storage.url"), format!("names {owner}"), None);
        }
    }
    for destination in destinations.values() {
        let DestinationKind::File { path } = &destination.kind else { continue };
        let owner = format!("destination `{}`", destination.name);
        if let Some(other) = taken.get(&normal(path)) {
            let at = places.of(&format!("destinations.{}.path", destination.name));
            let help = Some("every file destination needs a file of its own".to_owned());
            problems.push(&at, format!("`{}` is already {other}", path.display()), help);
        } else {
            taken.insert(normal(path), owner);
        }
    }
}

/// A path without `.` and `..`, from the root. By its text: what is not there yet has no other
/// identity.
fn normal(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut normal = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                normal.push(component);
            }
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_without_detours() {
        assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(normal(Path::new("a")), std::env::current_dir().unwrap().join("a"));
    }
}
