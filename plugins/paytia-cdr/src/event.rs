use std::borrow::Cow;

use plugin_sdk::{Reader, Telephone, Time};
use schemars::JsonSchema;
use serde::Serialize;

use crate::record::{Field, Record};
use crate::settings::Settings;
use crate::{call, sip};

/// The data of every event of this adapter. Absent means unknown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Data<'a> {
    /// The same for every event of one call: made of its originator, its numbers and its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_key: Option<String>,
    /// Where the call comes from: `customer` or `merchant`, else Paytia's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originator: Option<Cow<'a, str>>,
    /// The leg that reached Paytia.
    #[serde(skip_serializing_if = "Inbound::is_empty")]
    pub inbound: Inbound<'a>,
    /// The leg that Paytia made.
    #[serde(skip_serializing_if = "Outbound::is_empty")]
    pub outbound: Outbound<'a>,
    /// State of the call as Paytia handles it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'a, str>>,
    /// Progress through Paytia's IVR services; an object as its JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_value: Option<Cow<'a, str>>,
    /// The agent who performed a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<Cow<'a, str>>,
    /// How the call ended.
    #[serde(skip_serializing_if = "Hangup::is_empty")]
    pub hangup: Hangup<'a>,
    /// In whole seconds, rounded down. Absent where a time is, or where the end is before the
    /// start.
    #[serde(skip_serializing_if = "Durations::is_empty")]
    pub durations: Durations,
}

/// The leg that reached Paytia.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Inbound<'a> {
    /// Who called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Telephone<'a>>,
    /// Who was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Telephone<'a>>,
    /// Paytia's word for how far the leg is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'a, str>>,
    /// When the leg started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the leg ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// The leg that Paytia made.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Outbound<'a> {
    /// The number that Paytia presents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Telephone<'a>>,
    /// The number that Paytia calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Telephone<'a>>,
    /// Paytia's word for how far the leg is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Cow<'a, str>>,
    /// When the leg started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the leg was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Time>,
    /// When the leg ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// How a call ended.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Hangup<'a> {
    /// The leg that ended the call: `in` or `out`, else Paytia's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_leg: Option<Cow<'a, str>>,
    /// Who hung up first: `local` (Paytia) or `remote`, else Paytia's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_end: Option<Cow<'a, str>>,
    /// The SIP response in `cause`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip: Option<Sip>,
    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cow<'a, str>>,
}

/// A response of SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Sip {
    /// 100 to 699.
    pub code: u16,
    /// As the standard has it; absent where none has the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'static str>,
}

/// How long everything took, in whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Durations {
    /// From start to end of the inbound leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_seconds: Option<u64>,
    /// From start to end of the outbound leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound_seconds: Option<u64>,
    /// From start to answer of the outbound leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_seconds: Option<u64>,
    /// From answer to end of the outbound leg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub talk_seconds: Option<u64>,
}

impl<'a> Data<'a> {
    /// Reads a whole record.
    pub(crate) fn read(record: &Record<'a>, settings: &Settings, read: &mut Reader) -> Self {
        for field in record.repeated() {
            read.warn("repeated_field", field.name(), "stands more than once; the first counts");
        }
        let originator = one_of(record, Field::Originator, &["customer", "merchant"], read);
        let inbound = Inbound::read(record, settings, read);
        let numbers = [inbound.from.as_ref(), inbound.to.as_ref()];
        let outbound = Outbound::read(record, settings, read);
        Self {
            call_key: call::key(record, originator.as_deref(), numbers, inbound.started_at, read),
            originator,
            durations: Durations::of(&inbound, &outbound, read),
            inbound,
            outbound,
            state: text(record, Field::State, read),
            status_value: status_value(record),
            agent_id: text(record, Field::AgentId, read),
            hangup: Hangup::read(record, read),
        }
    }
}

impl<'a> Inbound<'a> {
    fn read(record: &Record<'a>, settings: &Settings, read: &mut Reader) -> Self {
        Self {
            from: telephone(record, Field::Incli, settings, read),
            to: telephone(record, Field::Inddi, settings, read),
            state: text(record, Field::Instate, read),
            started_at: time(record, Field::Intimes, read),
            ended_at: time(record, Field::Intimee, read),
        }
    }

