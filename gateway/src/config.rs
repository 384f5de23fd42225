//! Configuration: from files to one checked value.
//!
//! Three stages. *Raw*: the TOML of all included files as a tree in which every value knows its
//! file and line. *Checked* ([`Config`]): typed, ranged, resolved, with secrets read; nothing in
//! it can be wrong by itself. *Snapshot*: a [`Config`] together with loaded adapters, made in
//! `gateway`. All [`Problem`]s are found in one pass and reported together.
//!
//! Invariant: no module but this one reads a configuration file, an environment variable or a
//! secret's file.

mod admin_place;
mod allow;
mod bounded;
mod check;
mod checked;
mod files;
mod hints;
mod inputs;
mod networks;
mod outline;
mod places;
mod problem;
mod raw;
mod secret;
mod section;
mod sources;
mod suggest;
mod tls;
mod trusted;

use std::ffi::OsString;
use std::path::Path;

use crate::model::UnixMillis;

pub use admin_place::{AdminPlace, admin_place};
pub use allow::AllowFrom;
pub(crate) use bounded::{FileError, read_file};
pub(crate) use check::routes::TOKEN_ROLE;
pub(crate) use check::secrets::TOKEN_BYTES_MIN;
pub use check::secrets::{SecretUse, Unfit};
pub(crate) use check::sections::COMPONENT_BYTES_MAX;
pub use checked::{
    AdapterConfig, AdminConfig, Config, Delivery, DestinationConfig, DestinationKind, ForwardedBy,
    HttpFormat, IngestConfig, LimitsConfig, Listen, ListenerConfig, LogConfig, PluginSource,
    PluginsConfig, Rate, RetryConfig, RouteAuth, RouteConfig, RoutePath, SocketAccess,
    StorageConfig,
};
pub use hints::hints;
pub use inputs::{Fingerprint, Inputs, Look, Watched};
pub use outline::{Keys, Outline, Part, Said};
pub use places::{SecretPlace, SecretPlaces, secret_places};
pub(crate) use problem::join_key;
pub use problem::{Location, Problem, Problems};
pub use secret::write::{
    Rotated, SecretFileError, create as create_secret, rotate as rotate_secret,
};
pub use secret::{Secret, SecretValue, SecretVersion, Secrets};
pub use sources::Sources;
pub(crate) use suggest::{list_help, name_help};
pub use tls::TlsConfig;
pub use trusted::TrustedProxies;

/// What reading a configuration came to.
#[derive(Debug)]
pub struct Reading {
    /// What was read; where there are problems, as much of it as could be found.
    pub inputs: Inputs,
    /// The configuration, or all problems in the order of the files.
    pub result: Result<Config, Problems>,
}

/// Reads the configuration whose main file is `path`: included files, secrets, everything.
///
/// # Errors
///
/// All problems, in the order of the files.
pub fn load(path: &Path) -> Result<Config, Problems> {
    read(path).result
}

/// As [`load`], with another environment for secrets.
///
/// # Errors
///
/// All problems, in the order of the files.
pub fn load_with(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Config, Problems> {
    read_with(path, environment).result
}

/// Reads the configuration whose main file is `path`, and tells what it was read from.
#[must_use]
pub fn read(path: &Path) -> Reading {
    read_with(path, &environment)
}

fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

fn read_with(path: &Path, environment: &dyn Fn(&str) -> Option<OsString>) -> Reading {
    let mut problems = Problems::default();
    let mut tree = files::read(path, &mut problems);
    let mut inputs = std::mem::take(&mut tree.inputs);
    let config = if tree.is_whole {
        check::check(&tree, environment, &mut inputs, &mut problems)
    } else {
        None
    };
    problems.sort(&tree.files);
    let result = match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    };
    Reading { inputs, result }
}

/// The newest value of a secret's file.
///
/// # Errors
///
/// Where it cannot be read as a secret; in words that hold none of it.
pub fn read_secret(path: &Path) -> Result<SecretValue, String> {
    let versions = secret::read::from_file(path).map_err(|error| error.message)?;
    let newest = versions.into_iter().next().map(|version| version.value);
    newest.ok_or_else(|| format!("`{}` holds no value", path.display()))
}

/// The value to present at `now`, from a secret's file or a copy of it: whoever made the copy decides
/// who may read it, and it may be a pipe.
///
/// # Errors
///
/// As [`read_secret`].
pub fn read_secret_copy(path: &Path, now: UnixMillis) -> Result<SecretValue, String> {
    let versions = secret::read::from_copy(path).map_err(|error| error.message)?;
    let known = secret::longest_known(&versions, now).cloned();
    known.ok_or_else(|| format!("`{}` holds no value", path.display()))
}

#[cfg(test)]
mod tests;
