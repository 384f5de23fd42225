//! `sluice secret generate | rotate`: makes secrets, and gives those in files new values. Works on
//! the files; a running gateway sees them change.
//!
//! What is made goes to standard output alone, for whoever is to be told; all else goes to standard
//! error.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use super::{CommandError, ConfigArgument, complain, print};
use crate::config::{
    RoutePath, SecretPlace, SecretPlaces, SecretValue, Unfit, create_secret, read_secret,
    rotate_secret, secret_places,
};
use crate::model::{Clock as _, RouteName, SecretName, SystemClock};

/// As long as a SHA-256: cannot be guessed, and is no shorter than any provider asks for.
const RANDOM_BYTES: usize = 32;

/// Largest value that is read from a file: a secret's file holds no more.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

/// What stands in a path segment as it is (RFC 3986: `unreserved`).
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Print a new random value; with --route make it the route's first token, and print its URL.
    Generate(GenerateArguments),
    /// Give a secret a new value. The one before stays good for the overlap.
    Rotate(RotateArguments),
}

#[derive(Debug, Args)]
pub(super) struct GenerateArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The route whose `{token}` is made: written to the file of its `token` secret.
    #[arg(long, value_name = "ROUTE", value_parser = RouteName::new)]
    route: Option<RouteName>,
    #[command(flatten)]
    base: BaseArgument,
}

#[derive(Debug, Args)]
pub(super) struct RotateArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The secret's name under `[secrets]`.
    #[arg(value_parser = SecretName::new)]
    name: SecretName,
    /// How long the value before stays good, as `24h`; `0s`: it is refused at once.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    overlap: Duration,
    /// File that holds the new value, as the provider gave it; `-` is standard input. Otherwise a
    /// random one is made.
    #[arg(long, value_name = "FILE")]
    value_file: Option<PathBuf>,
    #[command(flatten)]
    base: BaseArgument,
}

#[derive(Debug, Args)]
struct BaseArgument {
    /// Where providers reach the gateway, as `https://hooks.example.com`, instead of
    /// `ingest.public_url` of the configuration.
    #[arg(long, value_name = "URL")]
    base_url: Option<url::Url>,
}

pub(super) fn run(command: &SecretCommand) -> Result<(), CommandError> {
    match command {
        SecretCommand::Generate(arguments) => generate(arguments),
        SecretCommand::Rotate(arguments) => rotate(arguments),
    }
}

fn generate(arguments: &GenerateArguments) -> Result<(), CommandError> {
    let value = random()?;
    let Some(route) = &arguments.route else {
        return print(&String::from_utf8_lossy(value.expose()));
    };
    let places = secret_places(&arguments.config.config)?;
    let (path, secret) = places.tokens.get(route).ok_or_else(|| {
        anyhow!("there is no route `{route}` with a `{{token}}` in its path and a `token` secret")
    })?;
    let file = file_of(&places, secret)?;
    if file.exists() {
        let remedy = format!("`sluice secret rotate {secret}` gives it a new one");
        return Err(anyhow!("the secret `{secret}` has a value: {remedy}").into());
    }
    create_secret(file, &value).with_context(|| format!("making the secret `{secret}`"))?;
    complain(&format!("wrote the secret `{secret}` to {}", file.display()));
    print(&address(path, &value, arguments.base.of(&places)))
}

fn rotate(arguments: &RotateArguments) -> Result<(), CommandError> {
    let RotateArguments { config, name, overlap, value_file, base } = arguments;
    let places = secret_places(&config.config)?;
    let file = file_of(&places, name)?;
    let tokens: Vec<_> = places.tokens.values().filter(|(_, secret)| secret == name).collect();
    let value = match value_file {
        Some(file) => given(file)?,
        None => like_the_one_before(file)?,
    };
    if let Some(Unfit { fault, help }) = places.unfit(name, &value) {
        let refused = format!("the new value of the secret `{name}` would be refused: it {fault}");
        return Err(anyhow!("{refused}; {help}").into());
    }
    let is_fit = |value: &SecretValue| places.unfit(name, value).is_none();
    let rotated = rotate_secret(file, &value, *overlap, SystemClock.now(), is_fit)
        .with_context(|| format!("rotating the secret `{name}`"))?;
    complain(&match rotated.old_until {
        Some(until) => format!("the value before is good until {until}"),
        None => "the value before is refused from now on".to_owned(),
    });
    for (path, _) in &tokens {
        print(&address(path, &value, base.of(&places)))?;
    }
    if tokens.is_empty() && value_file.is_none() {
        print(&String::from_utf8_lossy(value.expose()))?;
    }
    Ok(())
}

