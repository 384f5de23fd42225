use plugin_sdk::{Loose, Object};
use serde::Deserialize;

/// The webhook's body. Payments, refunds and subscription changes come in the `queue` envelope;
/// registrations and quiz answers come without.
#[derive(Debug, Deserialize)]
pub struct Payload<'a> {
    /// What kind of webhook, and when.
    #[serde(borrow)]
    pub queue: Object<Queue<'a>>,
    /// What it is about.
    #[serde(borrow)]
    pub parameters: Object<Parameters<'a>>,
    /// Registration: session id of the user.
    #[serde(borrow, rename = "clientUuid")]
    pub client_uuid: Loose<'a>,
    /// Registration: address of the user.
    #[serde(borrow, rename = "clientIp")]
    pub client_ip: Loose<'a>,
    /// Registration: the user, by telephone number or e-mail address.
    #[serde(borrow, rename = "subscriberId")]
    pub subscriber_id: Loose<'a>,
    /// Registration: when, in UTC.
    #[serde(borrow, rename = "registerDate")]
    pub register_date: Loose<'a>,
    /// Registration: whether the one-time password was confirmed.
    #[serde(borrow, rename = "registerOtpStatus")]
    pub register_otp_status: Loose<'a>,
    /// Quiz: who answered.
    #[serde(borrow)]
    pub client: Loose<'a>,
    /// Quiz: questions and answers.
    #[serde(borrow)]
    pub questions: Loose<'a>,
}

/// `queue`: the envelope.
#[derive(Debug, Default, Deserialize)]
pub struct Queue<'a> {
    /// `TransactionInsert`, `TransactionRefund` or `SubscriberUpdate`.
    #[serde(borrow, rename = "type")]
    pub kind: Loose<'a>,
    /// `transaction`, `refund`, or what changed in a subscription.
    #[serde(borrow, rename = "eventType")]
    pub event_type: Loose<'a>,
    /// The unique identifier of the webhook; redeliveries repeat it.
    #[serde(borrow, rename = "requestID")]
    pub request_id: Loose<'a>,
    /// A PHP `DateTime` object; in old payloads a text.
    #[serde(borrow, rename = "createDate")]
    pub create_date: Loose<'a>,
    /// The project.
    #[serde(borrow, rename = "appId")]
    pub app_id: Loose<'a>,
}

/// `queue.createDate`, where it is a PHP `DateTime` object.
#[derive(Debug, Default, Deserialize)]
pub struct CreateDate<'a> {
    /// 1: an offset, 2: an abbreviation, 3: an identifier.
    #[serde(borrow)]
    pub timezone_type: Loose<'a>,
    /// The zone, in that form.
    #[serde(borrow)]
    pub timezone: Loose<'a>,
}

/// `parameters` of payments, refunds and subscription changes together. Numbers and booleans come
/// as such or as texts.
#[derive(Debug, Default, Deserialize)]
pub struct Parameters<'a> {
    /// The transaction's id in Zotlo's database.
    #[serde(borrow)]
    pub id: Loose<'a>,
    /// `subscription` or `consumable`.
    #[serde(borrow)]
    pub payment_type: Loose<'a>,
    /// The first transaction of a subscription, or the one that is refunded.
    #[serde(borrow)]
    pub original_transaction_id: Loose<'a>,
    #[serde(borrow)]
    pub transaction_id: Loose<'a>,
    #[serde(borrow)]
    pub package_id: Loose<'a>,
    /// The Zotlo account.
    #[serde(borrow)]
    pub team_id: Loose<'a>,
    /// The project.
    #[serde(borrow)]
    pub app_id: Loose<'a>,
    /// `trial`, `start_paid`, `trial_to_paid`, `renewal`, `reactive` or `consumable`.
    #[serde(borrow)]
    pub status: Loose<'a>,
    #[serde(borrow)]
    pub create_date: Loose<'a>,
    #[serde(borrow)]
    pub purchase_date: Loose<'a>,
    #[serde(borrow)]
    pub original_purchase_date: Loose<'a>,
    #[serde(borrow)]
    pub price: Loose<'a>,
    #[serde(borrow)]
    pub currency: Loose<'a>,
    /// By the user's address.
    #[serde(borrow)]
    pub country: Loose<'a>,
    #[serde(borrow)]
    pub expire_date: Loose<'a>,
    /// The user, by telephone number or e-mail address.
    #[serde(borrow)]
    pub subscriber_id: Loose<'a>,
    /// Masked by Zotlo.
    #[serde(borrow)]
    pub credit_card: Loose<'a>,
    #[serde(borrow)]
    pub refund_price: Loose<'a>,
    #[serde(borrow)]
    pub refund_date: Loose<'a>,
    #[serde(borrow)]
    pub refund_reason: Loose<'a>,
    #[serde(borrow)]
    pub is_refund: Loose<'a>,
    #[serde(borrow)]
    pub provider_name: Loose<'a>,
    #[serde(borrow)]
    pub quantity: Loose<'a>,
    #[serde(borrow)]
    pub package_price: Loose<'a>,
    #[serde(borrow)]
    pub subscription_id: Loose<'a>,
    #[serde(borrow)]
    pub custom_parameters: Object<CustomParameters<'a>>,
    #[serde(borrow, rename = "paymentMethod")]
    pub payment_method: Loose<'a>,
    #[serde(borrow)]
    pub installment: Loose<'a>,
    #[serde(borrow)]
    pub exchange: Object<Exchange<'a>>,
    #[serde(borrow)]
    pub coupon_campaign: Object<CouponCampaign<'a>>,
    #[serde(borrow)]
    pub language: Loose<'a>,
    /// Subscription: state of the subscriber.
    #[serde(borrow)]
    pub profile: Loose<'a>,
    /// Subscription: the package.
    #[serde(borrow)]
    pub package: Loose<'a>,
    /// Subscription: the package after a change.
    #[serde(borrow, rename = "newPackage")]
    pub new_package: Loose<'a>,
    /// Subscription: the user.
    #[serde(borrow)]
    pub customer: Loose<'a>,
    /// Subscription: the stored card.
    #[serde(borrow)]
    pub card: Object<Card<'a>>,
}

