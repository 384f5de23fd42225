//! What a mismatch really is: the secret of another route, or the signature of another body.
//!
//! For operators alone; whoever sent the request is told what they would be told without it.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::Shared;
use super::answer::Refusal;
use super::route::{Routed, Served};
use crate::adapter::{Cause, ReceiveCall, SeenReader};
use crate::model::{
    Diagnosis, Found, IdempotencyKey, InboundRequest, KeyedDigest, Proof, RouteName, VerdictRecord,
};
use crate::verification::Presented;

/// Signatures that are remembered: an hour of a busy route. 64 bytes each, twice.
const SIGNATURES_MAX: usize = 4_096;

/// Routes whose keys are tried on a signature that is not this route's: each is a call.
const OTHERS_MAX: usize = 8;

/// Signatures that other routes' keys are tried on, in one second: whoever signs wrongly all day
/// must not keep the adapters busy with it.
pub(super) const TRIALS_PER_SECOND: u64 = 5;

const MISMATCHES: [Diagnosis; 3] =
    [Diagnosis::SECRET_MISMATCH, Diagnosis::SIGNATURE_MISMATCH, Diagnosis::UNVERIFIED];

/// The signatures that matched lately, with the digest of the body that each was for.
#[derive(Debug, Default)]
pub(super) struct Signatures(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    bodies: HashMap<[u8; 32], [u8; 32]>,
    /// Oldest first.
    order: VecDeque<[u8; 32]>,
}

impl Signatures {
    /// Remembers the signatures among these verdicts that matched.
    pub(super) fn remember(&self, verdicts: &[VerdictRecord], body_sha256: [u8; 32]) {
        let matched = |verdict: &&VerdictRecord| is_signature(verdict) && verdict.found.is_match();
        for digest in verdicts.iter().filter(matched).filter_map(|verdict| verdict.digest) {
            let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if remembered.bodies.insert(digest.0, body_sha256).is_none() {
                remembered.order.push_back(digest.0);
            }
            if remembered.order.len() > SIGNATURES_MAX
                && let Some(oldest) = remembered.order.pop_front()
            {
                remembered.bodies.remove(&oldest);
            }
        }
    }

    fn is_of_another_body(&self, signature: KeyedDigest, body_sha256: [u8; 32]) -> bool {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.bodies.get(&signature.0).is_some_and(|body| *body != body_sha256)
    }
}

fn is_signature(verdict: &VerdictRecord) -> bool {
    matches!(verdict.proof, Proof::Mac | Proof::PublicKey)
}

/// A request that was refused, and what was found of it.
pub(super) struct Refused<'r> {
    pub(super) shared: &'r Shared,
    pub(super) routed: &'r Routed,
    pub(super) served: &'r Served,
    pub(super) verdicts: &'r [VerdictRecord],
    /// Absent where it was handed to storage: then it is no mismatch.
    pub(super) inbound: Option<&'r Arc<InboundRequest>>,
    pub(super) presented: Option<&'r Arc<Presented>>,
}

/// The same refusal, with a diagnosis that says more where more is known.
pub(super) fn refine(refusal: Refusal, refused: &Refused<'_>) -> Refusal {
    if !MISMATCHES.contains(&refusal.diagnosis) {
        return refusal;
    }
    if refused.has_signature_of_another_body() {
        let detail = "this signature came with another body before";
        return diagnosed(refusal, Diagnosis::SIGNATURE_SEEN_WITH_OTHER_BODY, detail.into());
    }
    match refused.other_route() {
        Some(route) => {
            let detail = format!("what it presents is of the route `{route}`");
            diagnosed(refusal, Diagnosis::MATCHES_OTHER_ROUTE, detail.into())
        }
        None => refusal,
    }
}

fn diagnosed(refusal: Refusal, diagnosis: Diagnosis, detail: Cow<'static, str>) -> Refusal {
    Refusal { diagnosis, detail, ..refusal }
}

impl Refused<'_> {
    fn mismatched(&self) -> impl Iterator<Item = &VerdictRecord> {
        self.verdicts.iter().filter(|verdict| verdict.found == Found::Mismatched)
    }

    fn has_signature_of_another_body(&self) -> bool {
        let Some(inbound) = self.inbound.filter(|inbound| !inbound.redacted) else { return false };
        let mut signatures = self.mismatched().filter(|verdict| is_signature(verdict)).peekable();
        if signatures.peek().is_none() {
            return false;
        }
        let body = super::call::sha256(&inbound.body);
        let seen = &self.shared.signatures;
        signatures
            .filter_map(|verdict| verdict.digest)
            .any(|signature| seen.is_of_another_body(signature, body))
    }

    /// The route whose secret it presents, where that is another one.
    fn other_route(&self) -> Option<&RouteName> {
        let mine = &self.served.route.config.name;
        let carried = self.mismatched().filter(|verdict| !is_signature(verdict));
        let mut digests = carried.filter_map(|verdict| verdict.digest);
        let of = |digest: KeyedDigest| self.routed.table.route_of_secret(digest);
        digests.find_map(|digest| of(digest).filter(|route| *route != mine)).or_else(|| {
            let signed = self.mismatched().any(is_signature);
            if signed { self.other_key() } else { None }
        })
    }

    /// The route whose key the request is signed with, among those with the same plugin: found by
    /// letting the adapter verify it with their secrets.
    fn other_key(&self) -> Option<&RouteName> {
        let inbound = self.inbound.filter(|inbound| !inbound.redacted)?;
        let presented = self.presented?;
        let mine = &self.served.route;
        let others = self.routed.table.all().filter(|other| {
            other.route.config.name != mine.config.name
                && other.route.adapter.version() == mine.adapter.version()
        });
        let mut others = others.take(OTHERS_MAX).peekable();
        others.peek()?;
        if !self.shared.trials.take(inbound.received_at) {
            return None;
        }
        others
            .find(|other| {
                let Some(_turn) = self.shared.load.try_turn() else { return false };
                let route = &other.route;
                let ended = route.adapter.receive(ReceiveCall {
                    cause: Cause::Test,
                    route: route.config.name.clone(),
                    inbound: Arc::clone(inbound),
                    presented: Arc::clone(presented),
                    secrets: Arc::clone(&route.secrets),
                    recorded: None,
                    seen: Arc::new(NothingSeen),
                    state: None,
                    body_max: route.config.body_max,
                });
                ended
                    .verdicts
                    .iter()
                    .any(|verdict| is_signature(verdict) && verdict.found.is_match())
            })
            .map(|other| &other.route.config.name)
    }
}

/// What a trial knows of stored keys. Nothing comes of it but its verdicts.
#[derive(Debug)]
struct NothingSeen;

impl SeenReader for NothingSeen {
    fn seen(&self, _: &IdempotencyKey) -> Option<bool> {
        Some(false)
    }
}
