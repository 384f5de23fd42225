//! Reads secrets from files and from the environment.
//!
//! Invariant: no message made here holds any part of a value, of its encoding, or of a line.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{SecretValue, SecretVersion};
use crate::config::FileError;
use crate::model::UnixMillis;

/// Largest secret file, in bytes: room for every value allowed below with an RSA key in each.
pub(super) const FILE_BYTES_MAX: usize = 64 * 1024;

/// Most values of one secret. A rotation needs two; each further one is compared with every
/// request.
pub(super) const VERSIONS_MAX: usize = 16;

/// The first line of a file with several values, up to its format's number.
const SEVERAL_MARK: &[u8] = b"#sluice-secrets";

/// Values are written by people and tools: with `=` at the end or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a secret cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Unreadable {
    pub(in crate::config) message: String,
    pub(in crate::config) help: Option<String>,
}

fn unreadable(message: impl Into<String>, help: &str) -> Unreadable {
    let help = if help.is_empty() { None } else { Some(help.to_owned()) };
    Unreadable { message: message.into(), help }
}

/// Reads a secret's file.
pub(in crate::config) fn from_file(path: &Path) -> Result<Vec<SecretVersion>, Unreadable> {
    values(path, &private(path, 0o600)?)
}

/// Reads a copy of a secret's file, whoever may read it beside us. A pipe is waited for.
pub(in crate::config) fn from_copy(path: &Path) -> Result<Vec<SecretVersion>, Unreadable> {
    let bytes = File::open(path).and_then(read_bounded);
    values(path, &bounded(path, bytes.map_err(|error| cannot_read(path, error))?)?)
}

fn values(path: &Path, bytes: &[u8]) -> Result<Vec<SecretVersion>, Unreadable> {
    parse(bytes).map_err(|Unreadable { message, help }| Unreadable {
        message: format!("`{}` {message}", path.display()),
        help,
    })
}

/// Reads a file that is open to nobody whom `mode` does not name.
pub(in crate::config) fn private(path: &Path, mode: u32) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let shown = path.display();
    // Opened first, and asked about afterwards: what is checked is then what is read, whatever is
    // put in its place meanwhile. A pipe must not make us wait for a writer.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| cannot_read(path, error))?;
    let metadata = file.metadata().map_err(|error| cannot_read(path, error))?;
    if metadata.is_dir() {
        return Err(unreadable(format!("`{shown}` is a folder"), "name a file in it"));
    }
    if !metadata.is_file() {
        return Err(unreadable(format!("`{shown}` is not a file"), ""));
    }
    let found = metadata.permissions().mode() & 0o777;
    if found & 0o077 & !mode != 0 {
        let than = if mode == 0o600 { "its owner" } else { "its owner and group" };
        return Err(unreadable(
            format!("`{shown}` is open to others than {than} (mode {found:04o})"),
            &format!("run `chmod {mode:o} {shown}`"),
        ));
    }
    let bytes = read_bounded(file).map_err(|error| cannot_read(path, error))?;
    bounded(path, bytes)
}

fn bounded(path: &Path, bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!("`{}` is larger than 64KiB", path.display()), ""));
    }
    Ok(bytes)
}

/// Takes a secret from an environment variable: one value, as it is.
pub(in crate::config) fn from_environment(
    variable: &str,
    value: Option<OsString>,
) -> Result<Vec<SecretVersion>, Unreadable> {
    let Some(value) = value else {
        let message = format!("the environment variable `{variable}` is not set");
        return Err(unreadable(message, "set it for the gateway's process, or use a file"));
    };
    let bytes = value.into_vec();
    if bytes.is_empty() {
        let message = format!("the environment variable `{variable}` is empty");
        return Err(unreadable(message, ""));
    }
    Ok(vec![SecretVersion { value: SecretValue::new(bytes), expires_at: None }])
}

/// Reads at most one byte more than is allowed, into memory that never moves: growing would leave
/// copies behind that nobody wipes.
fn read_bounded(mut file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; FILE_BYTES_MAX + 1]);
    let mut len = 0;
    while let Some(free) = bytes.get_mut(len..).filter(|free| !free.is_empty()) {
        match file.read(free) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

fn cannot_read(path: &Path, error: io::Error) -> Unreadable {
    let error = FileError::from(error);
    let help = match error {
        FileError::Missing => "write the secret to it, mode 0600",
        FileError::Denied => "it must belong to the user that the gateway runs as",
        FileError::NotAFile | FileError::TooLarge | FileError::Other(_) => "",
    };
    unreadable(error.tell(path), help)
}

/// Reads a file's content: one value, or several under a first line that says so.
fn parse(bytes: &[u8]) -> Result<Vec<SecretVersion>, Unreadable> {
    if let Some(rest) = bytes.strip_prefix(SEVERAL_MARK) {
        return several(rest);
    }
    let value = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    if value.is_empty() {
        return Err(unreadable("is empty", "write the secret to it"));
    }
    Ok(vec![SecretVersion { value: SecretValue::new(value.to_vec()), expires_at: None }])
}

fn several(after_mark: &[u8]) -> Result<Vec<SecretVersion>, Unreadable> {
    let mut lines = after_mark
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if lines.next() != Some(b" 1") {
        let help = "the first line is `#sluice-secrets 1`";
        return Err(unreadable("has a format that this version does not know", help));
    }
    let mut versions = Vec::new();
    // The first line of the file was the mark.
    for (line, number) in lines.zip(2..) {
        if !line.is_empty() {
            versions.push(version(line, number)?);
        }
    }
    match versions.len() {
        0 => Err(unreadable("holds no value", "add a line `- <base64>`")),
        1..=VERSIONS_MAX => Ok(versions),
        _ => Err(unreadable(
            format!("holds more than {VERSIONS_MAX} values"),
            "take out those that have expired",
        )),
    }
}

fn version(line: &[u8], number: usize) -> Result<SecretVersion, Unreadable> {
    const FORM: &str = "a line is `<RFC 3339 expiry or ->`, a space, and the value in base64";
    let wrong = |what: &str| unreadable(format!("line {number} {what}"), FORM);
    let space = line.iter().position(|byte| *byte == b' ');
    let (expiry, value) = space
        .and_then(|space| line.split_at_checked(space))
        .ok_or_else(|| wrong("has no space"))?;
    let expires_at = match expiry {
        b"-" => None,
        expiry => Some(parse_expiry(expiry).ok_or_else(|| wrong("has no valid expiry"))?),
    };
    let value = value.trim_ascii();
    if value.is_empty() {
        return Err(wrong("has an empty value"));
    }
    // The decoder allocates once, for the longest that this text can become.
    let value = BASE64.decode(value).map_err(|_| wrong("is not base64"))?;
    Ok(SecretVersion { value: SecretValue::new(value), expires_at })
}

fn parse_expiry(text: &[u8]) -> Option<UnixMillis> {
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok().map(UnixMillis)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
