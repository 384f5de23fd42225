//! Where secrets are, and which of them stand in the paths of routes: what can be known of a
//! configuration before its secrets are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::check::routes::TOKEN_ROLE;
use super::section::{Section, string, table};
use super::{Problems, RoutePath, files};
use crate::model::{RouteName, SecretName};

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    File(PathBuf),
    Environment(String),
}

/// What a configuration says of secrets, as far as that could be made out: the rest of it may be
/// wrong.
#[derive(Clone, Debug, Default)]
pub struct SecretPlaces {
    pub places: BTreeMap<SecretName, SecretPlace>,
    /// Of routes with a `{token}`: their path, and the secret that it must equal.
    pub tokens: BTreeMap<RouteName, (RoutePath, SecretName)>,
    /// `ingest.public_url`.
    pub public_url: Option<url::Url>,
}

/// Reads the configuration whose main file is `path`, and no secret.
///
/// # Errors
///
/// Where its files cannot be read or are not TOML.
pub fn secret_places(path: &Path) -> Result<SecretPlaces, Problems> {
    let mut problems = Problems::default();
    let tree = files::read(path, &mut problems);
    if !tree.is_whole {
        problems.sort(&tree.files);
        return Err(problems);
    }
    // What is wrong elsewhere is for `sluice check` to tell.
    let mut unheard = Problems::default();
    let mut root = Section::new(tree.main.clone(), Some(&tree.root));
    let mut ingest = root.section("ingest", &mut unheard);
    let mut found = SecretPlaces {
        public_url: super::check::sections::public_url(&mut ingest, &mut unheard),
        ..SecretPlaces::default()
    };
    for (name, node) in root.named("secrets", SecretName::new, &mut unheard) {
        let mut section = Section::of(node, &mut unheard);
        let file = section.path("file", &mut unheard).map(|(_, path)| SecretPlace::File(path));
        let variable = section.string("env", &mut unheard);
        let variable = variable.map(|(_, name)| SecretPlace::Environment(name.to_owned()));
        found.places.extend(file.or(variable).map(|place| (name, place)));
    }
    for (name, node) in root.named("routes", RouteName::new, &mut unheard) {
        let mut section = Section::of(node, &mut unheard);
        let path = section.node("path").and_then(|node| {
            super::check::path::check(&node.at, string(node, &mut unheard)?, &mut unheard)
        });
        let secrets = section.node("secrets").and_then(|node| table(node, &mut unheard));
        let token = secrets.and_then(|secrets| secrets.0.get(TOKEN_ROLE));
        let token = token.and_then(|token| string(&token.node, &mut unheard));
        let token = token.and_then(|token| SecretName::new(token).ok());
        if let (Some(path @ RoutePath::Token { .. }), Some(token)) = (path, token) {
            found.tokens.insert(name, (path, token));
        }
    }
    Ok(found)
}
