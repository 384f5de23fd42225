use std::borrow::Cow;

use plugin_sdk::{Loose, Money, Time};
use schemars::JsonSchema;
use serde::Serialize;

use crate::kind::Kind;

/// The data of every event of this adapter. Absent means unknown.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Data<'a> {
    /// What the webhook is about.
    pub kind: Kind,
    /// Id of the transaction in Zotlo's database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// Zotlo's id of the webhook; redeliveries repeat it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Cow<'a, str>>,
    /// The provider's word for the kind of webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_type: Option<Cow<'a, str>>,
    /// The provider's word for what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Cow<'a, str>>,
    /// When the webhook was made, where that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_created_at: Option<Time>,
    /// How the provider said when that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_time_zone: Option<QueueTimeZone<'a>>,
    /// The transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<Cow<'a, str>>,
    /// The first transaction of the subscription, or the one that is refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_transaction_id: Option<Cow<'a, str>>,
    /// The subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_id: Option<Cow<'a, str>>,
    /// The user, by telephone number or e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber_id: Option<Cow<'a, str>>,
    /// The package that was bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_id: Option<Cow<'a, str>>,
    /// The project, as the envelope names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_app_id: Option<Cow<'a, str>>,
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<Cow<'a, str>>,
    /// The Zotlo account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_id: Option<Cow<'a, str>>,
    /// The provider's word for the state of the transaction or subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Cow<'a, str>>,
    /// `subscription` or `consumable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_type: Option<Cow<'a, str>>,
    /// Currency of the amounts, as sent: also where none of them can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Cow<'a, str>>,
    /// What was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Money<'a>>,
    /// What the package costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_price: Option<Money<'a>>,
    /// How many were bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// What was given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund: Option<Refund<'a>>,
    /// When it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchased_at: Option<Time>,
    /// When the subscription began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_purchased_at: Option<Time>,
    /// When Zotlo recorded it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When the subscription ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// The user's country, by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Cow<'a, str>>,
    /// The user's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Cow<'a, str>>,
    /// The card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Card<'a>>,
    /// The provider's word for how it was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_method: Option<Cow<'a, str>>,
    /// Who carried out the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<Cow<'a, str>>,
    /// Number of instalments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installment: Option<i64>,
    /// Whether 3-D Secure was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub three_ds: Option<bool>,
    /// Conversion between currencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange<'a>>,
    /// The coupon that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coupon: Option<Coupon<'a>>,
    /// Where the user came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utm: Option<Utm<'a>>,
    /// The session in which it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session<'a>>,
    /// The user's registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration<'a>>,
    /// State of the subscriber, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Loose<'a>>,
    /// The package, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Loose<'a>>,
    /// The package after a change, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_package: Option<Loose<'a>>,
    /// The user; in a quiz the client. As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<Loose<'a>>,
    /// Questions and answers of a quiz, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub questions: Option<Loose<'a>>,
}

/// The zone of `queue.createDate`, as a PHP `DateTime` has it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct QueueTimeZone<'a> {
    /// 1: an offset, 2: an abbreviation, 3: an identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<i64>,
    /// The zone, in that form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
}

/// What was given back.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Refund<'a> {
    /// Whether the transaction is marked as refunded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_refund: Option<bool>,
    /// How much; a positive amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Money<'a>>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
}

/// A card, masked by Zotlo.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Card<'a> {
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<Cow<'a, str>>,
    /// Its brand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brand: Option<Cow<'a, str>>,
}

/// Conversion between currencies; Zotlo documents neither values nor shape.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Exchange<'a> {
    /// The provider's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Cow<'a, str>>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Loose<'a>>,
}

/// A coupon of a campaign.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Coupon<'a> {
    /// Whether one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<bool>,
    /// Its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// The provider's word for the kind of discount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_type: Option<Cow<'a, str>>,
    /// The discount's number, as sent; its unit depends on `discount_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_value: Option<Cow<'a, str>>,
}

/// UTM parameters.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Utm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Cow<'a, str>>,
}

/// The session and site of the sale.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Session<'a> {
    /// Id of the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uuid: Option<Cow<'a, str>>,
    /// Sales channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_module: Option<Cow<'a, str>>,
    /// Site of the sale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_id: Option<Cow<'a, str>>,
    /// Flow of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<Cow<'a, str>>,
    /// Project of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<Cow<'a, str>>,
    /// Account of the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team_id: Option<Cow<'a, str>>,
    /// Name that the user entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<Cow<'a, str>>,
    /// PIN that was sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epin_code: Option<Cow<'a, str>>,
    /// Whether the user accepted the terms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_policy: Option<bool>,
    /// Number of instalments, as the site has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installment: Option<i64>,
}

/// A registration.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Registration<'a> {
    /// Address of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<Cow<'a, str>>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Time>,
    /// The provider's word for the state of the one-time password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otp_status: Option<Cow<'a, str>>,
}
