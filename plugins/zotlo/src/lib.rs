//! Zotlo: payments, refunds, subscription changes, registrations and quiz answers.
//!
//! What is verified, the settings and the provider's quirks are in the README.

#![forbid(unsafe_code)]

mod event;
mod kind;
mod payload;
mod read;
mod settings;

use plugin_sdk::{
    Adapter, Answer, Description, Event, Inbound, Key, Outcome, Reader, Rejection, Travels,
    register_adapter, settings::Problem, verify_header, verify_query,
};

pub use event::{Card, Coupon, Data, Exchange, QueueTimeZone, Refund, Registration, Session, Utm};
pub use kind::Kind;
pub use payload::{
    Card as StoredCard, CouponCampaign, CreateDate, CustomParameters, DataWarehouse, Parameters,
    Payload, Profile, Queue,
};
pub use settings::Settings;

use settings::{DEFAULT_SECRET_HEADER, DEFAULT_SECRET_PARAMETER};

/// Zotlo looks at the status alone, and takes nothing but 200 for success.
const ANSWER_BODY: &str = "{}";

/// The adapter.
#[derive(Debug)]
pub struct Zotlo;

register_adapter!(Zotlo);

impl Adapter for Zotlo {
    type Settings = Settings;

    fn describe() -> Description {
        let about = Description::new(
            "zotlo",
            env!("CARGO_PKG_VERSION"),
            "Zotlo payments, refunds, subscriptions, registrations and quizzes",
        );
        kind::event_types()
            .fold(about, |about, (name, summary)| about.event::<Data<'static>>(name, summary))
            .optional_secret(
                "shared_secret",
                Travels::header(DEFAULT_SECRET_HEADER).named_by("secret_header"),
                "Value of a static header, where something before the gateway adds one",
            )
            .optional_secret(
                "query_token",
                Travels::query(DEFAULT_SECRET_PARAMETER).named_by("secret_parameter"),
                "Value of a query parameter in the URL that Zotlo is given",
            )
            .fact("kind", "Kind")
            .fact("event_type", "Event")
            .fact("status", "Status")
            .fact("transaction_id", "Transaction")
    }

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.check()
    }

    fn receive(settings: &Settings, inbound: &Inbound) -> Result<Outcome, Rejection> {
        verify_header("shared_secret").or_refuse()?;
        verify_query("query_token").or_refuse()?;
        let document = inbound.json::<Payload<'_>>()?;
        let mut read = Reader::new();
        let data = data_of(document.value, settings, &mut read);
        for sent in [&data.queue_app_id, &data.app_id] {
            if !settings.takes_app(sent.as_deref()) {
                return Err(Rejection::new(403, "app_id_mismatch", "the project is another one"));
            }
        }
        let kind = data.kind;
        let subject = data.transaction_id.as_deref().or(data.subscriber_id.as_deref());
        let registered_at =
            data.registration.as_ref().and_then(|registration| registration.registered_at);
        let happened_at = match kind {
            Kind::Payment => data.purchased_at,
            Kind::Refund => data.refund.as_ref().and_then(|refund| refund.at),
            Kind::Registration => registered_at,
            Kind::Subscription | Kind::Quiz | Kind::Unrecognised => None,
        };
        let partition =
            data.original_transaction_id.as_deref().or(data.subscription_id.as_deref()).or(subject);
        let name = kind.event_type(data.status.as_deref(), data.event_type.as_deref());
        let event = Event::new(name, &data)?
            .subject(subject)
            .time(happened_at.or(data.queue_created_at))
            .partition_key(partition)
            .idempotency_key(key_of(&data, inbound))
            .warnings(read.into_warnings())
            .original(document.original);
        Ok(Outcome::accepted(Answer::json(200, ANSWER_BODY))
            .event(event)
            .fact("kind", Some(kind.as_str()))
            .fact("event_type", data.event_type.as_deref())
            .fact("status", data.status.as_deref())
            .fact("transaction_id", data.transaction_id.as_deref()))
    }
}

fn data_of<'a>(mut payload: Payload<'a>, settings: &Settings, read: &mut Reader) -> Data<'a> {
    let zone = settings.assume_timezone;
    let mut data = Data::default();
    let queue = read.object("queue", std::mem::take(&mut payload.queue));
    let parameters = read.object("parameters", std::mem::take(&mut payload.parameters));
    let enveloped = queue.is_some();
    if let Some(queue) = queue {
        read::queue(&queue, zone, read, &mut data);
    }
    let is_refund =
        parameters.is_some_and(|parameters| read::parameters(parameters, zone, read, &mut data));
    if enveloped {
        data.kind = Kind::of_queue(data.queue_type.as_deref(), is_refund);
    } else if !payload.questions.is_absent() {
        data.kind = Kind::Quiz;
        read::without_queue(&payload, read, &mut data);
    } else if !payload.client_uuid.is_absent() && !payload.register_date.is_absent() {
        data.kind = Kind::Registration;
        read::without_queue(&payload, read, &mut data);
    }
    data
}

/// What makes a redelivery the same event: the provider's request id; in old payloads, which have
/// none, the transaction, and of a refund what and when, since a purchase may be given back in
/// parts; for a registration who, when, and whether it was confirmed. Else the body as it is: of a subscription a transaction
/// tells many things.
fn key_of(data: &Data<'_>, inbound: &Inbound) -> Key {
    let queue_type = data.queue_type.as_deref().unwrap_or_default();
    if let Some(request) = &data.request_id {
        let event_type = data.event_type.as_deref().unwrap_or_default();
        return Key::new(["request", request, queue_type, event_type]);
    }
    if let (Kind::Payment | Kind::Refund, Some(transaction), Some(purchased)) =
        (data.kind, &data.transaction_id, data.purchased_at)
    {
        return of_transaction(data, queue_type, transaction, &purchased.to_string());
    }
    let session = data.session.as_ref().and_then(|session| session.client_uuid.as_deref());
    if let (Kind::Registration, Some(session), Some(registration)) =
        (data.kind, session, &data.registration)
        && let Some(registered) = registration.registered_at
    {
        let subscriber = data.subscriber_id.as_deref().unwrap_or_default();
        let confirmed = registration.otp_status.as_deref().unwrap_or_default();
        return Key::new(["registration", session, &registered.to_string(), subscriber, confirmed]);
    }
    Key::new(["body", &inbound.body_digest()])
}

fn of_transaction(data: &Data<'_>, queue_type: &str, transaction: &str, purchased: &str) -> Key {
    let refund = data.refund.as_ref();
    let refunded = match refund.and_then(|refund| refund.is_refund) {
        Some(true) => "1",
        Some(false) => "0",
        // Without the mark, the refund of a payment must still differ from the payment.
        None if data.kind == Kind::Refund => "1",
        None => "",
    };
    let parts = ["transaction", queue_type, transaction, refunded, purchased];
    if data.kind == Kind::Payment {
        return Key::new(parts);
    }
    let at = refund.and_then(|refund| refund.at).map(|at| at.to_string()).unwrap_or_default();
    let price = refund.and_then(|refund| refund.price.as_ref());
    let price = price.map(|price| price.amount.as_ref()).unwrap_or_default();
    Key::new(parts.into_iter().chain([price, &at]))
}
