//! A buyer's report: read, matched to its call, and applied.

mod hit;

use std::borrow::Cow;
use std::collections::BTreeMap;

use plugin_sdk::{Answer, Event, Inbound, Outcome, Rejection, Telephone, Warning, call as this};
use serde::Serialize;

use crate::amount::{self, Payout};
use crate::call::Call;
use crate::duration;
use crate::event::{self, Data, Reported};
use crate::matching::{self, Clues, Found, Missing, NoCaller, NoSeconds};
use crate::phone::Phone;
use crate::report::{self, Report, Slot, Slots};
use crate::settings::Settings;
use crate::tables::UNMATCHED;

use hit::Hit;

/// A report that has been read.
struct Read<'a> {
    slots: Slots<'a>,
    caller: Option<Phone>,
    /// The same, where it can be compared.
    number: Result<String, NoCaller>,
    duration: Result<u64, NoSeconds>,
    payout: Result<Payout, &'static str>,
    original: Cow<'a, str>,
    warnings: Vec<Warning>,
    route: String,
    request: String,
    now: u64,
}

/// Takes one report.
pub(crate) fn receive(settings: &Settings, inbound: &Inbound) -> Result<Outcome, Rejection> {
    let mut read = Read::of(Report::read(inbound)?, settings);
    let payout = match read.payout.clone() {
        Ok(payout) => payout,
        Err(why) => return read.unmatched(why, settings),
    };
    match matching::find(&read.clues(), settings)? {
        Found::Hit(call, strategy) => {
            read.compare_callers(&call);
            Hit { read: &read, before: *call, strategy, payout, settings }.outcome()
        }
        Found::Miss(missed) => {
            let each = missed.iter().map(|(strategy, why)| format!("{}: {why}", strategy.as_str()));
            read.unmatched(&each.collect::<Vec<_>>().join("; "), settings)
        }
    }
}

impl<'a> Read<'a> {
    fn of(report: Report<'a>, settings: &Settings) -> Self {
        let slots = Slots::of(&report, &settings.fields);
        let caller = slots.caller.telephone(settings.default_country);
        let number = match &caller {
            None => Err(NoCaller::Missing(missing(&slots.caller))),
            Some(caller) => comparable(caller, settings),
        };
        let caller = caller.as_ref().map(Phone::of);
        let duration = text(&slots.duration)
            .map_err(NoSeconds::Missing)
            .and_then(|text| duration::read(text).map_err(NoSeconds::Bad));
        let payout = text(&slots.payout).map_err(|_| "payout missing").and_then(|text| {
            // `check` refuses a limit that is none.
            let max = settings.payout_max().unwrap_or_default();
            amount::in_currency(slots.currency.value.as_deref(), &settings.currency)?;
            amount::payout(text, &settings.currency, max)
        });
        let mut warnings = report.warnings;
        if payout.as_ref().is_ok_and(|payout| payout.rounded) {
            let detail = "finer than a cent; rounded half up";
            warnings.push(Warning::new("rounded_amount", "payout", detail));
        }
        Self {
            caller,
            number,
            slots,
            duration,
            payout,
            original: report.original,
            warnings,
            route: this::route(),
            request: this::id(),
            now: this::now(),
        }
    }

