//! Ottu: payments, and operations on them.
//!
//! What is verified, the settings and the provider's quirks are in the README.

#![forbid(unsafe_code)]

mod checks;
mod event;
mod key;
mod kind;
mod payload;
mod read;
mod settings;
mod signature;

use plugin_sdk::{
    Adapter, Answer, Description, Event, Inbound, Outcome, Reader, Rejection, SettingIs, Travels,
    register_adapter, settings::Problem,
};

pub use event::{
    Address, AmountDetails, Customer, Data, Delivery, Gateway, Initiator, Totals, Transaction,
    Verification, VerifiedBy,
};
pub use kind::Kind;
pub use payload::{
    AmountDetails as SentAmountDetails, Initiator as SentInitiator, Payload,
    Transaction as SentTransaction,
};
pub use settings::{OperationSignature, Scheme, Settings};

use signature::KEY;

/// Of what [`key::is_same_signature`] keeps.
const STATE_VERSION: u32 = 1;
/// Ottu looks at the status alone.
const ANSWER_BODY: &str = "{}";

/// The adapter.
#[derive(Debug)]
pub struct Ottu;

register_adapter!(Ottu);

impl Adapter for Ottu {
    type Settings = Settings;

    fn describe() -> Description {
        let about = Description::new(
            "ottu",
            env!("CARGO_PKG_VERSION"),
            "Ottu payments, and operations on them",
        );
        let (setting, optional) = OperationSignature::OPTIONAL;
        kind::event_types()
            .fold(about, |about, (name, summary)| about.event::<Data<'static>>(name, summary))
            .secret_unless(
                KEY,
                Travels::Key,
                "HMAC key from Administration panel > Webhook > Webhook Config of Ottu's dashboard",
                SettingIs::new(setting, optional),
            )
            .state_version(STATE_VERSION)
            .fact("state", "State")
            .fact("operation", "Operation")
            .fact("result", "Result")
            .fact("reference_number", "Reference")
            .fact("scheme", "Signature")
    }

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.check()
    }

    fn receive(settings: &Settings, inbound: &Inbound) -> Result<Outcome, Rejection> {
        let document = inbound.json_strict::<Payload<'_>>()?;
        let payload = document.value;
        let proof = signature::verify(settings, &payload)?;
        checks::check(&payload, &proof)?;
        let key = key::of(&payload, &proof);
        let mut read = Reader::new();
        if key::is_same_signature(&payload, &proof, &key) {
            let detail = "an operation with this signature came before, with other unsigned fields";
            read.warn("same_signature", "signature", detail);
        }
        if proof.scheme().is_none() {
            read.warn("unsigned", "signature", "nobody verified a signature of this operation");
        }
        let data = read::data_of(payload, &proof, settings.default_country, &mut read);
        let name = data.kind.event_type(match data.kind {
            Kind::Payment => data.state.as_deref(),
            Kind::Operation => data.operation.as_deref(),
        });
        let event = Event::new(name, &data)?
            .subject(data.reference_number.as_deref())
            .time(data.occurred_at)
            .partition_key(data.reference_number.as_deref())
            .idempotency_key(key)
            .warnings(read.into_warnings())
            .original(document.original);
        Ok(Outcome::accepted(Answer::json(settings.success_status, ANSWER_BODY))
            .event(event)
            .fact("state", data.state.as_deref())
            .fact("operation", data.operation.as_deref())
            .fact("result", data.result.as_deref())
            .fact("reference_number", data.reference_number.as_deref())
            .fact("scheme", Some(data.verification.scheme.as_str())))
    }
}
