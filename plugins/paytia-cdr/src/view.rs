//! What operators may ask. Every list comes in pages.

use std::borrow::Cow;
use std::collections::BTreeMap;

use plugin_sdk::view::{self, Rows};
use plugin_sdk::{Rejection, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{Hangup, Sip};
use crate::memory::{AGENTS, CALLS, Call, Totals, day_of};
use crate::sip;

pub(crate) const CALLS_VIEW: &str = "calls";
pub(crate) const AGENTS_VIEW: &str = "agents";

/// Of a day as `2026-01-02`.
const DATE_CHARS: usize = 10;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Which calls.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// Only those that started at this moment (RFC 3339), as `inbound.started_at` of their events.
    pub started_at: Option<String>,
    /// Rows of the page, from 1 to 200.
    pub limit: Option<u32>,
    /// `next` of the page before; absent: the first page.
    pub after: Option<String>,
}

/// Which agents' days.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Agents {
    /// Only this day (of UTC), as `2026-01-02`.
    pub day: Option<String>,
    /// Rows of the page, from 1 to 200.
    pub limit: Option<u32>,
    /// `next` of the page before; absent: the first page.
    pub after: Option<String>,
}

#[derive(Debug, Serialize)]
struct CallRow<'c> {
    call_key: &'c str,
    route: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    originator: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    talk_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Hangup::is_empty")]
    hangup: Hangup<'c>,
    events: u32,
    last_event_at: Option<Time>,
}

#[derive(Debug, Serialize)]
struct AgentRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    agent_id: &'a str,
    route: &'a str,
    /// Those that have ended.
    calls: u64,
    answered: u64,
    ring_seconds: u64,
    talk_seconds: u64,
    causes: &'a BTreeMap<String, u64>,
}

/// Answers one question.
pub(crate) fn answer(name: &str, parameters: &str) -> Result<String, Rejection> {
    match name {
        CALLS_VIEW => calls(&view::parameters(parameters)?),
        AGENTS_VIEW => agents(&view::parameters(parameters)?),
        _ => Err(view::unknown()),
    }
}

fn calls(asked: &Calls) -> Result<String, Rejection> {
    let limit = view::limit(asked.limit)?;
    let mut scan = CALLS.all().descending();
    if let Some(text) = &asked.started_at {
        let wrong = || view::wrong("`started_at` is not a time, as `2026-01-02T03:04:05Z`");
        let start = Time::read(text, None).ok().flatten().ok_or_else(wrong)?;
        let start = u64::try_from(start.as_unix_millis()).unwrap_or_default();
        scan = scan.from((start,)).through((start,));
    }
    if let Some(after) = &asked.after {
        let (start, key, route): (u64, _, _) = place(after)?;
        scan = scan.until((start, key, route));
    }
    let found = scan.first(limit)?;
    let next =
        view::next(&found, limit, |((start, key, route), _)| format!("{start}/{key}/{route}"));
    let rows = found.iter().map(|((start, key, route), call)| call_row(*start, key, route, call));
    view::answer(&Rows { rows: rows.collect(), next })
}

fn agents(asked: &Agents) -> Result<String, Rejection> {
    let limit = view::limit(asked.limit)?;
    let mut scan = AGENTS.all().descending();
    if let Some(text) = &asked.day {
        let day = read_day(text).ok_or_else(|| view::wrong("`day` is not as `2026-01-02`"))?;
        scan = scan.from((day,)).through((day,));
    }
    if let Some(after) = &asked.after {
        let (day, route, agent): (u32, _, _) = place(after)?;
        scan = scan.until((day, agent, route));
    }
    let found = scan.first(limit)?;
    // The agent last: who knows what stands in it.
    let next =
        view::next(&found, limit, |((day, agent, route), _)| format!("{day}/{route}/{agent}"));
    let rows =
        found.iter().map(|((day, agent, route), totals)| agent_row(*day, agent, route, totals));
    view::answer(&Rows { rows: rows.collect(), next })
}

fn call_row<'c>(start: u64, call_key: &'c str, route: &'c str, call: &'c Call) -> CallRow<'c> {
    let borrowed = |text: &'c Option<String>| text.as_deref().map(Cow::Borrowed);
    CallRow {
        call_key,
        route,
        started_at: i64::try_from(start).ok().and_then(time),
        originator: call.originator.as_deref(),
        state: call.state.as_deref(),
        agent_id: call.agent_id.as_deref(),
        answered_at: call.answered.and_then(time),
        ended_at: call.ended().and_then(time),
        ring_seconds: call.ring_seconds(),
        talk_seconds: call.talk_seconds(),
        hangup: Hangup {
            first_leg: borrowed(&call.first_leg),
            first_end: borrowed(&call.first_end),
            sip: call.sip.map(|code| Sip { code, name: sip::name(code) }),
            cause: borrowed(&call.cause),
        },
        events: call.events,
        last_event_at: i64::try_from(call.last_at).ok().and_then(time),
    }
}

fn agent_row<'a>(day: u32, agent_id: &'a str, route: &'a str, totals: &'a Totals) -> AgentRow<'a> {
    let Totals { calls, answered, ring_seconds, talk_seconds, causes } = totals;
    AgentRow {
        day: time(i64::from(day) * DAY_MILLIS)
            .map(|day| day.to_string().chars().take(DATE_CHARS).collect()),
        agent_id,
        route,
        calls: *calls,
        answered: *answered,
        ring_seconds: *ring_seconds,
        talk_seconds: *talk_seconds,
        causes,
    }
}

/// Three parts, as `next` has them.
fn place<N: std::str::FromStr>(after: &str) -> Result<(N, &str, &str), Rejection> {
    let mut parts = after.splitn(3, '/');
    let mut read = || Some((parts.next()?.parse().ok()?, parts.next()?, parts.next()?));
    read().ok_or_else(view::not_a_place)
}

fn read_day(text: &str) -> Option<u32> {
    let start = Time::read(&format!("{text}T00:00:00Z"), None).ok()??;
    Some(day_of(u64::try_from(start.as_unix_millis()).ok()?))
}

/// Of what was a time when it was written; 0 is none.
fn time(millis: i64) -> Option<Time> {
    Time::read(&millis.to_string(), None).ok().flatten()
}
