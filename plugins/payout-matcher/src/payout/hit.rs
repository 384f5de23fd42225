use std::borrow::Cow;

use plugin_sdk::{Answer, Key, Outcome, Rejection, call as this};

use super::Read;
use crate::amount::Payout;
use crate::balance::{self, Change};
use crate::call::{Call, Credited, Paid};
use crate::event::{ADJUSTED, CREDITED, Data, MATCHED, Publisher, UNQUALIFIED, rule_of};
use crate::history::{Entry, Status};
use crate::matching::Strategy;
use crate::phone::Phone;
use crate::settings::Settings;
use crate::tables::{HISTORY, UNMATCHED};

/// How long the same payout of the same call is a repetition, counted from the first.
const DUPLICATE_SECONDS: u64 = 15 * 60;

const ANSWER_MATCHED: &str = r#"{"ok":true,"matched":true}"#;
const ANSWER_DUPLICATE: &str = r#"{"ok":true,"duplicate":true}"#;

const NO_ASSIGNMENT: &str = "no_assignment";
const SUPERSEDED: &str = "superseded";

/// A report that found its call.
pub(super) struct Hit<'r, 'a> {
    pub(super) read: &'r Read<'a>,
    /// The call, before the report.
    pub(super) before: Call,
    pub(super) strategy: Strategy,
    pub(super) payout: Payout,
    pub(super) settings: &'r Settings,
}

impl Hit<'_, '_> {
    /// Applies the report, unless it is a repetition.
    pub(super) fn outcome(&self) -> Result<Outcome, Rejection> {
        if this::seen(&self.key("payout", "")) { self.duplicate() } else { self.apply() }
    }

    /// What is the same report for a quarter of an hour, whichever route it arrives at.
    fn key(&self, what: &str, publisher: &str) -> Key {
        let cents = self.payout.cents.to_string();
        Key::new([what, &self.before.id, &cents, publisher])
            .adapter_wide()
            .window_seconds(DUPLICATE_SECONDS)
    }

    /// The gateway knows the key: it commits nothing of this but the facts.
    fn duplicate(&self) -> Result<Outcome, Rejection> {
        let data = self.data(&self.before, &[], None);
        let event = self.read.main_event(MATCHED, &data)?.idempotency_key(self.key("payout", ""));
        let answer = Answer::json(200, ANSWER_DUPLICATE);
        let outcome = Outcome::accepted(answer.clone()).event(event).duplicate_answer(answer);
        Ok(self.facts(outcome, "duplicate"))
    }

    /// Makes the reported payout the call's value, and moves the publisher's credit.
    fn apply(&self) -> Result<Outcome, Rejection> {
        let Self { read, before, settings, .. } = self;
        let status = self.status();
        let mut call = before.clone();
        call.keep(settings);
        let mut changes = Vec::new();
        if status != Status::Superseded {
            let credit = balance::due(before, self.payout.cents, settings);
            let old = before.paid.as_ref().and_then(|paid| paid.credit.as_ref());
            changes = balance::settle(old, credit.as_ref())?;
            call.paid = Some(Paid { value_cents: self.payout.cents, at: read.now, credit });
            call.store(Some(before))?;
        }
        let entry = self.entry(&call, &changes);
        HISTORY.put_until((&call.id, read.now, &read.request), &entry, call.expires_at())?;
        // Where this is a replay, the report is no longer unmatched.
        UNMATCHED.delete((read.now, &read.request))?;
        self.tell(&call, &changes)
    }

    fn status(&self) -> Status {
        match &self.before.paid {
            // It arrived before the report that counts, as in a replay.
            Some(paid) if paid.at > self.read.now => Status::Superseded,
            Some(paid) if paid.value_cents != self.payout.cents => Status::Adjusted,
            _ => Status::Matched,
        }
    }

