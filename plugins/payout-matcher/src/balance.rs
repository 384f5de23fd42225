//! What publishers earn of calls, and what they are owed.

use plugin_sdk::Rejection;

use crate::call::{Call, Credited};
use crate::settings::Settings;
use crate::tables::BALANCES;

/// A change of what a publisher is credited for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) publisher: String,
    pub(crate) previous_cents: i64,
    pub(crate) cents: i64,
    /// After the change.
    pub(crate) pending_cents: i64,
}

impl Change {
    pub(crate) const fn difference(&self) -> i64 {
        self.cents - self.previous_cents
    }
}

/// Who is to be credited for a call of this value, and with what; nobody where the campaign has
/// no assignment.
pub(crate) fn due(call: &Call, value_cents: i64, settings: &Settings) -> Option<Credited> {
    let (campaign, publisher) = (call.campaign(settings)?, call.publisher(settings)?);
    // `check` refuses assignments that are no rule.
    let rule = settings.assignment(campaign, publisher)?.rule().ok()?;
    Some(Credited { publisher: publisher.to_owned(), cents: rule.payout_cents(value_cents) })
}

/// Moves a call's credit from what it was to what it is, by the difference.
pub(crate) fn settle(
    before: Option<&Credited>,
    after: Option<&Credited>,
) -> Result<Vec<Change>, Rejection> {
    let mut changes = Vec::new();
    let of = |credit: Option<&Credited>, publisher: &str| {
        credit.filter(|credit| credit.publisher == publisher).map_or(0, |credit| credit.cents)
    };
    let mut publishers: Vec<&str> =
        [before, after].into_iter().flatten().map(|credit| credit.publisher.as_str()).collect();
    publishers.dedup();
    for publisher in publishers {
        let (previous_cents, cents) = (of(before, publisher), of(after, publisher));
        if previous_cents != cents {
            changes.push(change(publisher, previous_cents, cents)?);
        }
    }
    Ok(changes)
}

fn change(publisher: &str, previous_cents: i64, cents: i64) -> Result<Change, Rejection> {
    let pending_cents = BALANCES
        .get(publisher)?
        .unwrap_or_default()
        .checked_add(cents - previous_cents)
        .ok_or_else(|| Rejection::new(500, "balance_overflow", "the balance is too large"))?;
    BALANCES.put(publisher, &pending_cents)?;
    Ok(Change { publisher: publisher.to_owned(), previous_cents, cents, pending_cents })
}