    const fn is_empty(&self) -> bool {
        let Self { from, to, state, started_at, ended_at } = self;
        from.is_none()
            && to.is_none()
            && state.is_none()
            && started_at.is_none()
            && ended_at.is_none()
    }
}

impl<'a> Outbound<'a> {
    fn read(record: &Record<'a>, settings: &Settings, read: &mut Reader) -> Self {
        Self {
            from: telephone(record, Field::Outcli, settings, read),
            to: telephone(record, Field::Outddi, settings, read),
            state: text(record, Field::Outstate, read),
            started_at: time(record, Field::Outtimes, read),
            answered_at: time(record, Field::Outtimea, read),
            ended_at: time(record, Field::Outtimee, read),
        }
    }

    const fn is_empty(&self) -> bool {
        let Self { from, to, state, started_at, answered_at, ended_at } = self;
        from.is_none()
            && to.is_none()
            && state.is_none()
            && started_at.is_none()
            && answered_at.is_none()
            && ended_at.is_none()
    }
}

impl<'a> Hangup<'a> {
    fn read(record: &Record<'a>, read: &mut Reader) -> Self {
        let cause = text(record, Field::HangOutCause, read);
        let code = cause.as_deref().and_then(sip::code);
        Self {
            first_leg: one_of(record, Field::HangFirstDir, &["in", "out"], read),
            first_end: one_of(record, Field::HangFirstEnd, &["local", "remote"], read),
            sip: code.map(|code| Sip { code, name: sip::name(code) }),
            cause,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first_leg.is_none() && self.first_end.is_none() && self.cause.is_none()
    }
}

impl Durations {
    fn of(inbound: &Inbound<'_>, outbound: &Outbound<'_>, read: &mut Reader) -> Self {
        let mut between = |field: Field, from: Option<Time>, to: Option<Time>| {
            let millis = to?.as_unix_millis() - from?.as_unix_millis();
            let seconds = u64::try_from(millis).ok().map(|millis| millis / 1000);
            if seconds.is_none() {
                read.warn("negative_duration", field.name(), "before the start");
            }
            seconds
        };
        Self {
            inbound_seconds: between(Field::Intimee, inbound.started_at, inbound.ended_at),
            outbound_seconds: between(Field::Outtimee, outbound.started_at, outbound.ended_at),
            ring_seconds: between(Field::Outtimea, outbound.started_at, outbound.answered_at),
            talk_seconds: between(Field::Outtimee, outbound.answered_at, outbound.ended_at),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn text<'a>(record: &Record<'a>, field: Field, read: &mut Reader) -> Option<Cow<'a, str>> {
    read.text(field.name(), record.value(field))
}

fn time(record: &Record<'_>, field: Field, read: &mut Reader) -> Option<Time> {
    read.time(field.name(), record.value(field), None)
}

fn telephone<'a>(
    record: &Record<'a>,
    field: Field,
    settings: &Settings,
    read: &mut Reader,
) -> Option<Telephone<'a>> {
    read.telephone(field.name(), record.value(field), settings.default_country)
}

/// Progress may come as an object; its text is as good as any other.
fn status_value<'a>(record: &Record<'a>) -> Option<Cow<'a, str>> {
    let value = record.value(Field::Statevalue);
    value.text().unwrap_or_else(|_| value.opaque()?.literal().map(Cow::Borrowed))
}

/// One of the words that Paytia documents, in small letters; another word as it is.
fn one_of<'a>(
    record: &Record<'a>,
    field: Field,
    words: &[&'static str],
    read: &mut Reader,
) -> Option<Cow<'a, str>> {
    let sent = text(record, field, read)?;
    match words.iter().find(|word| word.eq_ignore_ascii_case(sent.trim_ascii())) {
        Some(word) => Some(Cow::Borrowed(*word)),
        None => {
            read.warn("unknown_value", field.name(), "none of the documented words");
            Some(sent)
        }
    }
}