impl BaseArgument {
    fn of<'a>(&'a self, places: &'a SecretPlaces) -> Option<&'a url::Url> {
        self.base_url.as_ref().or(places.public_url.as_ref())
    }
}

fn file_of<'p>(places: &'p SecretPlaces, name: &SecretName) -> anyhow::Result<&'p Path> {
    match places.places.get(name) {
        Some(SecretPlace::File(path)) => Ok(path),
        Some(SecretPlace::Environment(variable)) => bail!(
            "the secret `{name}` is read from the environment variable `{variable}`, so it cannot \
             rotate: put it in a file, as `{name} = {{ file = \"secrets/{name}\" }}`"
        ),
        None => bail!("there is no secret `{name}` under `[secrets]`"),
    }
}

/// The URL to give to whoever posts; without a base its path.
fn address(path: &RoutePath, token: &SecretValue, base: Option<&url::Url>) -> String {
    let path = match path {
        RoutePath::Exact(path) => path.clone(),
        RoutePath::Token { prefix, suffix } => {
            let token = String::from_utf8_lossy(token.expose());
            format!("{prefix}{}{suffix}", utf8_percent_encode(&token, &SEGMENT))
        }
    };
    match base {
        Some(base) => format!("{}{path}", base.as_str().trim_end_matches('/')),
        None => {
            complain("give --base-url, or set `ingest.public_url`, for the whole URL");
            path
        }
    }
}

/// A value that can stand in a path, a header and a form as it is.
fn random() -> anyhow::Result<SecretValue> {
    let bytes = random_bytes()?;
    Ok(SecretValue::new(URL_SAFE_NO_PAD.encode(bytes.as_ref()).into_bytes()))
}

fn random_bytes() -> anyhow::Result<Zeroizing<[u8; RANDOM_BYTES]>> {
    let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
    SystemRandom::new().fill(bytes.as_mut()).ok().context("the system gave no random bytes")?;
    Ok(bytes)
}

/// A new value in the form of the newest there is: a key of Standard Webhooks stays one.
fn like_the_one_before(file: &Path) -> anyhow::Result<SecretValue> {
    let newest = read_secret(file).map_err(|problem| anyhow!(problem))?;
    if newest.expose().starts_with(b"whsec_") {
        let key = Zeroizing::new(STANDARD.encode(random_bytes()?.as_ref()));
        return Ok(SecretValue::new([b"whsec_", key.as_bytes()].concat()));
    }
    random()
}

fn given(file: &Path) -> anyhow::Result<SecretValue> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = if file == Path::new("-") {
        std::io::stdin().take(VALUE_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file)
            .and_then(|open| open.take(VALUE_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("reading the new value from {}", file.display()))?;
    let value = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    Ok(SecretValue::new(value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_whole_where_the_base_is_known() {
        let path = RoutePath::Token { prefix: "/in/".to_owned(), suffix: "/x".to_owned() };
        let token = SecretValue::new(b"a b/c~d".to_vec());
        for (base, expected) in [
            (None, "/in/a%20b%2Fc~d/x"),
            (Some("https://hooks.example.com"), "https://hooks.example.com/in/a%20b%2Fc~d/x"),
            (Some("https://example.com/hooks/"), "https://example.com/hooks/in/a%20b%2Fc~d/x"),
        ] {
            let base = base.map(|base| url::Url::parse(base).unwrap());
            assert_eq!(address(&path, &token, base.as_ref()), expected);
        }
    }

    #[test]
    fn a_new_value_is_long_new_and_keeps_its_form() {
        let [one, other] = [random().unwrap(), random().unwrap()];
        assert_eq!(one.expose().len(), 43);
        assert_ne!(one.expose(), other.expose());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_secret(&path, &SecretValue::new(b"whsec_AAAA".to_vec())).unwrap();
        let next = like_the_one_before(&path).unwrap();
        let key = next.expose().strip_prefix(b"whsec_").unwrap();
        assert_eq!(STANDARD.decode(key).unwrap().len(), 32);
    }
}
