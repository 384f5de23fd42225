//! `[secrets]`, and what a secret must be for what it is used for.

use super::super::secret::read::{Unreadable, from_environment, from_file};
use super::super::section::{Section, table};
use super::super::{Inputs, Location, Problems, Secret, Secrets};
use super::Environment;
use crate::model::SecretName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Shortest secret that stands alone between the internet and an event: 16 random bytes cannot
/// be guessed at any request rate.
pub(crate) const TOKEN_BYTES_MIN: usize = 16;

/// Key sizes of Standard Webhooks.
const SIGNING_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

pub(super) fn check(
    root: &mut Section<'_>,
    environment: Environment<'_>,
    inputs: &mut Inputs,
    problems: &mut Problems,
) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, node) in root.named("secrets", SecretName::new, problems) {
        if table(node, &mut Problems::default()).is_none() {
            let help = "a secret never stands in the configuration: `{ file = \"…\" }` or `{ env = \"…\" }`";
            let message = "expected a table that says where the secret is";
            problems.push(&node.at, message, Some(help.to_owned()));
            continue;
        }
        let mut section = Section::of(node, problems);
        let file = section.path("file", problems);
        if let Some((_, path)) = &file {
            inputs.add_file(path);
        }
        let variable = section.string("env", problems);
        let is_given = section.place_of("file").is_some() || section.place_of("env").is_some();
        section.finish(&[], problems);
        let versions = match (file, variable) {
            (Some((at, path)), None) => from_file(&path).map_err(|problem| (at, problem)),
            (None, Some((at, variable))) => {
                from_environment(variable, environment(variable)).map_err(|problem| (at, problem))
            }
            (Some(_), Some(_)) => Err((&node.at, both_or_neither("has two sources"))),
            (None, None) if is_given => continue,
            (None, None) => Err((&node.at, both_or_neither("has no source"))),
        };
        match versions {
            Ok(versions) => {
                let secret = Secret { name: name.clone(), versions: versions.into() };
                secrets.0.insert(name, secret);
            }
            Err((at, Unreadable { message, help })) => problems.push(at, message, help),
        }
    }
    secrets
}

fn both_or_neither(message: &str) -> Unreadable {
    let help = "one of `file = \"…\"` and `env = \"…\"`";
    Unreadable { message: message.to_owned(), help: Some(help.to_owned()) }
}

/// A secret that is all that a caller needs must be long.
pub(crate) fn check_token(secret: &Secret, at: &Location, problems: &mut Problems) {
    if secret.versions.iter().any(|version| version.value.expose().len() < TOKEN_BYTES_MIN) {
        let help = "make one with `openssl rand -hex 32`".to_owned();
        problems.push(
            at,
            format!("secret `{}` has a value of fewer than {TOKEN_BYTES_MIN} bytes", secret.name),
            Some(help),
        );
    }
}

/// A secret that travels in a header must be text that a header can carry.
pub(crate) fn check_header_text(secret: &Secret, at: &Location, problems: &mut Problems) {
    let is_plain = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b' '..=b'~'));
    if !secret.versions.iter().all(|version| is_plain(version.value.expose())) {
        problems.push(
            at,
            format!("secret `{}` cannot be sent in a header", secret.name),
            Some("only printable ASCII: a second newline at the file's end is a part of it".into()),
        );
    }
}

/// A key for Standard Webhooks: `whsec_` and base64, or raw bytes.
pub(super) fn check_signing_key(secret: &Secret, at: &Location, problems: &mut Problems) {
    for version in secret.versions.iter() {
        let value = version.value.expose();
        let fault = match value.strip_prefix(b"whsec_") {
            Some(text) => match STANDARD.decode(text).map(zeroize::Zeroizing::new) {
                Ok(key) if SIGNING_KEY_BYTES.contains(&key.len()) => continue,
                Ok(_) => "holds a key that is not of 24 to 64 bytes",
                Err(_) => "is not base64 after `whsec_`",
            },
            None if value.len() >= *SIGNING_KEY_BYTES.start() => continue,
            None => "has a value of fewer than 24 bytes",
        };
        let help = "make one with `echo whsec_$(openssl rand -base64 32)`".to_owned();
        problems.push(at, format!("secret `{}` {fault}", secret.name), Some(help));
        return;
    }
}
