use plugin_sdk::{Loose, Object};
use serde::Deserialize;

/// The webhook's body: every key of Ottu's payment and operation webhooks, old and new. Which of
/// them the signature protects is in [`crate::signature`].
#[derive(Debug, Default, Deserialize)]
pub struct Payload<'a> {
    /// In the order's currency: decimal text.
    #[serde(borrow)]
    pub amount: Loose<'a>,
    #[serde(borrow)]
    pub currency_code: Loose<'a>,
    #[serde(borrow)]
    pub customer_address_city: Loose<'a>,
    #[serde(borrow)]
    pub customer_address_country: Loose<'a>,
    #[serde(borrow)]
    pub customer_address_line1: Loose<'a>,
    #[serde(borrow)]
    pub customer_address_line2: Loose<'a>,
    #[serde(borrow)]
    pub customer_address_postal_code: Loose<'a>,
    #[serde(borrow)]
    pub customer_address_state: Loose<'a>,
    #[serde(borrow)]
    pub customer_email: Loose<'a>,
    #[serde(borrow)]
    pub customer_first_name: Loose<'a>,
    #[serde(borrow)]
    pub customer_last_name: Loose<'a>,
    #[serde(borrow)]
    pub customer_phone: Loose<'a>,
    #[serde(borrow)]
    pub gateway_account: Loose<'a>,
    #[serde(borrow)]
    pub gateway_name: Loose<'a>,
    /// The merchant's own number of the order.
    #[serde(borrow)]
    pub order_no: Loose<'a>,
    /// Ottu's number of the payment; of an operation, that of the payment it belongs to.
    #[serde(borrow)]
    pub reference_number: Loose<'a>,
    /// `pending`, `success`, `failed`, `canceled`, `error` or `cod`; of an operation also
    /// `rejected` and `queued`.
    #[serde(borrow)]
    pub result: Loose<'a>,
    /// State of the payment. Only payment webhooks have one.
    #[serde(borrow)]
    pub state: Loose<'a>,
    /// HMAC of the signed fields. Old operation webhooks have none.
    #[serde(borrow)]
    pub signature: Loose<'a>,

    /// The recurring agreement.
    #[serde(borrow)]
    pub agreement: Loose<'a>,
    /// What the gateway took, in its currency.
    #[serde(borrow)]
    pub amount_details: Object<AmountDetails<'a>>,
    #[serde(borrow)]
    pub capture_delivery_address: Loose<'a>,
    #[serde(borrow)]
    pub capture_delivery_location: Loose<'a>,
    #[serde(borrow)]
    pub card_acceptance_criteria: Loose<'a>,
    #[serde(borrow)]
    pub customer_birthdate: Loose<'a>,
    #[serde(borrow)]
    pub customer_id: Loose<'a>,
    #[serde(borrow)]
    pub customer_wallet_transactions: Loose<'a>,
    /// Of an operation: what a person may read of it.
    #[serde(borrow)]
    pub detail: Loose<'a>,
    /// What the merchant attached to the payment.
    #[serde(borrow)]
    pub extra: Loose<'a>,
    /// With its currency, as `20.000 KWD`.
    #[serde(borrow)]
    pub fee: Loose<'a>,
    /// The payment gateway's answer, of any shape.
    #[serde(borrow)]
    pub gateway_response: Loose<'a>,
    /// Who started the payment or operation.
    #[serde(borrow)]
    pub initiator: Object<Initiator<'a>>,
    #[serde(borrow)]
    pub is_sandbox: Loose<'a>,
    #[serde(borrow)]
    pub message: Loose<'a>,
    /// `capture`, `refund` or `void`; null in every sample.
    #[serde(borrow)]
    pub operation: Loose<'a>,
    #[serde(borrow)]
    pub paid_amount: Loose<'a>,
    /// `one_off`, `auto_debit` or `save_card`.
    #[serde(borrow)]
    pub payment_type: Loose<'a>,
    /// Of an operation: the gateway's code.
    #[serde(borrow)]
    pub pg_code: Loose<'a>,
    /// Values of the gateway: flat, or each with its names in Arabic and English.
    #[serde(borrow)]
    pub pg_params: Loose<'a>,
    /// Of an operation: the payment gateway's answer, of any shape.
    #[serde(borrow)]
    pub pg_response: Loose<'a>,
    #[serde(borrow)]
    pub refunded_amount: Loose<'a>,
    #[serde(borrow)]
    pub remaining_amount: Loose<'a>,
    #[serde(borrow)]
    pub session_id: Loose<'a>,
    #[serde(borrow)]
    pub settled_amount: Loose<'a>,
    /// Of an operation: `input` or `pg`.
    #[serde(borrow)]
    pub source: Loose<'a>,
    /// Of an operation.
    #[serde(borrow)]
    pub success: Loose<'a>,
    /// Without a zone.
    #[serde(borrow)]
    pub timestamp_utc: Loose<'a>,
    /// The stored card that was used.
    #[serde(borrow)]
    pub token: Loose<'a>,
    #[serde(borrow)]
    pub total_authorized_amount: Loose<'a>,
    #[serde(borrow)]
    pub total_paid_amount: Loose<'a>,
    #[serde(borrow)]
    pub total_refunded_amount: Loose<'a>,
    #[serde(borrow)]
    pub total_voided_amount: Loose<'a>,
    #[serde(borrow)]
    pub transaction_log_id: Loose<'a>,
    /// Child transactions of the payment.
    #[serde(borrow)]
    pub transactions: Loose<'a>,
    /// Of an operation: the child transaction that it made.
    #[serde(borrow)]
    pub txn: Object<Transaction<'a>>,
    #[serde(borrow)]
    pub voided_amount: Loose<'a>,
}

