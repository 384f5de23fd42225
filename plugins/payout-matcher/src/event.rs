//! The events, as an application receives them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use plugin_sdk::Money;
use schemars::JsonSchema;
use serde::Serialize;

use crate::balance::Change;
use crate::call::Call;
use crate::history::{Unmatched, shortened};
use crate::matching::Strategy;
use crate::phone::Phone;
use crate::settings::Settings;

pub(crate) const MATCHED: &str = "sluice.payout.matched";
pub(crate) const UNMATCHED: &str = "sluice.payout.unmatched";
pub(crate) const ADJUSTED: &str = "sluice.payout.adjusted";
pub(crate) const UNQUALIFIED: &str = "sluice.call.unqualified";
pub(crate) const CREDITED: &str = "sluice.publisher.credited";

/// Type and summary of each event.
pub(crate) const ALL: [(&str, &str); 5] = [
    (MATCHED, "A buyer's payout was matched to a call"),
    (UNMATCHED, "A buyer's payout was matched to no call, with the reason"),
    (ADJUSTED, "A later, different payout changed the value of a call"),
    (UNQUALIFIED, "A buyer rejected a call: it is worth nothing"),
    (CREDITED, "A publisher's pending balance changed"),
];

/// The data of every event of this adapter. Absent means unknown.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Data<'a> {
    /// Our id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<Cow<'a, str>>,
    /// The reference that was given to the buyer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_id: Option<Cow<'a, str>>,
    /// Who called: of the call, where there is one, else as reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Phone>,
    /// Of the call, where there is one, else as reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// What the buyer reports to have paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout: Option<Money<'a>>,
    /// The report, as it was sent. Absent where no report made the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported: Option<Reported<'a>>,
    /// How the call was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Why no call was found, or why what was found has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// What the call was worth before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_value_cents: Option<i64>,
    /// What the call is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_cents: Option<i64>,
    /// Whether a buyer reported that value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from_webhook: Option<bool>,
    /// Whether the call is worth anything to its buyer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qualified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher: Option<Publisher<'a>>,
    /// To whom the call was sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Cow<'a, str>>,
    /// Where the report arrived.
    pub route: Cow<'a, str>,
}

/// What a buyer reports, as sent.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Reported<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<Cow<'a, str>>,
    /// Which field each of these was read from.
    pub fields_used: BTreeMap<&'static str, Cow<'a, str>>,
}

/// What a publisher earns of the call.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Publisher<'a> {
    pub id: Cow<'a, str>,
    /// As the campaign has it: `percent 60` or `flat 12.00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Credited for this call before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_payout_cents: Option<i64>,
    /// Credited for this call now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payout_cents: Option<i64>,
    /// The difference, by which the balance changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credited_cents: Option<i64>,
    /// The balance after it; absent where it did not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_balance_cents: Option<i64>,
}

impl<'a> Data<'a> {
    /// What is kept of a report that matched no call.
    pub(crate) fn unmatched(&self, request: &str, at: u64) -> Unmatched {
        let reported = self.reported.clone().unwrap_or_default();
        let short = |text: Option<Cow<'_, str>>| text.map(|text| shortened(&text));
        Unmatched {
            at,
            request: request.to_owned(),
            route: self.route.to_string(),
            reason: self.reason.as_deref().unwrap_or_default().to_owned(),
            caller: short(reported.caller),
            duration: short(reported.duration),
            payout: short(reported.payout),
            ref_id: short(reported.ref_id),
            call_id: short(reported.call_id),
        }
    }

    /// What is known of a call.
    pub(crate) fn of_call(call: &'a Call, settings: &'a Settings, route: &'a str) -> Self {
        Self {
            call_id: Some(Cow::Borrowed(&call.id)),
            ref_id: call.ref_id().map(Cow::Borrowed),
            caller: call.caller().cloned(),
            duration_seconds: call.duration(),
            value_cents: call.value_cents(),
            value_from_webhook: Some(call.paid.is_some()),
            qualified: call.paid.as_ref().map(|paid| paid.value_cents > 0),
            campaign: call.campaign(settings).map(Cow::Borrowed),
            buyer: call.buyer(settings).map(Cow::Borrowed),
            route: Cow::Borrowed(route),
            ..Self::default()
        }
    }
}

impl Publisher<'_> {
    /// The publisher of a change; `rule` where the campaign has one for it.
    pub(crate) fn of_change(change: &Change, rule: Option<String>) -> Self {
        Self {
            id: Cow::Owned(change.publisher.clone()),
            rule,
            previous_payout_cents: Some(change.previous_cents),
            payout_cents: Some(change.cents),
            credited_cents: Some(change.difference()),
            pending_balance_cents: Some(change.pending_cents),
        }
    }
}

/// The rule by which a publisher earns of the call, where the campaign has one for it.
pub(crate) fn rule_of(call: &Call, publisher: &str, settings: &Settings) -> Option<String> {
    let assignment = settings.assignment(call.campaign(settings)?, publisher)?;
    Some(assignment.told())
}
