use std::borrow::Cow;
use std::collections::BTreeMap;

use plugin_sdk::{Loose, Money, Telephone, Time};
use schemars::JsonSchema;
use serde::Serialize;

use crate::kind::Kind;
use crate::settings::Scheme;

/// The data of every event of this adapter. Absent means unknown.
///
/// What Ottu's signature covers is listed in `verification.verified_fields`; whatever is not listed
/// there could have been changed by anybody who saw the webhook.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Data<'a> {
    /// What the webhook is about.
    pub kind: Kind,
    /// Ottu's number of the payment; of an operation, that of the payment it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_number: Option<Cow<'a, str>>,
    /// The merchant's own number of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_no: Option<Cow<'a, str>>,
    /// The payment's session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Cow<'a, str>>,
    /// The provider's word for the state of the payment; an operation has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'a, str>>,
    /// How it came out: `pending`, `success`, `failed`, `canceled`, `error`, `cod`, `rejected` or
    /// `queued`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Cow<'a, str>>,
    /// What was done; of an operation that does not say so, by the state of its transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Cow<'a, str>>,
    /// The amount, in the order's currency. Of an operation the currency is not signed: the amount
    /// with its currency is in `transaction`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money<'a>>,
    /// Currency of the order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Cow<'a, str>>,
    /// What became of the amount so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals<'a>>,
    /// What the gateway took, in its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_details: Option<AmountDetails<'a>>,
    /// The payment gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway<'a>>,
    /// The payer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<Customer<'a>>,
    /// What a person may read of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Cow<'a, str>>,
    /// What a person may read of an operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'a, str>>,
    /// Whether it is a test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<bool>,
    /// `one_off`, `auto_debit` or `save_card`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_type: Option<Cow<'a, str>>,
    /// Who asked for an operation: `input` (a person or a program) or `pg` (the gateway).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    /// Whether an operation succeeded, as the provider says beside `result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Time>,
    /// The child transaction that an operation made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<Transaction<'a>>,
    /// The child transactions of a payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Vec<Transaction<'a>>>,
    /// Who started the payment or operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiator: Option<Initiator<'a>>,
    /// What the merchant attached to the payment, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Loose<'a>>,
    /// The recurring agreement, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Loose<'a>>,
    /// The stored card, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Loose<'a>>,
    /// Which cards are taken, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card_acceptance_criteria: Option<Loose<'a>>,
    /// The customer's wallet, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wallet_transactions: Option<Loose<'a>>,
    /// Where to deliver to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery<'a>>,
    /// Ottu's own log of the transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_log_id: Option<Cow<'a, str>>,
    /// What of all this is known to come from Ottu.
    pub verification: Verification<'a>,
}

/// What became of the amount so far, in the order's currency.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Totals<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refunded: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voided: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<Money<'a>>,
    /// In its own currency, where it names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money<'a>>,
}

/// What the gateway took, in its currency.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct AmountDetails<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Cow<'a, str>>,
    /// From the order's currency to this, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange_rate: Option<Cow<'a, str>>,
}

/// The payment gateway.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Gateway<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Cow<'a, str>>,
    /// The gateway's code, in operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// Its answer, of whatever shape, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Loose<'a>>,
    /// Its parameters by name, without the texts that name them in Arabic and English.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, Loose<'a>>>,
}

/// The payer.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Customer<'a> {
    /// The merchant's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Telephone<'a>>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birthdate: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address<'a>>,
}

/// A payer's address.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Address<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line1: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line2: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Cow<'a, str>>,
}

/// A child transaction.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Transaction<'a> {
    /// In the transaction's own currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_no: Option<Cow<'a, str>>,
    /// Its own number, in old webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_number: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Cow<'a, str>>,
    /// `paid`, `refunded`, `refund_queued`, `refund_rejected`, `voided` or another word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_email: Option<Cow<'a, str>>,
    /// What the merchant attached to it, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<Loose<'a>>,
}

/// Who started something.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Initiator<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Telephone<'a>>,
}

/// Where to deliver to.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Delivery<'a> {
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Loose<'a>>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Loose<'a>>,
}

/// Which signature scheme matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifiedBy {
    /// 18 fields of the top level.
    Standard,
    /// 26 fields, nested ones too.
    Subscription,
    /// None: nobody verified a signature, as the settings of the route allow for operations.
    None,
}

impl VerifiedBy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Subscription => "subscription",
            Self::None => "none",
        }
    }
}

impl From<Option<Scheme>> for VerifiedBy {
    fn from(scheme: Option<Scheme>) -> Self {
        match scheme {
            Some(Scheme::Standard) => Self::Standard,
            Some(Scheme::Subscription) => Self::Subscription,
            None => Self::None,
        }
    }
}

/// What of the data is known to come from Ottu.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verification<'a> {
    /// Which signature scheme matched.
    pub scheme: VerifiedBy,
    /// Paths in this data of what the signature covers. What is not among them is not protected.
    pub verified_fields: Vec<&'static str>,
    /// The signature, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Cow<'a, str>>,
}
