//! Which call a report is about: by ref id, by call id, by caller and duration; the first that
//! hits wins. Money is not guessed: what is ambiguous does not hit.

use std::cmp::Ordering;

use plugin_sdk::Rejection;
use schemars::JsonSchema;
use serde::Serialize;

use crate::call::{ByCaller, Call, is_sold_here};
use crate::duration::NoDuration;
use crate::settings::Settings;
use crate::tables::{BY_CALLER, BY_REF, CALLS, is_id};

/// Calls with one ref id that are looked at: an id that many share identifies none.
const REF_CALLS_MAX: u32 = 16;
/// Calls of one caller within the window that are looked at.
const CALLER_CALLS_MAX: u32 = 256;
/// How far the clock that dated a call may be ahead of ours.
const CLOCK_SKEW_MILLIS: u64 = 5 * 60 * 1000;

/// How a call was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    RefId,
    CallId,
    CallerDuration,
}

impl Strategy {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RefId => "ref_id",
            Self::CallId => "call_id",
            Self::CallerDuration => "caller_duration",
        }
    }
}

/// What a report tells of its call. What is absent has its reason.
#[derive(Clone, Debug)]
pub(crate) struct Clues<'a> {
    pub(crate) ref_id: Result<&'a str, Missing>,
    pub(crate) call_id: Result<&'a str, Missing>,
    pub(crate) caller: Result<&'a str, NoCaller>,
    pub(crate) duration: Result<u64, NoSeconds>,
    /// When the report arrived.
    pub(crate) now: u64,
}

