//! Verdicts on secrets: the only place where a secret meets what a request presents.
//!
//! A route's secrets ([`RouteSecrets`]) take the credentials out of each request ([`Presented`],
//! and what [`stray`]s) before anything else reads it, and judge them, or a MAC or signature, when the adapter asks.
//! Every value that is active may match; one past its expiry is recorded as
//! [`Found::MatchedExpired`], for the operator, and is a mismatch to the adapter.
//!
//! Invariants: every comparison is in constant time over the whole value; nothing here returns,
//! logs or stores a secret, a MAC or a presented credential; an adapter learns verdicts only, and
//! of the roles only that it describes.

mod asked;
mod fields;
mod key;
mod mask;
mod proof;
mod stray;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

pub use asked::Misasked;
pub use key::{KeyEncoding, KeyError};
pub use mask::Presented;
use mask::{Carried, Reading};
pub use proof::{MacAlgorithm, MacScheme, Part, PresentedEncoding, SignatureAlgorithm, Signed};
use smol_str::SmolStr;
use stray::Strays;
use subtle::ConstantTimeEq as _;

use crate::config::{RouteAuth, Secret, SecretValue};
use crate::model::{Found, KeyedDigest, Proof, Travels, UnixMillis, VerdictRecord, Verified};
use crate::telemetry::Happening as _;
use crate::telemetry::adapter::SecretIsNoKey;

/// The name under which the verdict on the path token is recorded.
pub const TOKEN_ROLE: &str = "token";

/// What stands where a credential stood.
pub const MASK: &str = "***";

/// The secrets of one route, bound to where the adapter says they travel.
pub struct RouteSecrets {
    /// By the adapter's name for each.
    roles: BTreeMap<SmolStr, Role>,
    /// Compared with the `{token}` segment of the path.
    token: Option<Secret>,
    auth: RouteAuth,
    digest_key: ring::hmac::Key,
    strays: Strays,
}

struct Role {
    secret: Option<Secret>,
    travels: Travels,
    /// Whether the log has been told that a value of the secret is no key.
    told_no_key: AtomicBool,
}

impl fmt::Debug for RouteSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteSecrets").field("roles", &self.roles.keys()).finish_non_exhaustive()
    }
}

impl RouteSecrets {
    /// Binds a route's secrets. `roles`: the adapter's roles, with where each travels (header
    /// names already resolved from settings) and the secret that the route gives it.
    #[must_use]
    pub fn new(
        roles: Vec<(String, Travels, Option<Secret>)>,
        token: Option<Secret>,
        auth: RouteAuth,
        digest_key: ring::hmac::Key,
    ) -> Self {
        let roles: BTreeMap<SmolStr, Role> = roles
            .into_iter()
            .map(|(role, travels, secret)| {
                (role.into(), Role { secret, travels, told_no_key: AtomicBool::new(false) })
            })
            .collect();
        let strays = Strays::of(roles.values(), token.as_ref());
        Self { roles, token, auth, digest_key, strays }
    }