impl Payload<'_> {
    /// Whether it tells of a payment, and not of an operation on one: exactly if it has a `state`.
    /// That is signed; `txn` and `operation`, which anybody could add, are not.
    pub(crate) fn is_payment(&self) -> bool {
        self.state.text() != Ok(None)
    }
}

/// `amount_details`.
#[derive(Debug, Default, Deserialize)]
pub struct AmountDetails<'a> {
    #[serde(borrow)]
    pub amount: Loose<'a>,
    #[serde(borrow)]
    pub currency_code: Loose<'a>,
    #[serde(borrow)]
    pub exchange_rate: Loose<'a>,
    #[serde(borrow)]
    pub fee: Loose<'a>,
    #[serde(borrow)]
    pub total: Loose<'a>,
}

/// `initiator`.
#[derive(Debug, Default, Deserialize)]
pub struct Initiator<'a> {
    #[serde(borrow)]
    pub email: Loose<'a>,
    #[serde(borrow)]
    pub first_name: Loose<'a>,
    #[serde(borrow)]
    pub id: Loose<'a>,
    #[serde(borrow)]
    pub last_name: Loose<'a>,
    #[serde(borrow)]
    pub phone: Loose<'a>,
    #[serde(borrow)]
    pub username: Loose<'a>,
}

/// `txn`, and an item of `transactions`.
#[derive(Debug, Default, Deserialize)]
pub struct Transaction<'a> {
    #[serde(borrow)]
    pub amount: Loose<'a>,
    #[serde(borrow)]
    pub currency_code: Loose<'a>,
    #[serde(borrow)]
    pub customer_email: Loose<'a>,
    #[serde(borrow)]
    pub extra: Loose<'a>,
    #[serde(borrow)]
    pub order_no: Loose<'a>,
    #[serde(borrow)]
    pub reference_number: Loose<'a>,
    #[serde(borrow)]
    pub session_id: Loose<'a>,
    /// `paid`, `refunded`, `refund_queued`, `refund_rejected` or `voided`.
    #[serde(borrow)]
    pub state: Loose<'a>,
}

/// A value of `pg_params` in its older form.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Labelled<'a> {
    #[serde(borrow)]
    pub(crate) value: Loose<'a>,
    #[serde(borrow)]
    verbose_name_ar: Loose<'a>,
    #[serde(borrow)]
    verbose_name_en: Loose<'a>,
}

impl Labelled<'_> {
    /// Whether it is one, and no object that the gateway itself sent.
    pub(crate) fn is_one(&self) -> bool {
        ![self.value, self.verbose_name_ar, self.verbose_name_en].iter().all(|of| of.is_absent())
    }
}

/// The parts of `agreement`, `extra` and `token` that the second signature scheme covers.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SignedParts<'a> {
    #[serde(borrow)]
    pub(crate) autopay: Loose<'a>,
    #[serde(borrow)]
    pub(crate) customer_id: Loose<'a>,
    #[serde(borrow)]
    pub(crate) id: Loose<'a>,
    #[serde(borrow)]
    pub(crate) merchant_id: Loose<'a>,
    #[serde(borrow)]
    pub(crate) pg_code: Loose<'a>,
    #[serde(borrow)]
    pub(crate) subscription_id: Loose<'a>,
    #[serde(borrow)]
    pub(crate) token: Loose<'a>,
}
