//! Parts that are right alone and wrong together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use super::super::checked::{
    DestinationConfig, DestinationKind, IngestConfig, Listen, RoutePath, StorageConfig,
};
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

/// The two listeners need two addresses.
pub(super) fn listeners(
    ingest: &IngestConfig,
    admin: &Listen,
    places: &Places<'_>,
    problems: &mut Problems,
) {
    // Where one of them is wrong, what it would be is not known.
    let is_told = |key: &str| problems.0.iter().any(|problem| problem.at.key == key);
    if is_told("ingest.listen") || is_told("admin.listen") {
        return;
    }
    let (Listen::Tcp(ingest), Listen::Tcp(admin)) = (&ingest.listen, admin);
    if is_same_socket(*ingest, *admin) {
        // Either may be a default: what is written is what can be changed.
        let is_written = places.sources.get("admin.listen").is_some();
        let (key, own, other, theirs) = if is_written {
            ("admin.listen", admin, "ingest.listen", ingest)
        } else {
            ("ingest.listen", ingest, "admin.listen", admin)
        };
        let message = format!("`{own}` is taken by `{other}`, `{theirs}`");
        let help = Some("each listener needs a port of its own".to_owned());
        problems.push(&places.of(key), message, help);
    }
}

/// Port 0 is a different port each time; an unspecified address is every address.
fn is_same_socket(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() != 0
        && a.port() == b.port()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
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
    fn sockets_are_compared_as_the_kernel_would() {
        for (a, b, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(is_same_socket(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        }
    }

    #[test]
    fn paths_are_compared_without_detours() {
        assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(normal(Path::new("a")), std::env::current_dir().unwrap().join("a"));
    }
}
