//! Paytia call detail records: the CDR details webhook.
//!
//! What is verified, the settings and the provider's quirks are in the README.

#![forbid(unsafe_code)]

mod call;
mod encoding;
mod event;
mod memory;
mod record;
mod settings;
mod sip;
mod view;

use std::borrow::Cow;

use plugin_sdk::{
    Adapter, Answer, Description, Document, Event, Key, Outcome, Reader, Redactor, Rejection,
    Travels, digest_hex, json, register_adapter,
    settings::{MacHeader, Problem},
    verify_header,
};

pub use event::{Data, Durations, Hangup, Inbound, Outbound, Sip};
pub use record::{Field, Record};
pub use settings::Settings;
pub use view::{Agents, Calls};

use call::{Stage, is_there};
use memory::{RETRY_WINDOW_SECONDS, Said};
use settings::DEFAULT_SECRET_HEADER;

/// Paytia takes any 2xx.
const ANSWER_BODY: &str = "{}";

/// What is kept in the state. To be raised where it no longer reads the same.
const STATE_VERSION: u32 = 1;

/// The adapter.
#[derive(Debug)]
pub struct PaytiaCdr;

register_adapter!(PaytiaCdr);

impl Adapter for PaytiaCdr {
    type Settings = Settings;

    fn describe() -> Description {
        let about =
            Description::new("paytia-cdr", env!("CARGO_PKG_VERSION"), "Paytia call detail records")
                .methods(&["POST", "GET"]);
        Stage::ALL
            .into_iter()
            .fold(about, |about, (_, name, summary)| about.event::<Data<'static>>(name, summary))
            .optional_secret(
                "shared_secret",
                Travels::header(DEFAULT_SECRET_HEADER).named_by("secret_header"),
                "Value of a static header, where Paytia sends one",
            )
            .secret_with(
                "hmac_key",
                Travels::Key,
                "Key of the MAC that setting `hmac` describes",
                "hmac",
            )
            .redacts()
            .state_version(STATE_VERSION)
            .view::<Calls>(view::CALLS_VIEW, "Calls, the last first")
            .view::<Agents>(
                view::AGENTS_VIEW,
                "What agents' calls come to by day, the last day first",
            )
            .fact("call_key", "Call")
            .fact("originator", "Originator")
            .fact("state", "State")
            .fact("sip_code", "SIP")
            .fact("talk_seconds", "Talk time (s)")
    }

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.check()
    }

    fn receive(settings: &Settings, inbound: &plugin_sdk::Inbound) -> Result<Outcome, Rejection> {
        // Taken before anything is masked, and looked at afterwards: what is refused is kept for
        // operators, as what is stored.
        let trusted = verify(settings, inbound);
        let mut cards = Redactor::new();
        encoding::search_query(inbound, &mut cards);
        let mut searched = false;
        let taken = encoding::find(inbound, |found| {
            searched = found.search_fields(&mut cards);
            let text = found.object()?;
            let document = json::read_object::<Record<'_>>(&text)?;
            found.search_object(&document.value, &mut cards);
            searched = true;
            if !cards.is_empty() {
                return Ok(again());
            }
            let signed = trusted.clone()?;
            if document.value.is_empty() {
                return Err(Rejection::malformed_body("no field of a call record is present"));
            }
            if signed {
                json::refuse_duplicate_keys(&text)?;
                document.value.refuse_repeated()?;
            }
            let digest = if found.is_told_by_body() {
                inbound.body_digest()
            } else {
                digest_hex(text.as_bytes())
            };
            take(settings, document, &digest)
        });
        if !searched {
            encoding::search_unread(inbound, &mut cards);
        }
        if cards.ask() {
            return Ok(again());
        }
        trusted?;
        taken
    }

    fn view(_: &Settings, name: &str, parameters: &str) -> Result<String, Rejection> {
        view::answer(name, parameters)
    }
}

/// Whether the record is signed, where all that the route has secrets for is right.
fn verify(settings: &Settings, inbound: &plugin_sdk::Inbound) -> Result<bool, Rejection> {
    let shared = verify_header("shared_secret").or_refuse();
    let signed = MacHeader::verify_arranged(settings.hmac.as_ref(), inbound, "hmac_key");
    shared.and(signed)
}

/// Of a run that found card numbers: the call runs again, on what may be kept.
fn again() -> Outcome {
    Outcome::accepted(Answer::json(200, ANSWER_BODY))
}

/// Makes the event of a record. `digest` tells records apart.
fn take(
    settings: &Settings,
    document: Document<'_, Record<'_>>,
    digest: &str,
) -> Result<Outcome, Rejection> {
    let record = document.value;
    let mut read = Reader::new();
    let data = Data::read(&record, settings, &mut read);
    let mut stage = Stage::of(&record, !data.hangup.is_empty());
    let mut parts = vec![Cow::Borrowed("record"), Cow::Borrowed(digest)];
    if let Some(call_key) = &data.call_key {
        let answer = is_there(&record, Field::Outtimea);
        let said = Said { digest, answer, end: stage == Stage::Ended };
        let place = memory::note(call_key, &data, said, settings)?;
        stage = stage.after_answer(place.first_answer);
        parts.push(Cow::Owned(place.number.to_string()));
    }
    let key = Key::new(parts.iter().map(AsRef::as_ref)).window_seconds(RETRY_WINDOW_SECONDS);
    let ended_at = data.inbound.ended_at.max(data.outbound.ended_at);
    let event = Event::new(stage.event_type(), &data)?
        .subject(data.call_key.as_deref())
        .time(stage.time(data.outbound.answered_at, ended_at))
        .partition_key(data.call_key.as_deref())
        .idempotency_key(key)
        .warnings(read.into_warnings())
        .original(document.original);
    Ok(Outcome::accepted(Answer::json(200, ANSWER_BODY))
        .event(event)
        .fact("call_key", data.call_key.as_deref())
        .fact("originator", data.originator.as_deref())
        .fact("state", data.state.as_deref())
        .fact("sip_code", data.hangup.sip.map(|sip| sip.code.to_string()))
        .fact("talk_seconds", data.durations.talk_seconds.map(|seconds| seconds.to_string())))
}
