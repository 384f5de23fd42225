use schemars::JsonSchema;
use serde::Serialize;

/// What a webhook is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A payment came into a state.
    Payment,
    /// Something was done with a payment.
    Operation,
}

/// The provider's word, our type, and what it means.
type Named = (&'static str, &'static str, &'static str);

const STATES: [Named; 10] = [
    ("created", "com.ottu.payment.created", "A payment was created"),
    ("pending", "com.ottu.payment.pending", "The payer opened the payment"),
    ("attempted", "com.ottu.payment.attempted", "The payer tried and may try again"),
    ("authorized", "com.ottu.payment.authorized", "The amount was authorized"),
    ("paid", "com.ottu.payment.paid", "The amount was paid"),
    ("cod", "com.ottu.payment.cod", "The amount will be paid on delivery"),
    ("failed", "com.ottu.payment.failed", "The payment failed; it may still become paid"),
    ("canceled", "com.ottu.payment.canceled", "The payment was cancelled"),
    ("expired", "com.ottu.payment.expired", "The payment expired; it may still become paid"),
    ("invalided", "com.ottu.payment.invalided", "The payment was made invalid"),
];
const PAYMENT_UNRECOGNISED: &str = "com.ottu.payment.unrecognised";

const OPERATIONS: [Named; 6] = [
    ("capture", "com.ottu.operation.capture", "An authorized amount was captured"),
    ("refund", "com.ottu.operation.refund", "An amount was given back"),
    ("void", "com.ottu.operation.void", "An authorization was voided"),
    ("cancel", "com.ottu.operation.cancel", "A payment was cancelled"),
    ("delete", "com.ottu.operation.delete", "A payment was deleted"),
    ("expire", "com.ottu.operation.expire", "A payment was made to expire"),
];
const OPERATION_UNRECOGNISED: &str = "com.ottu.operation.unrecognised";

/// The operation that a child transaction in this state is of; `refund_queued` and
/// `refund_rejected`, too, name theirs.
const OF_CHILD_STATE: [(&str, &str); 3] =
    [("refunded", "refund"), ("voided", "void"), ("paid", "capture")];

impl Kind {
    /// The type of its event, by a payment's state or an operation's name.
    pub(crate) fn event_type(self, word: Option<&str>) -> &'static str {
        let (named, unrecognised) = match self {
            Self::Payment => (STATES.as_slice(), PAYMENT_UNRECOGNISED),
            Self::Operation => (OPERATIONS.as_slice(), OPERATION_UNRECOGNISED),
        };
        let found = word.and_then(|word| named.iter().find(|(theirs, ..)| same(theirs, word)));
        found.map_or(unrecognised, |(_, event, _)| event)
    }
}

/// The operation that a child transaction's state tells of.
pub(crate) fn of_child_state(state: &str) -> Option<&'static str> {
    let plain = OF_CHILD_STATE.into_iter().find(|(theirs, _)| same(theirs, state));
    plain.map(|(_, operation)| operation).or_else(|| {
        let (name, _, _) = OPERATIONS.into_iter().find(|(name, ..)| {
            let rest = state.get(name.len()..).unwrap_or_default();
            state.get(..name.len()).is_some_and(|start| same(name, start))
                && (same("_queued", rest) || same("_rejected", rest))
        })?;
        Some(name)
    })
}

/// Whether two words are the same but for case and the spelling `refund-queued`.
fn same(ours: &str, theirs: &str) -> bool {
    ours.len() == theirs.len()
        && ours.bytes().zip(theirs.bytes()).all(|(ours, theirs)| {
            ours == theirs.to_ascii_lowercase() || (ours == b'_' && theirs == b'-')
        })
}

/// Every event type with its meaning.
pub(crate) fn event_types() -> impl Iterator<Item = (&'static str, &'static str)> {
    STATES.into_iter().chain(OPERATIONS).map(|(_, name, summary)| (name, summary)).chain([
        (PAYMENT_UNRECOGNISED, "A payment came into a state that this adapter does not know"),
        (OPERATION_UNRECOGNISED, "An operation that this adapter does not know"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_operation_has_its_type() {
        for (state, event) in [
            ("paid", "com.ottu.payment.paid"),
            ("PAID", "com.ottu.payment.paid"),
            ("invalided", "com.ottu.payment.invalided"),
            ("paid ", PAYMENT_UNRECOGNISED),
            ("refund", PAYMENT_UNRECOGNISED),
        ] {
            assert_eq!(Kind::Payment.event_type(Some(state)), event, "{state}");
        }
        for (operation, event) in [
            (Some("refund"), "com.ottu.operation.refund"),
            (Some("Expire"), "com.ottu.operation.expire"),
            (Some("paid"), OPERATION_UNRECOGNISED),
            (None, OPERATION_UNRECOGNISED),
        ] {
            assert_eq!(Kind::Operation.event_type(operation), event, "{operation:?}");
        }
    }

    #[test]
    fn a_child_state_names_its_operation() {
        for (state, operation) in [
            ("refunded", Some("refund")),
            ("refund_queued", Some("refund")),
            ("refund-rejected", Some("refund")),
            ("void_queued", Some("void")),
            ("Voided", Some("void")),
            ("paid", Some("capture")),
            ("capture_rejected", Some("capture")),
            ("refund", None),
            ("refund_", None),
            ("refundé", None),
            ("queued", None),
            ("", None),
        ] {
            assert_eq!(of_child_state(state), operation, "{state}");
        }
    }

    #[test]
    fn no_event_type_stands_twice() {
        let mut names: Vec<&str> = event_types().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 18);
    }
}
