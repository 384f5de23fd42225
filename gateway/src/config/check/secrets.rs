//! `[secrets]`, and what a secret must be for what it is used for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::raw::Node;
use super::super::secret::read::{Unreadable, from_environment, from_file};
use super::super::section::{Section, table};
use super::super::{Inputs, Location, Problems, Secret, SecretValue, Secrets};
use super::Environment;
use crate::model::SecretName;

/// Shortest secret that stands alone between the internet and an event: 16 random bytes cannot
/// be guessed at any request rate.
pub(crate) const TOKEN_BYTES_MIN: usize = 16;

/// Of a value that is shorter than [`TOKEN_BYTES_MIN`].
const TOO_SHORT: &str = "has a value of fewer than 16 bytes";

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
        let secret = read(name, node, environment, inputs, problems);
        secrets.0.extend(secret.map(|secret| (secret.name.clone(), secret)));
    }
    secrets
}

/// Reads one secret, or tells why it cannot be.
pub(in crate::config) fn read(
    name: SecretName,
    node: &Node,
    environment: Environment<'_>,
    inputs: &mut Inputs,
    problems: &mut Problems,
) -> Option<Secret> {
    if table(node, &mut Problems::default()).is_none() {
        let help =
            "a secret never stands in the configuration: `{ file = \"…\" }` or `{ env = \"…\" }`";
        let message = "expected a table that says where the secret is";
        problems.push(&node.at, message, Some(help.to_owned()));
        return None;
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
        (None, None) if is_given => return None,
        (None, None) => Err((&node.at, both_or_neither("has no source"))),
    };
    match versions {
        Ok(versions) => Some(Secret { name, versions: versions.into() }),
        Err((at, Unreadable { message, help })) => {
            problems.push(at, message, help);
            None
        }
    }
}

fn both_or_neither(message: &str) -> Unreadable {
    let help = "one of `file = \"…\"` and `env = \"…\"`";
    Unreadable { message: message.to_owned(), help: Some(help.to_owned()) }
}

/// What a secret is used for, where that asks something of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretUse {
    /// It is all that a caller needs: it must be long.
    Token,
    /// It travels in a header: it must be text that a header can carry.
    Header,
    /// A key for Standard Webhooks: `whsec_` and base64, or raw bytes.
    SigningKey,
}

/// What makes a value unfit for its use, in words that hold none of it, and the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// As it is said of a secret: `has a value of …`.
    pub fault: &'static str,
    pub help: &'static str,
}

impl SecretUse {
    /// Why the configuration is refused where a secret of this use has this value.
    #[must_use]
    pub fn unfit(self, value: &SecretValue) -> Option<Unfit> {
        let value = value.expose();
        let (fault, help) = match self {
            Self::Token => {
                let fault = (value.len() < TOKEN_BYTES_MIN).then_some(TOO_SHORT);
                (fault, "make one with `openssl rand -hex 32`")
            }
            Self::Header => {
                let is_plain = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
                let help =
                    "only printable ASCII: a second newline at the file's end is a part of it";
                ((!is_plain).then_some("cannot be sent in a header"), help)
            }
            Self::SigningKey => {
                (signing_key_fault(value), "make one with `echo whsec_$(openssl rand -base64 32)`")
            }
        };
        fault.map(|fault| Unfit { fault, help })
    }

    /// Tells the first value of a secret that is not fit for this use.
    pub(crate) fn check(self, secret: &Secret, at: &Location, problems: &mut Problems) {
        let unfit = secret.versions.iter().find_map(|version| self.unfit(&version.value));
        if let Some(Unfit { fault, help }) = unfit {
            problems.push(at, format!("secret `{}` {fault}", secret.name), Some(help.to_owned()));
        }
    }
}

fn signing_key_fault(value: &[u8]) -> Option<&'static str> {
    match value.strip_prefix(b"whsec_") {
        Some(text) => match STANDARD.decode(text).map(zeroize::Zeroizing::new) {
            Ok(key) if SIGNING_KEY_BYTES.contains(&key.len()) => None,
            Ok(_) => Some("holds a key that is not of 24 to 64 bytes"),
            Err(_) => Some("is not base64 after `whsec_`"),
        },
        None if value.len() >= *SIGNING_KEY_BYTES.start() => None,
        None => Some("has a value of fewer than 24 bytes"),
    }
}
