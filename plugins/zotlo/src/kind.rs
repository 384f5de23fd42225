use schemars::JsonSchema;
use serde::Serialize;

/// Type of the events that this adapter does not know.
pub(crate) const UNRECOGNISED: &str = "com.zotlo.unrecognised";
const REFUNDED: &str = "com.zotlo.payment.refunded";
const REGISTERED: &str = "com.zotlo.subscriber.registered";
const ANSWERED: &str = "com.zotlo.quiz.answered";

/// What a webhook is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Payment,
    Refund,
    Subscription,
    Registration,
    Quiz,
    #[default]
    Unrecognised,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Subscription => "subscription",
            Self::Registration => "registration",
            Self::Quiz => "quiz",
            Self::Unrecognised => "unrecognised",
        }
    }

    /// By `queue.type`. A transaction that is marked as a refund is one, whatever the envelope
    /// says: taking money back must not look like a sale.
    pub(crate) fn of_queue(queue_type: Option<&str>, is_refund: bool) -> Self {
        match queue_type {
            Some(text) if text.eq_ignore_ascii_case("TransactionInsert") => {
                if is_refund {
                    Self::Refund
                } else {
                    Self::Payment
                }
            }
            Some(text) if text.eq_ignore_ascii_case("TransactionRefund") => Self::Refund,
            Some(text) if text.eq_ignore_ascii_case("SubscriberUpdate") => Self::Subscription,
            _ => Self::Unrecognised,
        }
    }

    /// The type of its event. `status` is a payment's, `change` a subscription's `eventType`.
    pub(crate) fn event_type(self, status: Option<&str>, change: Option<&str>) -> &'static str {
        let named = match self {
            Self::Payment => status.and_then(|status| find(&PAYMENTS, status)),
            Self::Refund => Some(REFUNDED),
            Self::Subscription => change.and_then(|change| find(&SUBSCRIPTIONS, change)),
            Self::Registration => Some(REGISTERED),
            Self::Quiz => Some(ANSWERED),
            Self::Unrecognised => None,
        };
        named.unwrap_or(UNRECOGNISED)
    }
}

/// The provider's word, our type, and what it means.
type Named = (&'static str, &'static str, &'static str);

const PAYMENTS: [Named; 6] = [
    ("trial", "com.zotlo.payment.trial", "A trial began"),
    ("start_paid", "com.zotlo.payment.start_paid", "A paid subscription began"),
    ("trial_to_paid", "com.zotlo.payment.trial_to_paid", "A trial became paid"),
    ("renewal", "com.zotlo.payment.renewal", "A subscription was renewed"),
    ("reactive", "com.zotlo.payment.reactive", "A subscription was taken up again"),
    ("consumable", "com.zotlo.payment.consumable", "Something was bought once"),
];

const SUBSCRIPTIONS: [Named; 12] = [
    ("newSubscriber", "com.zotlo.subscription.new_subscriber", "A subscriber is new"),
    ("renewal", "com.zotlo.subscription.renewal", "A subscription was renewed"),
    ("activeToGrace", "com.zotlo.subscription.active_to_grace", "A renewal failed; grace began"),
    ("graceToActive", "com.zotlo.subscription.grace_to_active", "The renewal succeeded in grace"),
    ("graceToPassive", "com.zotlo.subscription.grace_to_passive", "Grace ended without renewal"),
    ("cancel", "com.zotlo.subscription.cancel", "A subscription was cancelled"),
    ("reactivate", "com.zotlo.subscription.reactivate", "A cancellation was taken back"),
    ("package_update", "com.zotlo.subscription.package_update", "A package was updated"),
    ("packageUpgrade", "com.zotlo.subscription.package_upgrade", "A package was upgraded"),
    ("packageDowngrade", "com.zotlo.subscription.package_downgrade", "A package was downgraded"),
    ("packageClosed", "com.zotlo.subscription.package_closed", "A package was closed"),
    ("changePackage", "com.zotlo.subscription.change_package", "A package was changed"),
];

/// Finds a word without regard to case and underscores.
fn find(named: &[Named], word: &str) -> Option<&'static str> {
    named.iter().find(|(theirs, ..)| letters(theirs).eq(letters(word))).map(|(_, ours, _)| *ours)
}

fn letters(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase())
}

/// Every event type with its meaning.
pub(crate) fn event_types() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAYMENTS.into_iter().chain(SUBSCRIPTIONS).map(|(_, name, summary)| (name, summary)).chain([
        (REFUNDED, "A payment was refunded"),
        (REGISTERED, "A user registered"),
        (ANSWERED, "A user answered a quiz"),
        (UNRECOGNISED, "A webhook that this adapter does not know"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_old_and_new_documentation_are_known() {
        let change = |word| Kind::Subscription.event_type(None, Some(word));
        assert_eq!(change("Cancel"), "com.zotlo.subscription.cancel");
        assert_eq!(change("package_update"), "com.zotlo.subscription.package_update");
        assert_eq!(change("packageUpgrade"), "com.zotlo.subscription.package_upgrade");
        assert_eq!(change("package_upgrade"), "com.zotlo.subscription.package_upgrade");
        assert_eq!(change("frozen"), UNRECOGNISED);
        assert_eq!(Kind::Payment.event_type(Some("TRIAL"), None), "com.zotlo.payment.trial");
        assert_eq!(Kind::Payment.event_type(Some("gift"), None), UNRECOGNISED);
        assert_eq!(Kind::Payment.event_type(None, Some("transaction")), UNRECOGNISED);
    }

    #[test]
    fn money_taken_back_is_never_a_sale() {
        assert_eq!(Kind::of_queue(Some("TransactionInsert"), true), Kind::Refund);
        assert_eq!(Kind::of_queue(Some("transactionrefund"), false), Kind::Refund);
        assert_eq!(Kind::of_queue(Some("Else"), true), Kind::Unrecognised);
    }

    #[test]
    fn no_event_type_stands_twice() {
        let mut names: Vec<&str> = event_types().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 22);
    }
}
