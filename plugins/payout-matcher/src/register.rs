//! Calls, as other adapters and a route of their own tell of them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use plugin_sdk::json::{self, Document};
use plugin_sdk::{
    Answer, DeliveredEvent, Event, Inbound, Loose, Outcome, Rejection, Time, Zone, call as this,
};
use serde::{Deserialize, Serialize};

use crate::amount::{self, CENTS_LIMIT};
use crate::balance::{self, Change};
use crate::call::{Call, Paid, Told};
use crate::duration;
use crate::event::{CREDITED, Data, Publisher, rule_of};
use crate::members::Members;
use crate::phone::Phone;
use crate::settings::{CallPaths, Names, PAYTIA_CALL_ENDED, Settings};
use crate::tables::{CALLS, is_id};

/// Calls of one request: each costs up to ten writes of state, of which a call has 2,048.
const CALLS_MAX: usize = 100;

/// What may arrive at a route for calls: one, or many.
#[derive(Deserialize)]
struct Many<'a> {
    #[serde(borrow)]
    calls: Vec<Loose<'a>>,
}

/// What became of one call.
enum Registered {
    /// With the credits that moved with it.
    Kept(Vec<(Change, Option<String>)>, Box<Call>),
    /// It began so long ago that it would be forgotten at once.
    Expired,
}

