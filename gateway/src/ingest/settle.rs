//! What an ended call comes to: something to store, or a refusal.

use http::StatusCode;

use super::answer::{RETRY_ADAPTER, Refusal};
use crate::adapter::{End, Outcome};
use crate::model::{
    Answer, Diagnosis, Disposition, Found, PluginVersion, Rejection, VerdictRecord, Verified,
};
use crate::verification::RouteSecrets;

/// Why an operator sees nothing of a request.
pub(super) const WITHHELD: &str = "nothing of its body and query is kept, since the adapter masks some of it \
                        and did not come to say what";

/// What a call that ended well enough to be stored comes to.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) outcome: Outcome,
    pub(super) verified: Verified,
    pub(super) disposition: Disposition,
    pub(super) diagnosis: Option<Diagnosis>,
    /// For the operator: why it was quarantined.
    pub(super) note: Option<String>,
}

/// Decides what an ended call comes to. Whatever the adapter says, nothing is stored that the
/// host itself did not find verified. `withheld`: nothing of the request may be kept.
pub(super) fn settle(
    end: End,
    withheld: bool,
    verdicts: &[VerdictRecord],
    secrets: &RouteSecrets,
    plugin: &PluginVersion,
) -> Result<Settled, Refusal> {
    let (diagnosis, note) = match end {
        End::Rejection(rejection) => return Err(rejected(rejection, verdicts)),
        End::Outcome(outcome) => {
            let verified =
                secrets.verified(verdicts).ok_or_else(|| unverified(verdicts, secrets))?;
            let disposition =
                if outcome.accepted { Disposition::Accepted } else { Disposition::Ignored };
            return Ok(Settled { outcome, verified, disposition, diagnosis: None, note: None });
        }
        End::Trap(message) => (Diagnosis::TRAP, message),
        End::Deadline => {
            let PluginVersion { plugin, version, .. } = plugin;
            let note = format!("plugin `{plugin}` {version}, call `receive`: it ran out of time");
            (Diagnosis::DEADLINE, note)
        }
    };
    let note = if withheld { format!("{note}; {WITHHELD}") } else { note };
    // `auth = "none"` is no verdict: what nobody vouched for is not kept because it trapped.
    let vouched = verdicts.iter().any(|verdict| verdict.found.is_match());
    match secrets.verified(verdicts).filter(|_| vouched) {
        None => Err(Refusal::adapter(diagnosis, note)),
        Some(verified) => Ok(Settled {
            outcome: Outcome {
                accepted: false,
                events: Vec::new(),
                facts: Vec::new(),
                answer: Answer::unavailable(RETRY_ADAPTER),
                duplicate_answer: None,
            },
            verified,
            disposition: Disposition::Quarantined,
            diagnosis: Some(diagnosis),
            note: Some(note),
        }),
    }
}

/// The adapter returned an outcome that it never had verified, or not by all of the secrets.
fn unverified(verdicts: &[VerdictRecord], secrets: &RouteSecrets) -> Refusal {
    let detail = secrets.unmatched(verdicts).map_or_else(
        || "the adapter returned an outcome without any matching verdict".to_owned(),
        |role| {
            format!(
                "the adapter returned an outcome without a matching verdict on `{role}`, which \
                 the route has a secret for"
            )
        },
    );
    Refusal::new(StatusCode::UNAUTHORIZED, refine(Diagnosis::UNVERIFIED, verdicts), detail)
}

fn rejected(rejection: Rejection, verdicts: &[VerdictRecord]) -> Refusal {
    // Rejections were checked when they were made; one that slipped through must not become a
    // success.
    let status = Some(rejection.status).filter(|status| (400..=599).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let diagnosis = refine(rejection.diagnosis, verdicts);
    Refusal::new(status.unwrap_or(StatusCode::BAD_REQUEST), diagnosis, rejection.detail)
}

/// A mismatch that is one only because the value has expired says more when it is called that.
fn refine(diagnosis: Diagnosis, verdicts: &[VerdictRecord]) -> Diagnosis {
    const MISMATCHES: [Diagnosis; 3] =
        [Diagnosis::SECRET_MISMATCH, Diagnosis::SIGNATURE_MISMATCH, Diagnosis::UNVERIFIED];
    let expired = verdicts.iter().any(|verdict| verdict.found == Found::MatchedExpired);
    if expired && MISMATCHES.contains(&diagnosis) {
        Diagnosis::MATCHES_EXPIRED_SECRET
    } else {
        diagnosis
    }
}
