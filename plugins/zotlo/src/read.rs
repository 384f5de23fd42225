//! From the provider's parameters to the data of an event.

use plugin_sdk::{Loose, Money, Reader, Zone, some_if_any};

use crate::event::{
    Card, Coupon, Data, Exchange, QueueTimeZone, Refund, Registration, Session, Utm,
};
use crate::payload::{
    CouponCampaign, CreateDate, CustomParameters, Parameters, Payload, Profile, Queue,
};

/// What the envelope tells.
pub(crate) fn queue<'a>(queue: &Queue<'a>, zone: Zone, read: &mut Reader, data: &mut Data<'a>) {
    data.queue_type = read.text("queue.type", queue.kind);
    data.event_type = read.text("queue.eventType", queue.event_type);
    data.request_id = read.text("queue.requestID", queue.request_id);
    data.queue_app_id = read.text("queue.appId", queue.app_id);
    data.queue_created_at = read.time("queue.createDate", queue.create_date, Some(zone));
    let date: CreateDate<'_> = queue.create_date.object().unwrap_or_default();
    data.queue_time_zone = some_if_any!(
        QueueTimeZone {
            r#type: read.integer("queue.createDate.timezone_type", date.timezone_type),
            name: read.text("queue.createDate.timezone", date.timezone),
        },
        r#type,
        name
    );
}

/// What the parameters of a payment, refund or subscription change tell. `true`: money was given
/// back.
pub(crate) fn parameters<'a>(
    mut from: Parameters<'a>,
    zone: Zone,
    read: &mut Reader,
    data: &mut Data<'a>,
) -> bool {
    data.id = read.text("parameters.id", from.id);
    data.payment_type = read.text("parameters.payment_type", from.payment_type);
    data.original_transaction_id =
        read.text("parameters.original_transaction_id", from.original_transaction_id);
    data.transaction_id = read.text("parameters.transaction_id", from.transaction_id);
    data.package_id = read.text("parameters.package_id", from.package_id);
    data.team_id = read.text("parameters.team_id", from.team_id);
    data.app_id = read.text("parameters.app_id", from.app_id);
    data.status = read.text("parameters.status", from.status);
    data.country = read.text("parameters.country", from.country);
    data.subscriber_id = read.text("parameters.subscriber_id", from.subscriber_id);
    data.provider_name = read.text("parameters.provider_name", from.provider_name);
    data.quantity = read.integer("parameters.quantity", from.quantity);
    data.subscription_id = read.text("parameters.subscription_id", from.subscription_id);
    data.payment_method = read.text("parameters.paymentMethod", from.payment_method);
    data.installment = read.integer("parameters.installment", from.installment);
    data.language = read.text("parameters.language", from.language);
    times(&from, zone, read, data);
    amounts(&from, zone, read, data);
    let custom = read
        .object("parameters.custom_parameters", std::mem::take(&mut from.custom_parameters))
        .unwrap_or_default();
    data.card = card(&mut from, &custom, read);
    let exchange = read.object("parameters.exchange", std::mem::take(&mut from.exchange));
    data.exchange = exchange.and_then(|exchange| {
        let status = read.text("parameters.exchange.status", exchange.status);
        some_if_any!(Exchange { status, detail: exchange.detail.opaque() }, status, detail)
    });
    let coupon =
        read.object("parameters.coupon_campaign", std::mem::take(&mut from.coupon_campaign));
    data.coupon = coupon.and_then(|campaign| coupon_of(&campaign, read));
    custom_parameters(custom, read, data);
    data.profile = from.profile.opaque();
    data.package = from.package.opaque();
    data.new_package = from.new_package.opaque();
    data.customer = from.customer.opaque();
    if let Some(profile) = from.profile.object::<Profile<'_>>() {
        from_profile(&profile, zone, read, data);
    }
    is_refund(&from, data)
}

fn times(from: &Parameters<'_>, zone: Zone, read: &mut Reader, data: &mut Data<'_>) {
    let zone = Some(zone);
    data.created_at = read.time("parameters.create_date", from.create_date, zone);
    data.purchased_at = read.time("parameters.purchase_date", from.purchase_date, zone);
    data.original_purchased_at =
        read.time("parameters.original_purchase_date", from.original_purchase_date, zone);
    data.expires_at = read.time("parameters.expire_date", from.expire_date, zone);
}

/// Prices, all in the currency of the transaction. A refund's amount is positive and is not taken
/// from the price.
fn amounts<'a>(from: &Parameters<'a>, zone: Zone, read: &mut Reader, data: &mut Data<'a>) {
    data.currency = read.text("parameters.currency", from.currency);
    let currency = data.currency.as_deref();
    data.price = read.money("parameters.price", from.price, currency);
    data.package_price = read.money("parameters.package_price", from.package_price, currency);
    data.refund = some_if_any!(
        Refund {
            is_refund: read.boolean("parameters.is_refund", from.is_refund),
            price: read.money("parameters.refund_price", from.refund_price, currency),
            at: read.time("parameters.refund_date", from.refund_date, Some(zone)),
            reason: read.text("parameters.refund_reason", from.refund_reason),
        },
        is_refund,
        price,
        at,
        reason
    );
}

/// Whether money was given back, by whatever says so. A mark that is missing or unreadable must
/// not turn a refund into a sale; one that says no is believed.
fn is_refund(from: &Parameters<'_>, data: &Data<'_>) -> bool {
    let refund = data.refund.as_ref();
    refund.and_then(|refund| refund.is_refund).unwrap_or_else(|| {
        let amount = refund.and_then(|refund| refund.price.as_ref());
        amount.is_some_and(Money::is_positive) || says_when(from.refund_date)
    })
}

