//! What is remembered of each call: enough to tell a retry from the same progress again and the
//! first answer from later ones, and what the views show. No telephone number and no progress text
//! is among it.
//!
//! A call has one entry for each route that tells of it, under its start: one look finds it, and the
//! view lists calls by time without an index. It expires `keep_calls` after the call's last event.

mod agents;

use std::borrow::Cow;

use plugin_sdk::state::{Map, Refusal};
use plugin_sdk::{Time, call as this};
use serde::{Deserialize, Serialize};

use crate::event::Data;
use crate::settings::Settings;

pub(crate) use agents::{AGENTS, Totals, day_of};

/// Start in milliseconds (0 where it cannot be read), call key and route.
pub(crate) const CALLS: Map<(u64, String, String), Call> = Map::new("c");

/// Paytia names nothing that would tell a retry from the same progress again. Its newer webhooks
/// are sent again after 1, 5 and 30 minutes.
pub(crate) const RETRY_WINDOW_SECONDS: u64 = 5 * 60;

/// Of a digest in hexadecimal: half of a SHA-256 tells the records of one call apart.
const DIGEST_DIGITS: usize = 32;

/// Longest text that is kept, in bytes. States, agents and causes are words.
const TEXT_BYTES_MAX: usize = 128;

/// What is known of a call. The names are short, since each event of a call writes it anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Call {
    /// Events of it, and so the number of the last one.
    #[serde(rename = "n")]
    pub(crate) events: u32,
    /// Digest of the record behind the last event.
    #[serde(rename = "d")]
    digest: String,
    /// When that record arrived.
    #[serde(rename = "t")]
    pub(crate) last_at: u64,
    /// Number of the first event with an answer time.
    #[serde(rename = "f", skip_serializing_if = "Option::is_none")]
    first_answer: Option<u32>,
    #[serde(rename = "e", skip_serializing_if = "is_false")]
    ended: bool,
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    pub(crate) originator: Option<String>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub(crate) agent_id: Option<String>,
    #[serde(rename = "ie", skip_serializing_if = "Option::is_none")]
    inbound_end: Option<i64>,
    #[serde(rename = "os", skip_serializing_if = "Option::is_none")]
    outbound_start: Option<i64>,
    #[serde(rename = "oa", skip_serializing_if = "Option::is_none")]
    pub(crate) answered: Option<i64>,
    #[serde(rename = "oe", skip_serializing_if = "Option::is_none")]
    outbound_end: Option<i64>,
    #[serde(rename = "hl", skip_serializing_if = "Option::is_none")]
    pub(crate) first_leg: Option<String>,
    #[serde(rename = "he", skip_serializing_if = "Option::is_none")]
    pub(crate) first_end: Option<String>,
    #[serde(rename = "hs", skip_serializing_if = "Option::is_none")]
    pub(crate) sip: Option<u16>,
    #[serde(rename = "hc", skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What a record says of its call beside its data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    /// The same for the same record.
    pub(crate) digest: &'a str,
    /// It has an answer time.
    pub(crate) answer: bool,
    /// It has an end time or a hang-up.
    pub(crate) end: bool,
}

/// What a record is among those of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of its event: of a retry, the one that it had the first time.
    pub(crate) number: u32,
    /// It is the first one with an answer time.
    pub(crate) first_answer: bool,
}

/// Notes one record of the call `key`. A retry changes nothing.
pub(crate) fn note(
    key: &str,
    data: &Data<'_>,
    said: Said<'_>,
    settings: &Settings,
) -> Result<Place, Refusal> {
    let (now, route) = (this::now(), this::route());
    let start = millis(data.inbound.started_at).and_then(|start| u64::try_from(start).ok());
    let start = start.unwrap_or_default();
    let digest = said.digest.get(..DIGEST_DIGITS).unwrap_or(said.digest);
    let before = CALLS.get((start, key, &route))?;
    if let Some(call) = before.as_ref().filter(|call| call.is_retry(digest, now)) {
        return Ok(call.place());
    }
    let mut call = before.clone().unwrap_or_default();
    call.take(data, said);
    digest.clone_into(&mut call.digest);
    call.last_at = now;
    let expires_at = now.saturating_add(settings.keep_calls.as_millis());
    CALLS.put_until((start, key, &route), &call, expires_at)?;
    agents::settle(day_of(start), &route, before.as_ref(), &call, expires_at)?;
    Ok(call.place())
}

impl Call {
    /// Whether the last event came of the same record, and not long before. With another event of
    /// the call between, the same progress was made again.
    fn is_retry(&self, digest: &str, now: u64) -> bool {
        self.digest == digest && now.saturating_sub(self.last_at) <= RETRY_WINDOW_SECONDS * 1000
    }

    /// Of the last event.
    fn place(&self) -> Place {
        Place { number: self.events, first_answer: self.first_answer == Some(self.events) }
    }

    /// Adds what a record says. Of each thing the word that was given last counts: records may
    /// overtake each other, and a late one that does not know the end yet takes nothing back.
    fn take(&mut self, data: &Data<'_>, said: Said<'_>) {
        self.events = self.events.saturating_add(1);
        if said.answer && self.first_answer.is_none() {
            self.first_answer = Some(self.events);
        }
        self.ended |= said.end;
        let hangup = &data.hangup;
        for (kept, text) in [
            (&mut self.originator, &data.originator),
            (&mut self.state, &data.state),
            (&mut self.agent_id, &data.agent_id),
            (&mut self.first_leg, &hangup.first_leg),
            (&mut self.first_end, &hangup.first_end),
        ] {
            if let Some(text) = text {
                *kept = Some(shortened(text));
            }
        }
        if let Some(cause) = &hangup.cause {
            (self.cause, self.sip) = (Some(shortened(cause)), hangup.sip.map(|sip| sip.code));
        }
        for (kept, time) in [
            (&mut self.inbound_end, data.inbound.ended_at),
            (&mut self.outbound_start, data.outbound.started_at),
            (&mut self.answered, data.outbound.answered_at),
            (&mut self.outbound_end, data.outbound.ended_at),
        ] {
            *kept = millis(time).or(*kept);
        }
    }

    /// The later end, in milliseconds.
    pub(crate) fn ended(&self) -> Option<i64> {
        self.inbound_end.max(self.outbound_end)
    }

    /// From start to answer of the outbound leg.
    pub(crate) fn ring_seconds(&self) -> Option<u64> {
        seconds(self.outbound_start, self.answered)
    }

    /// From answer to end of the outbound leg.
    pub(crate) fn talk_seconds(&self) -> Option<u64> {
        seconds(self.answered, self.outbound_end)
    }

    /// The cause as it is counted: SIP writes one code in many ways.
    fn cause_label(&self) -> Option<Cow<'_, str>> {
        match self.sip {
            Some(code) => Some(Cow::Owned(format!("SIP {code}"))),
            None => self.cause.as_deref().map(Cow::Borrowed),
        }
    }
}

/// As `Durations` has them: whole seconds, rounded down, none where they would be negative.
fn seconds(from: Option<i64>, to: Option<i64>) -> Option<u64> {
    u64::try_from(to? - from?).ok().map(|millis| millis / 1000)
}

fn millis(time: Option<Time>) -> Option<i64> {
    time.map(Time::as_unix_millis)
}

fn shortened(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default().to_owned()
}
