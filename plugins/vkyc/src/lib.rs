//! `HyperVerge` Video KYC: the generic webhook.
//!
//! What is verified, the settings and the provider's quirks are in the README.

#![forbid(unsafe_code)]

mod event;
mod payload;
mod settings;

use plugin_sdk::{
    Adapter, Answer, Description, Event, Inbound, Key, Outcome, Reader, Rejection, Travels,
    register_adapter,
    settings::{MacHeader, Problem},
    verify_header,
};

pub use event::{Data, Slot, Status};
pub use payload::{EventDetails, Payload};
pub use settings::Settings;

use event::{EventKind, UNRECOGNISED};
use settings::DEFAULT_SECRET_HEADER;

/// The only version of the payload that is documented.
const KNOWN_EVENT_VERSION: &str = "1.0.0";
/// The provider expects any quick 200.
const ANSWER_BODY: &str = "{}";

/// The adapter.
#[derive(Debug)]
pub struct Vkyc;

register_adapter!(Vkyc);

impl Adapter for Vkyc {
    type Settings = Settings;

    fn describe() -> Description {
        let about =
            Description::new("vkyc", env!("CARGO_PKG_VERSION"), "HyperVerge Video KYC webhooks");
        EventKind::ALL
            .iter()
            .fold(about, |about, kind| about.event::<Data<'static>>(kind.name, kind.summary))
            .event::<Data<'static>>(UNRECOGNISED, "An event that this adapter does not know")
            .optional_secret(
                "shared_secret",
                Travels::header(DEFAULT_SECRET_HEADER).named_by("secret_header"),
                "Value of the static header that HyperVerge sends with every webhook",
            )
            .secret_with(
                "hmac_key",
                Travels::Key,
                "Key of the MAC that setting `hmac` describes",
                "hmac",
            )
            .fact("event_type", "Event")
            .fact("transaction_id", "Transaction")
            .fact("status", "Status")
    }

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.check()
    }

    fn receive(settings: &Settings, inbound: &Inbound) -> Result<Outcome, Rejection> {
        verify_header("shared_secret").or_refuse()?;
        let signed = MacHeader::verify_arranged(settings.hmac.as_ref(), inbound, "hmac_key")?;
        let document =
            if signed { inbound.json_strict::<Payload<'_>>()? } else { inbound.json()? };
        let mut payload = document.value;
        let mut read = Reader::new();

        let app_id = read.text("appId", payload.app_id);
        if let (Some(sent), Some(own)) = (&app_id, &settings.app_id)
            && sent.as_ref() != own
        {
            return Err(Rejection::new(403, "app_id_mismatch", "`appId` is another application's"));
        }
        let event_type = read.text("eventType", payload.event_type);
        let transaction_id = read.text("transactionId", payload.transaction_id);
        let event_id = read.text("eventId", payload.event_id);
        if event_type.is_none() && transaction_id.is_none() && event_id.is_none() {
            return Err(Rejection::malformed_body(
                "none of `eventType`, `transactionId` and `eventId` is present",
            ));
        }
        let answer = Answer::json(200, ANSWER_BODY);
        if !settings.wants(event_type.as_deref()) {
            return Ok(Outcome::ignored(answer).fact("event_type", event_type));
        }

        let sent_time = payload.event_time.text().ok().flatten();
        let key = match (&event_id, &transaction_id, &event_type, &sent_time) {
            (Some(id), ..) => match &app_id {
                Some(app) => Key::new(["event", app, id]),
                None => Key::new(["event", id]),
            },
            (None, Some(transaction), Some(kind), Some(time)) => {
                Key::new(["fields", transaction, kind, time])
            }
            _ => Key::new(["body", &inbound.body_digest()]),
        };
        let event_version = read.text("eventVersion", payload.event_version);
        if event_version.as_deref().is_some_and(|version| version != KNOWN_EVENT_VERSION) {
            read.warn("unknown_version", "eventVersion", "not 1.0.0");
        }
        // A time without a zone stays unread: the zone of India must not be guessed.
        let event_time = read.time("eventTime", payload.event_time, None);
        let details =
            read.object("eventDetails", std::mem::take(&mut payload.details)).unwrap_or_default();
        let kind = EventKind::find(event_type.as_deref());
        let data = Data {
            app_id,
            event_id,
            event_version,
            known: kind.is_some(),
            event_time,
            ..Data::of_details(&details, &mut read)
        };
        let data = Data { transaction_id, event_type, ..data };
        let event = Event::new(kind.map_or(UNRECOGNISED, |kind| kind.name), &data)?
            .subject(data.transaction_id.as_deref())
            .time(event_time)
            .partition_key(data.transaction_id.as_deref())
            .idempotency_key(key)
            .warnings(read.into_warnings())
            .original(document.original);
        Ok(Outcome::accepted(answer)
            .event(event)
            .fact("event_type", data.event_type.as_deref())
            .fact("transaction_id", data.transaction_id.as_deref())
            .fact("status", data.status.map(Status::as_str)))
    }
}