/// `parameters.custom_parameters`: the user's session and the site of the sale.
#[derive(Debug, Default, Deserialize)]
pub struct CustomParameters<'a> {
    #[serde(borrow, rename = "clientUuid")]
    pub client_uuid: Loose<'a>,
    #[serde(borrow, rename = "dataWarehouse")]
    pub data_warehouse: Object<DataWarehouse<'a>>,
    #[serde(borrow)]
    pub utm: Object<Utm<'a>>,
    #[serde(borrow, rename = "cardBrand")]
    pub card_brand: Loose<'a>,
    /// Whether 3-D Secure was used.
    #[serde(borrow)]
    pub threeds: Loose<'a>,
    #[serde(borrow)]
    pub installment: Loose<'a>,
}

/// `parameters.custom_parameters.dataWarehouse`.
#[derive(Debug, Default, Deserialize)]
pub struct DataWarehouse<'a> {
    /// Sales channel: `generate`.
    #[serde(borrow, rename = "paymentModule")]
    pub payment_module: Loose<'a>,
    #[serde(borrow, rename = "siteId")]
    pub site_id: Loose<'a>,
    #[serde(borrow, rename = "flowId")]
    pub flow_id: Loose<'a>,
    #[serde(borrow, rename = "appId")]
    pub app_id: Loose<'a>,
    #[serde(borrow, rename = "teamId")]
    pub team_id: Loose<'a>,
    #[serde(borrow, rename = "acceptPolicy")]
    pub accept_policy: Loose<'a>,
    #[serde(borrow, rename = "fullName")]
    pub full_name: Loose<'a>,
    #[serde(borrow, rename = "epinCode")]
    pub epin_code: Loose<'a>,
}

/// `parameters.custom_parameters.utm`.
#[derive(Debug, Default, Deserialize)]
pub struct Utm<'a> {
    #[serde(borrow)]
    pub source: Loose<'a>,
    #[serde(borrow)]
    pub medium: Loose<'a>,
    #[serde(borrow)]
    pub campaign: Loose<'a>,
    #[serde(borrow)]
    pub term: Loose<'a>,
    #[serde(borrow)]
    pub content: Loose<'a>,
}

/// `parameters.exchange`; neither values nor shape are documented.
#[derive(Debug, Default, Deserialize)]
pub struct Exchange<'a> {
    #[serde(borrow)]
    pub status: Loose<'a>,
    #[serde(borrow)]
    pub detail: Loose<'a>,
}

/// `parameters.coupon_campaign`.
#[derive(Debug, Default, Deserialize)]
pub struct CouponCampaign<'a> {
    #[serde(borrow, rename = "isUsedCouponCode")]
    pub is_used: Loose<'a>,
    #[serde(borrow)]
    pub code: Loose<'a>,
    #[serde(borrow, rename = "discountType")]
    pub discount_type: Loose<'a>,
    /// Of unknown unit: percent or money, by `discountType`.
    #[serde(borrow, rename = "discountValue")]
    pub discount_value: Loose<'a>,
}

/// `parameters.card` of subscription webhooks.
#[derive(Debug, Default, Deserialize)]
pub struct Card<'a> {
    /// Masked by Zotlo.
    #[serde(borrow, rename = "cardNumber")]
    pub number: Loose<'a>,
}

/// `parameters.profile`, where payments carry the same at the top.
#[derive(Debug, Default, Deserialize)]
pub struct Profile<'a> {
    #[serde(borrow)]
    pub status: Loose<'a>,
    #[serde(borrow, rename = "subscriberId")]
    pub subscriber_id: Loose<'a>,
    #[serde(borrow, rename = "subscriptionId")]
    pub subscription_id: Loose<'a>,
    #[serde(borrow, rename = "originalTransactionId")]
    pub original_transaction_id: Loose<'a>,
    #[serde(borrow, rename = "expireDate")]
    pub expire_date: Loose<'a>,
    #[serde(borrow)]
    pub country: Loose<'a>,
    #[serde(borrow)]
    pub language: Loose<'a>,
    #[serde(borrow)]
    pub quantity: Loose<'a>,
}