    /// Those of no route: for a call that runs again from its record, where nothing is verified.
    #[must_use]
    pub fn none() -> Self {
        let digest_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[]);
        Self::new(Vec::new(), None, RouteAuth::Required, digest_key)
    }

    /// The verdict on the path token.
    #[must_use]
    pub fn verify_path_token(&self, presented: &Presented, now: UnixMillis) -> VerdictRecord {
        let found = match (&self.token, presented.token()) {
            (None, _) => (Found::NotConfigured, None),
            (Some(_), None) => (Found::Missing, None),
            (Some(secret), Some(token)) => {
                (self.compare(secret, &[token], now), Some(token.digest))
            }
        };
        record(TOKEN_ROLE, Proof::PathToken, found)
    }

    /// The verdict on the header in which `role` travels.
    ///
    /// # Errors
    ///
    /// Where the adapter's description says nothing of the kind, as in all that follow here.
    pub fn verify_header(
        &self,
        role: &str,
        presented: &Presented,
        now: UnixMillis,
    ) -> Result<VerdictRecord, Misasked> {
        let found = self.judge_carried(self.asked(role, Proof::Header)?, presented.of(role), now);
        Ok(record(role, Proof::Header, found))
    }

    /// The verdict on the query parameter in which `role` travels.
    ///
    /// # Errors
    ///
    /// See [`Self::verify_header`].
    pub fn verify_query(
        &self,
        role: &str,
        presented: &Presented,
        now: UnixMillis,
    ) -> Result<VerdictRecord, Misasked> {
        let found = self.judge_carried(self.asked(role, Proof::Query)?, presented.of(role), now);
        Ok(record(role, Proof::Query, found))
    }

    /// The verdict on a value that the adapter found in the body.
    ///
    /// # Errors
    ///
    /// See [`Self::verify_header`].
    pub fn verify_equal(
        &self,
        role: &str,
        presented: &[u8],
        now: UnixMillis,
    ) -> Result<VerdictRecord, Misasked> {
        let found = match &self.asked(role, Proof::Equal)?.secret {
            None => (Found::NotConfigured, None),
            Some(secret) => {
                let presented = self.reading(presented);
                (self.compare(secret, &[presented], now), Some(presented.digest))
            }
        };
        Ok(record(role, Proof::Equal, found))
    }

    /// The verdict on a message authentication code.
    ///
    /// A value of the secret that is no key in this encoding matches nothing. Only here is it known
    /// which encoding an adapter asks for, so it is here that the operator is told.
    ///
    /// # Errors
    ///
    /// See [`Self::verify_header`].
    pub fn verify_mac(
        &self,
        role: &str,
        scheme: MacScheme,
        signed: &Signed<'_>,
        now: UnixMillis,
    ) -> Result<VerdictRecord, Misasked> {
        let matches = |value: &SecretValue| proof::mac_matches(scheme, value, signed);
        let bound = self.asked(role, Proof::Mac)?;
        Ok(record(role, Proof::Mac, self.judge_signed((role, bound), signed, now, matches)))
    }

    /// The verdict on a public-key signature. A value of the secret that is no key is told as in
    /// [`Self::verify_mac`].
    ///
    /// # Errors
    ///
    /// See [`Self::verify_header`].
    pub fn verify_signature(
        &self,
        role: &str,
        algorithm: SignatureAlgorithm,
        signed: &Signed<'_>,
        now: UnixMillis,
    ) -> Result<VerdictRecord, Misasked> {
        // Joined for the first value that it is checked with, if there is one: a message may name
        // the body many times, and joining is time in which no deadline can interrupt.
        let message = OnceCell::new();
        let matches = |value: &SecretValue| {
            let message = message.get_or_init(|| signed.joined());
            proof::signature_matches(algorithm, value, message, signed)
        };
        let bound = self.asked(role, Proof::PublicKey)?;
        Ok(record(role, Proof::PublicKey, self.judge_signed((role, bound), signed, now, matches)))
    }

    /// What these verdicts make of the request: the strongest proof that matched, where every
    /// secret that the route has did. `None`: nothing may be committed.
    ///
    /// An operator who gives a route a second secret wants both to count: an adapter that asks for
    /// one of them only must not make the other decoration. `auth = "none"` believes everybody.
    #[must_use]
    pub fn verified(&self, verdicts: &[VerdictRecord]) -> Option<Verified> {
        let strongest = verdicts
            .iter()
            .filter(|verdict| verdict.found.is_match())
            .map(|verdict| verdict.proof.verifies())
            .max();
        match self.auth {
            RouteAuth::None => Some(strongest.unwrap_or(Verified::None)),
            RouteAuth::Required if self.unmatched(verdicts).is_some() => None,
            RouteAuth::Required => strongest,
        }
    }

    /// A role whose secret the route has and none of these verdicts found matching.
    #[must_use]
    pub fn unmatched<'r>(&'r self, verdicts: &[VerdictRecord]) -> Option<&'r str> {
        let is_matched = |role: &str, of_path: bool| {
            verdicts.iter().any(|verdict| {
                verdict.role == role
                    && (verdict.proof == Proof::PathToken) == of_path
                    && verdict.found.is_match()
            })
        };
        let of_path = self.token.iter().map(|_| (TOKEN_ROLE, true));
        let given = self.roles.iter().filter(|(_, bound)| bound.secret.is_some());
        of_path
            .chain(given.map(|(role, _)| (role.as_str(), false)))
            .find(|(role, of_path)| !is_matched(role, *of_path))
            .map(|(role, _)| role)
    }

    /// How many values of `role`'s secret a MAC or signature would be tried against.
    #[must_use]
    pub fn versions(&self, role: &str) -> usize {
        let secret = self.roles.get(role).and_then(|bound| bound.secret.as_ref());
        secret.map_or(0, |secret| secret.versions.len())
    }

    /// The digests of all values of the route's secrets that travel as they are: in the path, a
    /// header, the query or the body.
    pub fn value_digests(&self) -> impl Iterator<Item = KeyedDigest> {
        let travelling = self.roles.values().filter(|bound| match &bound.travels {
            Travels::Header { .. } | Travels::Query { .. } | Travels::Body => true,
            Travels::Key => false,
        });
        let secrets = travelling.filter_map(|bound| bound.secret.as_ref()).chain(&self.token);
        secrets
            .flat_map(|secret| secret.versions.iter())
            .map(|version| self.digest(version.value.expose()))
    }

    /// The names of the headers in which the route's credentials travel.
    pub fn credential_headers(&self) -> impl Iterator<Item = &str> {
        self.roles.values().filter_map(|bound| match &bound.travels {
            Travels::Header { name, .. } => Some(name.as_str()),
            Travels::Query { .. } | Travels::Body | Travels::Key => None,
        })
    }

    fn judge_carried<'p>(
        &self,
        bound: &Role,
        mut carried: impl Iterator<Item = &'p Carried>,
        now: UnixMillis,
    ) -> (Found, Option<KeyedDigest>) {
        let Some(secret) = &bound.secret else {
            return (Found::NotConfigured, None);
        };
        match (carried.next(), carried.next()) {
            (None, _) => (Found::Missing, None),
            (Some(carried), None) => {
                let found = self.compare(secret, carried.readings(), now);
                (found, Some(self.digest_of(secret, carried)))
            }
            (Some(_), Some(_)) => (Found::Repeated, None),
        }
    }

    /// The digest of what was compared: of the reading that is one of the secret's values, so that
    /// it is that value's own digest. Where none is, of the one that is likeliest meant.
    fn digest_of(&self, secret: &Secret, carried: &Carried) -> KeyedDigest {
        let is_value = |digest: &KeyedDigest| {
            secret
                .versions
                .iter()
                .any(|version| bool::from(self.digest(version.value.expose()).0.ct_eq(&digest.0)))
        };
        let mut digests = carried.readings().iter().map(|reading| reading.digest);
        digests.find(is_value).unwrap_or_else(|| carried.likeliest())
    }

    fn judge_signed(
        &self,
        (role, bound): (&str, &Role),
        signed: &Signed<'_>,
        now: UnixMillis,
        matches: impl Fn(&SecretValue) -> Result<bool, KeyError>,
    ) -> (Found, Option<KeyedDigest>) {
        let Some(secret) = &bound.secret else {
            return (Found::NotConfigured, None);
        };
        if signed.presented.is_empty() {
            return (Found::Mismatched, None);
        }
        let matches = |value: &SecretValue| {
            matches(value).unwrap_or_else(|error| {
                let again = bound.told_no_key.swap(true, Ordering::Relaxed);
                SecretIsNoKey { secret: &secret.name, role, error: &error, again }.emit();
                false
            })
        };
        (find(secret, now, matches), Some(self.digest(signed.presented.as_bytes())))
    }

    /// Compares any of `readings` with the secret's values. Equal lengths or not, what is compared
    /// is the keyed digests of both, so that neither content nor length shows in the time taken.
    fn compare(&self, secret: &Secret, readings: &[Reading], now: UnixMillis) -> Found {
        find(secret, now, |value| {
            let expected = self.digest(value.expose());
            let equal = readings
                .iter()
                .filter(|reading| !reading.is_empty)
                .map(|reading| reading.digest.0.ct_eq(&expected.0))
                .fold(subtle::Choice::from(0), |equal, one| equal | one);
            bool::from(equal)
        })
    }

    fn digest(&self, value: &[u8]) -> KeyedDigest {
        let mut digest = [0; 32];
        let tag = ring::hmac::sign(&self.digest_key, value);
        for (to, from) in digest.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        KeyedDigest(digest)
    }
}

/// The first active value that matches, newest first; failing that, whether an expired one does.
fn find(secret: &Secret, now: UnixMillis, matches: impl Fn(&SecretValue) -> bool) -> Found {
    let active = secret.active(now).find(|(_, value)| matches(value));
    match active {
        Some((version, _)) => Found::Matched { version },
        None if secret.expired(now).any(matches) => Found::MatchedExpired,
        None => Found::Mismatched,
    }
}

fn record(role: &str, proof: Proof, found: (Found, Option<KeyedDigest>)) -> VerdictRecord {
    let (found, digest) = found;
    VerdictRecord { role: role.into(), proof, found, digest }
}

#[cfg(test)]
mod tests;
