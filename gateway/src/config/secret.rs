//! Secrets, and the care that they never show.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::model::{SecretName, UnixMillis};

pub(super) mod read;
pub(super) mod write;

/// One secret text. `Debug` is constant, there is no `Display`, and memory is wiped on drop.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. For comparing and signing; never for storing or showing.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// One of a secret's values.
#[derive(Clone, Debug)]
pub struct SecretVersion {
    pub value: SecretValue,
    /// From this time on it no longer matches. Absent: never.
    pub expires_at: Option<UnixMillis>,
}

/// A named secret with all its values, newest first; never empty, and no value is empty.
#[derive(Clone, Debug)]
pub struct Secret {
    pub name: SecretName,
    pub versions: Arc<[SecretVersion]>,
}

impl Secret {
    /// The values that are active at `now`, newest first, with their number.
    pub fn active(&self, now: UnixMillis) -> impl Iterator<Item = (u32, &SecretValue)> {
        self.versions
            .iter()
            .zip(0_u32..)
            .filter(move |(version, _)| version.expires_at.is_none_or(|end| now < end))
            .map(|(version, number)| (number, &version.value))
    }

    /// The values that are past their expiry at `now`.
    pub fn expired(&self, now: UnixMillis) -> impl Iterator<Item = &SecretValue> {
        self.versions
            .iter()
            .filter(move |version| version.expires_at.is_some_and(|end| end <= now))
            .map(|version| &version.value)
    }
}

/// The value to present to a gateway that may not have taken up the newest yet: of those that are
/// active at `now`, the one that has been there longest.
pub(super) fn longest_known(versions: &[SecretVersion], now: UnixMillis) -> Option<&SecretValue> {
    let is_active = |version: &&SecretVersion| version.expires_at.is_none_or(|end| now < end);
    let known = versions.iter().rfind(is_active).or(versions.first());
    known.map(|version| &version.value)
}

/// Everything under `[secrets]`, by name.
#[derive(Clone, Debug, Default)]
pub struct Secrets(pub BTreeMap<SecretName, Secret>);

impl Secrets {
    #[must_use]
    pub fn get(&self, name: &SecretName) -> Option<&Secret> {
        self.0.get(name)
    }
}
