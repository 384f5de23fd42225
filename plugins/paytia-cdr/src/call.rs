//! What a record says of its call: which one it is, and how far it is.

use plugin_sdk::{Loose, Reader, Telephone, Time, digest_hex};

use crate::record::{Field, Record};

/// Half of a SHA-256: two calls of one provider never share it.
const KEY_DIGITS: usize = 32;

/// What happened, as far as the record itself tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Progressed,
    Answered,
    Ended,
}

impl Stage {
    pub(crate) const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Progressed, "com.paytia.call.progressed", "A call came a step further"),
        (Self::Answered, "com.paytia.call.answered", "A call was answered"),
        (Self::Ended, "com.paytia.call.ended", "A call ended"),
    ];

    /// An end time or a hang-up ends a call, an answer time answers it.
    pub(crate) fn of(record: &Record<'_>, hung_up: bool) -> Self {
        let is_there = |field| is_there(record, field);
        if hung_up || is_there(Field::Intimee) || is_there(Field::Outtimee) {
            Self::Ended
        } else if is_there(Field::Outtimea) {
            Self::Answered
        } else {
            Self::Progressed
        }
    }

    /// The same for who knows the call: what is told of an answer after the first event that did is
    /// progress.
    pub(crate) fn after_answer(self, first_answer: bool) -> Self {
        match self {
            Self::Answered if !first_answer => Self::Progressed,
            Self::Answered | Self::Progressed | Self::Ended => self,
        }
    }

    pub(crate) fn event_type(self) -> &'static str {
        Self::ALL.into_iter().find(|(stage, ..)| *stage == self).map_or("", |(_, name, _)| name)
    }

    /// When it happened, where the record has these times. Of progress no field tells.
    pub(crate) fn time(self, answered_at: Option<Time>, ended_at: Option<Time>) -> Option<Time> {
        match self {
            Self::Progressed => None,
            Self::Answered => answered_at,
            Self::Ended => ended_at,
        }
    }
}

/// Whether a record has a time in this field. One that cannot be read is there all the same; `[]`
/// and `{}`, which PHP writes for nothing, are none, nor is a list of what is none.
pub(crate) fn is_there(record: &Record<'_>, field: Field) -> bool {
    has_time(record.value(field))
}

fn has_time(value: Loose<'_>) -> bool {
    match value.list::<Loose<'_>>() {
        Some(items) => items.into_iter().any(has_time),
        None => value.opaque().is_some() && value.time(None) != Ok(None),
    }
}

/// The correlation key: Paytia sends no id of the call, but its originator, its two numbers and its
/// start are the same in each of its records, in whatever form they come. Without a start it would
/// be the same for every call between the two.
pub(crate) fn key(
    record: &Record<'_>,
    originator: Option<&str>,
    numbers: [Option<&Telephone<'_>>; 2],
    started_at: Option<Time>,
    read: &mut Reader,
) -> Option<String> {
    let sent = record.value(Field::Intimes).text().ok().flatten();
    let start = match started_at {
        Some(time) => Some(time.to_string()),
        // One that cannot be read still tells calls apart.
        None => sent.filter(|_| record.value(Field::Intimes).time(None).is_err()).map(Into::into),
    };
    let numbers = numbers.map(|number| number.map(number_text));
    let (Some(start), true) = (start, numbers.iter().any(Option::is_some)) else {
        read.warn("no_call_key", Field::Intimes.name(), "no start or no number: any call's record");
        return None;
    };
    let [from, to] = numbers.map(Option::unwrap_or_default);
    let mut parts = String::with_capacity(96);
    for part in [originator.unwrap_or_default(), &from, &to, &start] {
        // With its length, so that no other parts come to the same text.
        parts.push_str(&part.len().to_string());
        parts.push(':');
        parts.push_str(part);
    }
    let mut key = digest_hex(parts.as_bytes());
    key.truncate(KEY_DIGITS);
    Some(key)
}

fn number_text(number: &Telephone<'_>) -> String {
    number.e164().map_or_else(|| number.raw().to_owned(), |number| number.to_string())
}
