//! Where a gateway that runs can be asked, whatever else is wrong with its configuration.

use std::net::SocketAddr;
use std::path::Path;

use super::check::names::Names;
use super::check::{secrets, sections};
use super::secret::longest_known;
use super::section::{Section, string};
use super::{Inputs, Problems, SecretValue, Secrets, environment, files};
use crate::model::{SecretName, UnixMillis};

/// Where the admin side of a running gateway is, and a token that it accepts.
#[derive(Debug)]
pub struct AdminPlace {
    pub listen: SocketAddr,
    pub token: SecretValue,
}

/// Reads no more of the configuration whose main file is `path` than where its admin side is: a
/// gateway serves on, and can be asked, while the rest of its files is wrong. `now` decides which
/// tokens have expired.
///
/// # Errors
///
/// What is wrong with these two, or with the files where that hides them.
pub fn admin_place(path: &Path, now: UnixMillis) -> Result<AdminPlace, Problems> {
    let mut elsewhere = Problems::default();
    let tree = files::read(path, &mut elsewhere);
    let mut problems = Problems::default();
    let mut root = Section::new(tree.main.clone(), Some(&tree.root));
    let mut admin = root.section("admin", &mut problems);
    // Where a file could not be read, the key may have been in it.
    let is_listen_known = tree.is_whole || admin.place_of("listen").is_some();
    let listen = sections::admin_listen(&mut admin, &mut problems);
    let token = sections::admin_token_name(&mut admin, &mut problems).and_then(|named| {
        let mut secrets = Secrets::default();
        for (name, node) in root.named("secrets", SecretName::new, &mut elsewhere) {
            if string(named, &mut elsewhere) == Some(name.as_str()) {
                let mut inputs = Inputs::default();
                let secret = secrets::read(name, node, &environment, &mut inputs, &mut problems);
                secrets.0.extend(secret.map(|secret| (secret.name.clone(), secret)));
            }
        }
        Names::declared(&tree.root).secret(named, &secrets, &mut problems).cloned()
    });
    let token = token.and_then(|token| longest_known(&token.versions, now).cloned());
    match token {
        Some(token) if problems.is_empty() && is_listen_known => Ok(AdminPlace { listen, token }),
        _ => {
            if !tree.is_whole || problems.is_empty() {
                problems.0.extend(elsewhere.0);
            }
            problems.sort(&tree.files);
            Err(problems)
        }
    }
}