/// Takes one call, or a list of them, posted to a route.
pub(crate) fn receive(settings: &Settings, inbound: &Inbound) -> Result<Outcome, Rejection> {
    if inbound.method() != "POST" {
        return Err(Rejection::new(405, "method_not_allowed", "calls are posted"));
    }
    let text = inbound.text()?.trim_ascii();
    // A list is read as the one member of an object: the SDK checks objects.
    let wrapped;
    let text = if text.starts_with('[') {
        wrapped = format!("{{\"calls\":{text}}}");
        &wrapped
    } else {
        text
    };
    let Document { value: members, .. } = json::read_object::<Members<'_>>(text)?;
    let many = members.at("calls").is_some_and(|calls| is_list(calls));
    let calls = if many { json::read_object::<Many<'_>>(text)?.value.calls } else { Vec::new() };
    if calls.len() > CALLS_MAX {
        let detail = format!("more than {CALLS_MAX} calls; post them in parts");
        return Err(Rejection::new(400, "too_many_calls", detail));
    }
    let mut taken = Taken::default();
    let now = this::now();
    if many {
        for call in calls {
            let told = call.object::<Members<'_>>().ok_or("not an object");
            taken.take(
                told.and_then(|members| read(&members, &settings.call_fields, settings)),
                now,
                settings,
            )?;
        }
    } else {
        taken.take(read(&members, &settings.call_fields, settings), now, settings)?;
    }
    taken.outcome()
}

fn is_list(value: Loose<'_>) -> bool {
    value.literal().is_some_and(|literal| literal.starts_with('['))
}

/// Takes an event of another adapter, where the settings say that it is a call.
pub(crate) fn consume(settings: &Settings, event: &DeliveredEvent) -> Result<Outcome, Rejection> {
    let answer = Answer::empty(200);
    let built_in = (event.kind == PAYTIA_CALL_ENDED).then(CallPaths::of_paytia);
    let Some(paths) = settings.call_events.get(&event.kind).or(built_in.as_ref()) else {
        return Ok(Outcome::ignored(answer).fact("status", Some("not a call")));
    };
    let Document { value: members, .. } = json::read_object::<Members<'_>>(&event.data)?;
    // When its source told of it: deliveries may overtake each other.
    let told_at = Time::read(&event.received_at, None).ok().flatten();
    let told_at = told_at.and_then(|time| u64::try_from(time.as_unix_millis()).ok());
    let mut taken = Taken::default();
    taken.take(read(&members, paths, settings), told_at.unwrap_or_else(this::now), settings)?;
    taken.outcome()
}

/// What became of the calls of one request.
#[derive(Default)]
struct Taken {
    registered: usize,
    refused: Vec<Refused>,
    /// Fields that some call has and that could not be read.
    unread: BTreeSet<&'static str>,
    last: Option<String>,
    events: Vec<Event>,
}

/// A call that was not registered.
#[derive(Serialize)]
struct Refused {
    /// Its place in the list, from 0.
    index: usize,
    reason: &'static str,
}

impl Taken {
    fn take(
        &mut self,
        read: Result<Read, &'static str>,
        at: u64,
        settings: &Settings,
    ) -> Result<(), Rejection> {
        let index = self.registered + self.refused.len();
        let Read { id, told, unread } = match read {
            Ok(read) => read,
            Err(reason) => {
                self.refused.push(Refused { index, reason });
                return Ok(());
            }
        };
        self.unread.extend(unread);
        match register(id, told, at, settings)? {
            Registered::Expired => {
                self.refused.push(Refused { index, reason: "the call is older than `keep_calls`" });
            }
            Registered::Kept(changes, call) => {
                self.registered += 1;
                let route = this::route();
                for (change, rule) in changes {
                    let publisher = Some(Publisher::of_change(&change, rule));
                    let data = Data { publisher, ..Data::of_call(&call, settings, &route) };
                    let event = Event::new(CREDITED, &data)?;
                    let id = Some(call.id.as_str());
                    self.events.push(event.subject(id).partition_key(id));
                }
                self.last = Some(call.id);
            }
        }
        Ok(())
    }

    /// Refused is only what nothing could be taken of.
    fn outcome(self) -> Result<Outcome, Rejection> {
        #[derive(Serialize)]
        struct Body {
            ok: bool,
            registered: usize,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            refused: Vec<Refused>,
            #[serde(skip_serializing_if = "BTreeSet::is_empty")]
            unread: BTreeSet<&'static str>,
        }
        if let (0, [first, ..]) = (self.registered, self.refused.as_slice()) {
            return Err(Rejection::new(400, "no_call", first.reason));
        }
        let refused = self.refused.len();
        let unread = Vec::from_iter(self.unread.iter().copied()).join(" ");
        let Self { registered, refused: of_body, unread: names, last, events } = self;
        let body = Body { ok: true, registered, refused: of_body, unread: names };
        let answer = Answer::json(200, serde_json::to_string(&body).unwrap_or_default());
        let one = if registered == 1 { last } else { None };
        let outcome = Outcome::accepted(answer)
            .fact("status", Some("registered"))
            .fact("call", one)
            .fact("registered", Some(registered.to_string()))
            .fact("refused", (refused > 0).then(|| refused.to_string()))
            .fact("unread", (!unread.is_empty()).then_some(unread));
        Ok(events.into_iter().fold(outcome, Outcome::event))
    }
}

/// Adds what was told of a call to what is known of it.
fn register(id: String, told: Told, at: u64, settings: &Settings) -> Result<Registered, Rejection> {
    let before = CALLS.get(&id)?;
    let mut call = before.clone().unwrap_or_else(|| Call::new(id, at));
    call.merge(told, at);
    call.keep(settings);
    if call.expires_at() <= this::now() {
        return Ok(Registered::Expired);
    }
    let changes = match &before {
        Some(before) => reassign(before, &mut call, settings)?,
        None => Vec::new(),
    };
    if before.as_ref() != Some(&call) {
        call.store(before.as_ref())?;
    }
    let changes = changes
        .into_iter()
        .map(|change| {
            let rule = rule_of(&call, &change.publisher, settings);
            (change, rule)
        })
        .collect();
    Ok(Registered::Kept(changes, Box::new(call)))
}

/// Where a call that has a payout turns out to be another publisher's or campaign's, its credit
/// moves: so it does not matter whether the payout or the news came first.
fn reassign(before: &Call, call: &mut Call, settings: &Settings) -> Result<Vec<Change>, Rejection> {
    let same = before.campaign(settings) == call.campaign(settings)
        && before.publisher(settings) == call.publisher(settings);
    let Some(paid) = before.paid.as_ref().filter(|_| !same) else { return Ok(Vec::new()) };
    let credit = balance::due(call, paid.value_cents, settings);
    let changes = balance::settle(paid.credit.as_ref(), credit.as_ref())?;
    call.paid = Some(Paid { credit, ..paid.clone() });
    Ok(changes)
}

/// A call as an object tells it.
struct Read {
    id: String,
    told: Told,
    /// Fields that are there and could not be read.
    unread: Vec<&'static str>,
}

/// Reads a call from an object. What cannot be read is as if it were not there, but told to who
/// looks why no report finds the call; only without an id there is no call.
fn read(
    members: &Members<'_>,
    paths: &CallPaths,
    settings: &Settings,
) -> Result<Read, &'static str> {
    let of_id =
        |value: Loose<'_>| text(value).map(|id| id.trim().to_owned()).filter(|id| is_id(id));
    let call_id = first(members, &paths.call_id).and_then(of_id);
    let id = call_id.ok_or("`call_id` is missing, or longer than 200 bytes")?;
    let mut unread = Vec::new();
    // A number of which nobody can be found is kept as it was sent.
    let mut phone = |name, names| {
        let number = first(members, names)?.telephone(settings.default_country).ok().flatten();
        if number.as_ref().is_none_or(|of| of.e164().is_none() && !of.is_withheld()) {
            unread.push(name);
        }
        number.as_ref().map(Phone::of)
    };
    let (caller, number) = (phone("caller", &paths.caller), phone("number", &paths.number));
    let mut take = Taking { members, unread };
    let amount = |value| amount::payout(&text(value)?, &settings.currency, CENTS_LIMIT).ok();
    let told = Told {
        caller,
        number,
        ref_id: take.value("ref_id", &paths.ref_id, of_id),
        started_at: take.value("started_at", &paths.started_at, moment),
        duration: take.value("duration", &paths.duration, |of| duration::read(&text(of)?).ok()),
        campaign: take.value("campaign", &paths.campaign, of_id),
        publisher: take.value("publisher", &paths.publisher, of_id),
        buyer: take.value("buyer", &paths.buyer, of_id),
        value_cents: take.value("value", &paths.value, amount).map(|value| value.cents),
    };
    Ok(Read { id, told, unread: take.unread })
}

/// Reads the fields of one object.
struct Taking<'m, 'a> {
    members: &'m Members<'a>,
    unread: Vec<&'static str>,
}

impl<'a> Taking<'_, 'a> {
    fn value<T>(
        &mut self,
        name: &'static str,
        names: &Names,
        read: impl FnOnce(Loose<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = read(first(self.members, names)?);
        if value.is_none() {
            self.unread.push(name);
        }
        value
    }
}

/// The first that says something.
fn first<'a>(members: &Members<'a>, names: &Names) -> Option<Loose<'a>> {
    names.iter().find_map(|path| members.at(path).filter(|value| is_something(*value)))
}

fn text(value: Loose<'_>) -> Option<Cow<'_, str>> {
    value.text().ok().flatten()
}

/// In milliseconds.
fn moment(value: Loose<'_>) -> Option<u64> {
    let time = value.time(Some(Zone::UTC)).ok().flatten()?;
    u64::try_from(time.as_unix_millis()).ok()
}

fn is_something(value: Loose<'_>) -> bool {
    text(value).is_some_and(|text| !text.trim().is_empty())
}