/// Whether there is a date at all, readable or not. PHP also writes `[]` for nothing.
fn says_when(date: Loose<'_>) -> bool {
    date.opaque().is_some_and(|date| {
        date.boolean() != Ok(Some(false)) && date.time(Some(Zone::UTC)) != Ok(None)
    })
}

fn card<'a>(
    from: &mut Parameters<'a>,
    custom: &CustomParameters<'a>,
    read: &mut Reader,
) -> Option<Card<'a>> {
    let stored = read.object("parameters.card", std::mem::take(&mut from.card));
    let stored = stored.and_then(|card| read.text("parameters.card.cardNumber", card.number));
    some_if_any!(
        Card {
            masked: read.text("parameters.credit_card", from.credit_card).or(stored),
            brand: read.text("parameters.custom_parameters.cardBrand", custom.card_brand),
        },
        masked,
        brand
    )
}

fn coupon_of<'a>(from: &CouponCampaign<'a>, read: &mut Reader) -> Option<Coupon<'a>> {
    some_if_any!(
        Coupon {
            used: read.boolean("parameters.coupon_campaign.isUsedCouponCode", from.is_used),
            code: read.text("parameters.coupon_campaign.code", from.code),
            discount_type: read.text("parameters.coupon_campaign.discountType", from.discount_type),
            discount_value: read
                .text("parameters.coupon_campaign.discountValue", from.discount_value),
        },
        used,
        code,
        discount_type,
        discount_value
    )
}

fn custom_parameters<'a>(custom: CustomParameters<'a>, read: &mut Reader, data: &mut Data<'a>) {
    data.three_ds = read.boolean("parameters.custom_parameters.threeds", custom.threeds);
    let utm = read.object("parameters.custom_parameters.utm", custom.utm).unwrap_or_default();
    data.utm = some_if_any!(
        Utm {
            source: read.text("parameters.custom_parameters.utm.source", utm.source),
            medium: read.text("parameters.custom_parameters.utm.medium", utm.medium),
            campaign: read.text("parameters.custom_parameters.utm.campaign", utm.campaign),
            term: read.text("parameters.custom_parameters.utm.term", utm.term),
            content: read.text("parameters.custom_parameters.utm.content", utm.content),
        },
        source,
        medium,
        campaign,
        term,
        content
    );
    let site = read
        .object("parameters.custom_parameters.dataWarehouse", custom.data_warehouse)
        .unwrap_or_default();
    let mut text = |field, value| read.text(field, value);
    let session = Session {
        client_uuid: text("parameters.custom_parameters.clientUuid", custom.client_uuid),
        payment_module: text(
            "parameters.custom_parameters.dataWarehouse.paymentModule",
            site.payment_module,
        ),
        site_id: text("parameters.custom_parameters.dataWarehouse.siteId", site.site_id),
        flow_id: text("parameters.custom_parameters.dataWarehouse.flowId", site.flow_id),
        app_id: text("parameters.custom_parameters.dataWarehouse.appId", site.app_id),
        team_id: text("parameters.custom_parameters.dataWarehouse.teamId", site.team_id),
        full_name: text("parameters.custom_parameters.dataWarehouse.fullName", site.full_name),
        epin_code: text("parameters.custom_parameters.dataWarehouse.epinCode", site.epin_code),
        accept_policy: read
            .boolean("parameters.custom_parameters.dataWarehouse.acceptPolicy", site.accept_policy),
        installment: read.integer("parameters.custom_parameters.installment", custom.installment),
    };
    data.session = some_if_any!(
        session,
        client_uuid,
        payment_module,
        site_id,
        flow_id,
        app_id,
        team_id,
        full_name,
        epin_code,
        accept_policy,
        installment
    );
}

/// What a subscription webhook says in its profile and a payment at the top.
fn from_profile<'a>(from: &Profile<'a>, zone: Zone, read: &mut Reader, data: &mut Data<'a>) {
    macro_rules! fill {
        ($($field:ident = $read:expr;)+) => {
            $(if data.$field.is_none() { data.$field = $read; })+
        };
    }
    fill! {
        status = read.text("parameters.profile.status", from.status);
        subscriber_id = read.text("parameters.profile.subscriberId", from.subscriber_id);
        subscription_id = read.text("parameters.profile.subscriptionId", from.subscription_id);
        original_transaction_id =
            read.text("parameters.profile.originalTransactionId", from.original_transaction_id);
        expires_at = read.time("parameters.profile.expireDate", from.expire_date, Some(zone));
        country = read.text("parameters.profile.country", from.country);
        language = read.text("parameters.profile.language", from.language);
        quantity = read.integer("parameters.profile.quantity", from.quantity);
    }
}

/// What a registration or a quiz, which come without an envelope, tells.
pub(crate) fn without_queue<'a>(from: &Payload<'a>, read: &mut Reader, data: &mut Data<'a>) {
    let client_uuid = read.text("clientUuid", from.client_uuid);
    data.session = some_if_any!(Session { client_uuid, ..Session::default() }, client_uuid);
    data.subscriber_id = read.text("subscriberId", from.subscriber_id);
    data.registration = some_if_any!(
        Registration {
            client_ip: read.text("clientIp", from.client_ip),
            // Documented as UTC, whatever the zone of the other times.
            registered_at: read.time("registerDate", from.register_date, Some(Zone::UTC)),
            otp_status: read.text("registerOtpStatus", from.register_otp_status),
        },
        client_ip,
        registered_at,
        otp_status
    );
    data.customer = from.client.opaque();
    data.questions = from.questions.opaque();
}
