//! What makes a redelivery the same event.

use std::borrow::Cow;

use plugin_sdk::{Key, Loose, call, state};

use crate::payload::{Payload, Transaction};
use crate::signature::Proof;

/// The longest that a key may be remembered. The signature covers no time, so whoever saw a webhook
/// could send it again at any later time.
const WINDOW_DAYS: u64 = 400;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The key of the event that `payload` becomes.
///
/// Of a payment it is the signature alone: nothing that is not signed makes a second event of it.
/// Two partial refunds of the same amount have one signature, so an operation's key has what else
/// tells them apart, though it is not signed. Without a signature it is all that tells two
/// operations apart.
pub(crate) fn of(payload: &Payload<'_>, proof: &Proof<'_>) -> Key {
    let nothing = Transaction::default();
    let child = payload.txn.get().unwrap_or(&nothing);
    let child_id = Some(text(child.session_id)).filter(|id| !id.is_empty());
    let child_id = child_id.unwrap_or_else(|| text(child.reference_number));
    let [operation, child_state] = [payload.operation, child.state].map(text);
    let signature = text(payload.signature);
    match proof {
        Proof::Signed { .. } if payload.is_payment() => Key::new(["payment", &signature]),
        Proof::Signed { .. } => {
            Key::new(["operation", &signature, &operation, &child_state, &child_id])
        }
        Proof::Unsigned => {
            let [reference, result, amount] =
                [payload.reference_number, payload.result, payload.amount].map(text);
            let parts = [&*reference, &result, &operation, &child_state, &child_id, &amount];
            Key::new(std::iter::once("unsigned").chain(parts))
        }
    }
    .window_days(WINDOW_DAYS)
}

/// Whether an operation that was signed alike came before and differed in what is not signed: two
/// partial refunds of one amount, or somebody who made a second of the first.
///
/// `seen` cannot tell: an event makes one key known, and that of an operation has all of it. So the
/// first operation under a signature is kept in the adapter's state. Where that is refused, nobody
/// is warned; an operation is not refused for it.
pub(crate) fn is_same_signature(payload: &Payload<'_>, proof: &Proof<'_>, key: &Key) -> bool {
    if payload.is_payment() || matches!(proof, Proof::Unsigned) {
        return false;
    }
    let first = format!("signature/{}", text(payload.signature));
    match state::entry(first.as_bytes()) {
        Ok(Some(entry)) => entry.value != key.value().as_bytes(),
        Ok(None) => {
            let until = call::now().saturating_add(WINDOW_DAYS * DAY_MS);
            // A quota that is exhausted costs a later warning and nothing else.
            drop(state::put_bytes(first.as_bytes(), key.value().as_bytes(), Some(until)));
            false
        }
        Err(_) => false,
    }
}

fn text(value: Loose<'_>) -> Cow<'_, str> {
    value.text().ok().flatten().unwrap_or_default()
}