    /// Whether the call becomes worth nothing by this report.
    fn unqualifies(&self) -> bool {
        let before = self.before.paid.as_ref().is_some_and(|paid| paid.value_cents == 0);
        self.status() != Status::Superseded && self.payout.cents == 0 && !before
    }

    fn entry(&self, call: &Call, changes: &[Change]) -> Entry {
        Entry {
            at: self.read.now,
            request: self.read.request.clone(),
            route: self.read.route.clone(),
            status: self.status(),
            strategy: self.strategy.as_str().to_owned(),
            payout_cents: self.payout.cents,
            previous_value_cents: self.before.value_cents(),
            value_cents: call.value_cents(),
            credited_cents: changes.iter().map(Change::difference).sum(),
        }
    }

    /// Answer, events and facts.
    fn tell(&self, call: &Call, changes: &[Change]) -> Result<Outcome, Rejection> {
        let status = self.status();
        let unassigned = call.paid.as_ref().is_none_or(|paid| paid.credit.is_none());
        let reason = match status {
            Status::Superseded => Some(SUPERSEDED),
            Status::Matched | Status::Adjusted => unassigned.then_some(NO_ASSIGNMENT),
        };
        let data = self.data(call, changes, reason);
        let kind = if status == Status::Adjusted { ADJUSTED } else { MATCHED };
        let main = self.read.main_event(kind, &data)?.idempotency_key(self.key("payout", ""));
        let mut outcome = Outcome::accepted(Answer::json(200, ANSWER_MATCHED))
            .duplicate_answer(Answer::json(200, ANSWER_DUPLICATE))
            .event(main);
        if self.unqualifies() {
            let event = self.read.event(UNQUALIFIED, &data, Vec::new())?;
            outcome = outcome.event(event.idempotency_key(self.key("unqualified", "")));
        }
        for change in changes {
            let rule = rule_of(call, &change.publisher, self.settings);
            let publisher = Some(Publisher::of_change(change, rule));
            let data = Data { publisher, ..data.clone() };
            let event = self.read.event(CREDITED, &data, Vec::new())?;
            outcome = outcome.event(event.idempotency_key(self.key("credited", &change.publisher)));
        }
        Ok(self.facts(outcome, status.as_str()).fact("reason", reason))
    }

    fn facts(&self, outcome: Outcome, status: &str) -> Outcome {
        self.read
            .facts(outcome, status)
            .fact("call", Some(self.before.id.as_str()))
            .fact("number", self.before.caller().map(Phone::told))
            .fact("strategy", Some(self.strategy.as_str()))
    }

    fn data<'d>(
        &'d self,
        call: &'d Call,
        changes: &[Change],
        reason: Option<&'static str>,
    ) -> Data<'d> {
        let credit = call.paid.as_ref().and_then(|paid| paid.credit.as_ref());
        Data {
            payout: Some(self.payout.money.clone()),
            reported: Some(self.read.reported()),
            strategy: Some(self.strategy),
            reason: reason.map(Cow::Borrowed),
            previous_value_cents: self.before.value_cents(),
            publisher: publisher(call, credit, changes, self.settings),
            ..Data::of_call(call, self.settings, &self.read.route)
        }
    }
}

/// The call's own publisher, with what changed for it.
fn publisher<'d>(
    call: &'d Call,
    credit: Option<&Credited>,
    changes: &[Change],
    settings: &'d Settings,
) -> Option<Publisher<'d>> {
    let id = call.publisher(settings)?;
    let rule = rule_of(call, id, settings);
    if let Some(change) = changes.iter().find(|change| change.publisher == id) {
        return Some(Publisher::of_change(change, rule));
    }
    let unchanged = credit.filter(|credit| credit.publisher == id).map(|credit| credit.cents);
    Some(Publisher {
        id: Cow::Borrowed(id),
        rule,
        previous_payout_cents: unchanged,
        payout_cents: unchanged,
        credited_cents: unchanged.map(|_| 0),
        pending_balance_cents: None,
    })
}
