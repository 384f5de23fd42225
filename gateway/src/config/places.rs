//! Where secrets are, and what they are used for: what can be known of a configuration before its
//! secrets are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::check::routes::TOKEN_ROLE;
use super::check::sections;
use super::raw::Node;
use super::section::{Section, string, table};
use super::{Problems, RoutePath, SecretUse, SecretValue, Unfit, files};
use crate::model::{DestinationName, RouteName, SecretName};

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
    /// What secrets have to be fit for. What a plugin asks of its own is known only where it runs.
    pub uses: BTreeMap<SecretName, Vec<SecretUse>>,
    /// `ingest.public_url`.
    pub public_url: Option<url::Url>,
}

impl SecretPlaces {
    /// Why the gateway would refuse a configuration in which the secret has this value.
    #[must_use]
    pub fn unfit(&self, name: &SecretName, value: &SecretValue) -> Option<Unfit> {
        self.uses.get(name)?.iter().find_map(|used| used.unfit(value))
    }

    /// Notes what the secret is used for that a node names.
    fn note(&mut self, node: Option<&Node>, uses: &[SecretUse]) {
        let name = node.and_then(|node| string(node, &mut Problems::default()));
        if let Some(name) = name.and_then(|name| SecretName::new(name).ok()) {
            self.uses.entry(name).or_default().extend(uses);
        }
    }

    fn note_routes(&mut self, root: &mut Section<'_>, unheard: &mut Problems) {
        for (name, node) in root.named("routes", RouteName::new, unheard) {
            let mut section = Section::of(node, unheard);
            let path = section.node("path").and_then(|node| {
                super::check::path::check(&node.at, string(node, unheard)?, unheard)
            });
            let secrets = section.node("secrets").and_then(|node| table(node, unheard));
            let token = secrets.and_then(|secrets| secrets.0.get(TOKEN_ROLE));
            let token = token.map(|token| &token.node);
            self.note(token, &[SecretUse::Token]);
            let token = token.and_then(|token| string(token, unheard));
            let token = token.and_then(|token| SecretName::new(token).ok());
            if let (Some(path @ RoutePath::Token { .. }), Some(token)) = (path, token) {
                self.tokens.insert(name, (path, token));
            }
        }
    }

    fn note_destinations(&mut self, root: &mut Section<'_>, unheard: &mut Problems) {
        for (_, node) in root.named("destinations", DestinationName::new, unheard) {
            let mut section = Section::of(node, unheard);
            self.note(section.node("signing_secret"), &[SecretUse::SigningKey]);
            let headers = section.node("headers").and_then(|node| table(node, unheard));
            for header in headers.into_iter().flat_map(|headers| headers.0.values()) {
                let secret = Section::of(&header.node, unheard).node("secret");
                self.note(secret, &[SecretUse::Header]);
            }
        }
    }
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
        public_url: sections::public_url(&mut ingest, &mut unheard),
        ..SecretPlaces::default()
    };
    for (name, node) in root.named("secrets", SecretName::new, &mut unheard) {
        let mut section = Section::of(node, &mut unheard);
        let file = section.path("file", &mut unheard).map(|(_, path)| SecretPlace::File(path));
        let variable = section.string("env", &mut unheard);
        let variable = variable.map(|(_, name)| SecretPlace::Environment(name.to_owned()));
        found.places.extend(file.or(variable).map(|place| (name, place)));
    }
    let token = sections::admin_token_name(&mut root.section("admin", &mut unheard), &mut unheard);
    found.note(token, &sections::ADMIN_TOKEN_USES);
    found.note_routes(&mut root, &mut unheard);
    found.note_destinations(&mut root, &mut unheard);
    Ok(found)
}