/// Why a report has no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    NotGiven,
    Unresolved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCaller {
    Missing(Missing),
    Withheld,
    Unreadable,
    /// The number that was dialled, in the place of the caller's.
    OwnNumber,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeconds {
    Missing(Missing),
    Bad(NoDuration),
}

/// The call, or why none was found: one entry for each strategy.
#[derive(Debug)]
pub(crate) enum Found {
    Hit(Box<Call>, Strategy),
    Miss(Vec<(Strategy, &'static str)>),
}

/// What one strategy found.
enum Tried {
    Hit(Box<Call>),
    Miss(&'static str),
    /// Several calls, one of which it is.
    OneOf(Vec<String>),
}

const UNKNOWN: &str = "unknown";
const OTHER_BUYER: &str = "sold to another buyer";
const AMBIGUOUS: &str = "ambiguous";

/// Looks for the call.
pub(crate) fn find(clues: &Clues<'_>, settings: &Settings) -> Result<Found, Rejection> {
    let mut missed = Vec::new();
    // Where a ref id leaves a choice, the other strategies choose among those calls alone.
    let mut choice: Option<Vec<String>> = None;
    match by_ref_id(clues, settings)? {
        Tried::Hit(call) => return Ok(Found::Hit(call, Strategy::RefId)),
        Tried::Miss(why) => missed.push((Strategy::RefId, why)),
        Tried::OneOf(calls) => {
            missed.push((Strategy::RefId, AMBIGUOUS));
            choice = Some(calls);
        }
    }
    match by_call_id(clues, choice.as_deref(), settings)? {
        Ok(call) => return Ok(Found::Hit(call, Strategy::CallId)),
        Err(why) => missed.push((Strategy::CallId, why)),
    }
    match by_caller(clues, choice.as_deref(), settings)? {
        Ok(call) => return Ok(Found::Hit(call, Strategy::CallerDuration)),
        Err(why) => missed.push((Strategy::CallerDuration, why)),
    }
    Ok(Found::Miss(missed))
}

fn by_ref_id(clues: &Clues<'_>, settings: &Settings) -> Result<Tried, Rejection> {
    let ref_id = match clues.ref_id {
        Ok(ref_id) => ref_id,
        Err(why) => return Ok(Tried::Miss(why.told())),
    };
    if !is_id(ref_id) {
        return Ok(Tried::Miss(UNKNOWN));
    }
    let entries = BY_REF.under((ref_id,)).first(REF_CALLS_MAX)?;
    let all = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut calls = Vec::new();
    for ((_, id), ()) in entries {
        calls.extend(CALLS.get(&id)?.filter(|call| is_sold_here(call.buyer(settings), settings)));
    }
    Ok(match (calls.len(), all) {
        (_, 0) => Tried::Miss(UNKNOWN),
        (0, _) => Tried::Miss(OTHER_BUYER),
        // With more than were looked at nobody knows whether it is the only one.
        (1, ..REF_CALLS_MAX) => {
            calls.pop().map_or(Tried::Miss(UNKNOWN), |call| Tried::Hit(Box::new(call)))
        }
        _ => Tried::OneOf(calls.into_iter().map(|call| call.id).collect()),
    })
}

fn by_call_id(
    clues: &Clues<'_>,
    choice: Option<&[String]>,
    settings: &Settings,
) -> Result<Result<Box<Call>, &'static str>, Rejection> {
    let id = match clues.call_id {
        Ok(id) => id,
        Err(why) => return Ok(Err(why.told())),
    };
    let found = if is_id(id) { CALLS.get(id)? } else { None };
    let Some(call) = found else { return Ok(Err(UNKNOWN)) };
    Ok(if !is_sold_here(call.buyer(settings), settings) {
        Err(OTHER_BUYER)
    } else if !is_choice(&call.id, choice) {
        Err("another call than the ref id's")
    } else {
        Ok(Box::new(call))
    })
}

fn is_choice(id: &str, choice: Option<&[String]>) -> bool {
    choice.is_none_or(|choice| choice.iter().any(|each| each == id))
}

fn by_caller(
    clues: &Clues<'_>,
    choice: Option<&[String]>,
    settings: &Settings,
) -> Result<Result<Box<Call>, &'static str>, Rejection> {
    let (caller, duration) = match (clues.caller, clues.duration) {
        (Ok(caller), Ok(duration)) => (caller, duration),
        (Err(why), _) => return Ok(Err(why.told())),
        (_, Err(why)) => return Ok(Err(why.told())),
    };
    let first = clues.now.saturating_sub(settings.match_window.as_millis());
    let last = clues.now.saturating_add(CLOCK_SKEW_MILLIS);
    let of_caller = BY_CALLER.under((caller,)).from((caller, first)).through((caller, last));
    let entries = of_caller.first(CALLER_CALLS_MAX)?;
    if entries.is_empty() {
        return Ok(Err("no call of this caller in the window"));
    }
    if entries.len() >= usize::try_from(CALLER_CALLS_MAX).unwrap_or(usize::MAX) {
        return Ok(Err("too many calls of this caller in the window"));
    }
    let mut candidates: Vec<Candidate> =
        entries.into_iter().map(|((_, start, id), entry)| Candidate { id, start, entry }).collect();
    candidates.retain(|each| {
        each.entry.duration.abs_diff(duration) <= settings.duration_tolerance.as_seconds()
    });
    if candidates.is_empty() {
        return Ok(Err("no call of this duration"));
    }
    candidates.retain(|each| is_sold_here(each.entry.buyer(settings), settings));
    if candidates.is_empty() {
        return Ok(Err(OTHER_BUYER));
    }
    candidates.retain(|each| is_choice(&each.id, choice));
    if candidates.is_empty() {
        return Ok(Err("another call than the ref id's"));
    }
    nearest(&candidates, duration, clues.now)
}

/// A call of the caller that a report names.
struct Candidate {
    id: String,
    start: u64,
    entry: ByCaller,
}

/// The nearest in duration; of several the nearest in time; of several one without a payout.
fn nearest(
    candidates: &[Candidate],
    duration: u64,
    now: u64,
) -> Result<Result<Box<Call>, &'static str>, Rejection> {
    let distance =
        |each: &Candidate| (each.entry.duration.abs_diff(duration), each.start.abs_diff(now));
    let least = candidates.iter().map(distance).min();
    let mut calls = Vec::new();
    for each in candidates.iter().filter(|each| Some(distance(each)) == least) {
        calls.extend(CALLS.get(&each.id)?);
    }
    if calls.len() > 1 {
        let unpaid = calls.iter().filter(|call| call.paid.is_none()).count();
        match unpaid.cmp(&1) {
            Ordering::Equal => calls.retain(|call| call.paid.is_none()),
            Ordering::Less | Ordering::Greater => return Ok(Err(AMBIGUOUS)),
        }
    }
    Ok(calls.pop().map(Box::new).ok_or(UNKNOWN))
}

impl Missing {
    const fn told(self) -> &'static str {
        match self {
            Self::NotGiven => "not given",
            Self::Unresolved => "blank or an unresolved token",
        }
    }
}

impl NoCaller {
    const fn told(self) -> &'static str {
        match self {
            Self::Missing(Missing::NotGiven) => "no caller given",
            Self::Missing(Missing::Unresolved) => "caller is blank or an unresolved token",
            Self::Withheld => "caller is withheld",
            Self::Unreadable => "caller is no telephone number",
            Self::OwnNumber => "caller is the number that was dialled",
        }
    }
}

impl NoSeconds {
    const fn told(self) -> &'static str {
        match self {
            Self::Missing(Missing::NotGiven) => "no duration given",
            Self::Missing(Missing::Unresolved) => "duration is blank or an unresolved token",
            Self::Bad(NoDuration::Unreadable) => "duration is unreadable",
            Self::Bad(NoDuration::TooLong) => "duration is longer than a day",
        }
    }
}