    fn clues(&self) -> Clues<'_> {
        Clues {
            ref_id: text(&self.slots.ref_id).map(str::trim),
            call_id: text(&self.slots.call_id).map(str::trim),
            caller: self.number.as_deref().map_err(|why| *why),
            duration: self.duration,
            now: self.now,
        }
    }

    /// What was sent, word for word.
    fn reported(&self) -> Reported<'a> {
        let slots = &self.slots;
        Reported {
            caller: slots.caller.value.clone(),
            duration: slots.duration.value.clone(),
            payout: slots.payout.value.clone(),
            ref_id: slots.ref_id.value.clone(),
            call_id: slots.call_id.value.clone(),
            fields_used: self.fields_used(),
        }
    }

    fn fields_used(&self) -> BTreeMap<&'static str, Cow<'a, str>> {
        let used = self.slots.fields_used();
        used.map(|(slot, field)| (slot, Cow::Owned(field.to_owned()))).collect()
    }

    /// The event about the report itself, which has what is doubtful of it.
    fn main_event(&self, kind: &'static str, data: &Data<'_>) -> Result<Event, Rejection> {
        self.event(kind, data, self.warnings.clone())
    }

    /// An event, with all that was sent.
    fn event(
        &self,
        kind: &'static str,
        data: &Data<'_>,
        warnings: Vec<Warning>,
    ) -> Result<Event, Rejection> {
        let call = data.call_id.as_deref();
        Ok(Event::new(kind, data)?
            .subject(call.or(Some(&self.request)))
            .partition_key(call)
            .warnings(warnings)
            .original(report::original(&self.original)?))
    }

    /// The facts of every report.
    fn facts(&self, outcome: Outcome, status: &str) -> Outcome {
        let value = |slot: &Slot<'_>| slot.value.as_deref().map(str::to_owned);
        let used: Vec<String> =
            self.slots.fields_used().map(|(slot, field)| format!("{slot}={field}")).collect();
        outcome
            .fact("status", Some(status))
            .fact("caller", value(&self.slots.caller))
            .fact("duration", value(&self.slots.duration))
            .fact("payout", value(&self.slots.payout))
            .fact("fields", (!used.is_empty()).then(|| used.join(" ")))
    }

    /// Answers that no call was found, and keeps the report for the operator.
    fn unmatched(&self, reason: &str, settings: &Settings) -> Result<Outcome, Rejection> {
        let data = Data {
            ref_id: text(&self.slots.ref_id).ok().map(|text| text.trim().into()),
            caller: self.caller.clone(),
            duration_seconds: self.duration.ok(),
            payout: self.payout.as_ref().ok().map(|payout| payout.money.clone()),
            reported: Some(self.reported()),
            reason: Some(reason.into()),
            buyer: settings.buyer.as_deref().map(Cow::Borrowed),
            route: Cow::Borrowed(&self.route),
            ..Data::default()
        };
        let kept = data.unmatched(&self.request, self.now);
        let expires_at = self.now.saturating_add(settings.keep_unmatched.as_millis());
        UNMATCHED.put_until((self.now, &self.request), &kept, expires_at)?;
        let answer = answer_unmatched(reason);
        let outcome = Outcome::accepted(answer).event(self.main_event(event::UNMATCHED, &data)?);
        Ok(self.facts(outcome, "unmatched").fact("reason", Some(reason)))
    }

    /// Ids are believed whoever called; that somebody else did is told.
    fn compare_callers(&mut self, call: &Call) {
        let of_call = call.caller().and_then(|caller| caller.e164.as_deref());
        if let (Ok(reported), Some(of_call)) = (&self.number, of_call)
            && reported != of_call
        {
            let detail = "not the call's caller; ids were believed";
            self.warnings.push(Warning::new("caller_mismatch", "caller", detail));
        }
    }
}

fn text<'s>(slot: &'s Slot<'_>) -> Result<&'s str, Missing> {
    slot.value.as_deref().ok_or_else(|| missing(slot))
}

const fn missing(slot: &Slot<'_>) -> Missing {
    if slot.unresolved { Missing::Unresolved } else { Missing::NotGiven }
}

/// The number by which a call can be looked for: not one that was dialled, which some senders put
/// into the caller's place.
fn comparable(caller: &Telephone<'_>, settings: &Settings) -> Result<String, NoCaller> {
    match caller.e164().map(|number| number.to_string()) {
        None if caller.is_withheld() => Err(NoCaller::Withheld),
        None => Err(NoCaller::Unreadable),
        Some(own) if settings.numbers.contains_key(&own) => Err(NoCaller::OwnNumber),
        Some(number) => Ok(number),
    }
}

fn answer_unmatched(reason: &str) -> Answer {
    #[derive(Serialize)]
    struct Body<'a> {
        ok: bool,
        matched: bool,
        reason: &'a str,
    }
    let body = Body { ok: true, matched: false, reason };
    Answer::json(200, serde_json::to_string(&body).unwrap_or_default())
}
