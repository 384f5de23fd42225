//! A call: what its sources told of it, and what came of payout reports.

use serde::{Deserialize, Serialize};

use crate::phone::Phone;
use crate::settings::{Number, Settings};

/// What one source tells of a call, at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) ref_id: Option<String>,
    pub(crate) caller: Option<Phone>,
    pub(crate) number: Option<Phone>,
    pub(crate) started_at: Option<u64>,
    pub(crate) duration: Option<u64>,
    pub(crate) campaign: Option<String>,
    pub(crate) publisher: Option<String>,
    pub(crate) buyer: Option<String>,
    pub(crate) value_cents: Option<i64>,
}

/// A value, and when its source told it. Of two the later counts; of two of one time the greater:
/// so it does not matter in which order they arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said<T>(T, u64);

/// A call as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) id: String,
    /// When the first of its sources told of it.
    first_at: u64,
    /// How long after its start it is kept, in milliseconds: the longest `keep_calls` that it was
    /// written under.
    #[serde(default)]
    keep_millis: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ref_id: Option<Said<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<Said<Phone>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<Said<Phone>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Said<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration: Option<Said<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaign: Option<Said<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publisher: Option<Said<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    buyer: Option<Said<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_cents: Option<Said<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paid: Option<Paid>,
}

/// What the last believed report made of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Paid {
    pub(crate) value_cents: i64,
    /// When that report arrived.
    pub(crate) at: u64,
    /// Who is credited, and with what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credit: Option<Credited>,
}

/// What a publisher was credited for a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credited {
    pub(crate) publisher: String,
    pub(crate) cents: i64,
}

/// In the index of callers: what decides between the calls of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ByCaller {
    pub(crate) duration: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) buyer: Option<String>,
    /// The dialled number, which may tell the buyer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<String>,
}

impl<T: Ord> Said<T> {
    fn merge(kept: &mut Option<Self>, told: Option<T>, at: u64) {
        let Some(told) = told else { return };
        let counts = kept.as_ref().is_none_or(|Self(value, since)| (at, &told) > (*since, value));
        if counts {
            *kept = Some(Self(told, at));
        }
    }
}

fn value<T>(said: Option<&Said<T>>) -> Option<&T> {
    said.map(|Said(value, _)| value)
}

impl Call {
    pub(crate) const fn new(id: String, at: u64) -> Self {
        Self {
            id,
            first_at: at,
            keep_millis: 0,
            ref_id: None,
            caller: None,
            number: None,
            started_at: None,
            duration: None,
            campaign: None,
            publisher: None,
            buyer: None,
            value_cents: None,
            paid: None,
        }
    }

    /// Adds what was told at `at`. The result does not depend on the order of several.
    pub(crate) fn merge(&mut self, told: Told, at: u64) {
        self.first_at = self.first_at.min(at);
        Said::merge(&mut self.ref_id, told.ref_id, at);
        Said::merge(&mut self.caller, told.caller, at);
        Said::merge(&mut self.number, told.number, at);
        Said::merge(&mut self.started_at, told.started_at, at);
        Said::merge(&mut self.duration, told.duration, at);
        Said::merge(&mut self.campaign, told.campaign, at);
        Said::merge(&mut self.publisher, told.publisher, at);
        Said::merge(&mut self.buyer, told.buyer, at);
        Said::merge(&mut self.value_cents, told.value_cents, at);
    }

    /// When it started; where nobody told, when it was first heard of.
    pub(crate) fn start(&self) -> u64 {
        value(self.started_at.as_ref()).copied().unwrap_or(self.first_at)
    }

    /// Keeps it for as long as these settings say, and never shorter than it was kept before.
    ///
    /// Its routes may say otherwise than its adapter, and a reload otherwise than what was said
    /// before. A call that were forgotten sooner by one of them could be told of again, as one that
    /// nobody has paid yet, and a credit on it could not be taken back.
    pub(crate) fn keep(&mut self, settings: &Settings) {
        self.keep_millis = self.keep_millis.max(settings.keep_calls.as_millis());
    }

    pub(crate) fn expires_at(&self) -> u64 {
        self.start().saturating_add(self.keep_millis)
    }

    pub(crate) fn ref_id(&self) -> Option<&str> {
        value(self.ref_id.as_ref()).map(String::as_str)
    }

    pub(crate) fn caller(&self) -> Option<&Phone> {
        value(self.caller.as_ref())
    }

    pub(crate) fn number(&self) -> Option<&Phone> {
        value(self.number.as_ref())
    }

    pub(crate) fn duration(&self) -> Option<u64> {
        value(self.duration.as_ref()).copied()
    }

    /// As it was told, else as the dialled number says.
    pub(crate) fn campaign<'a>(&'a self, settings: &'a Settings) -> Option<&'a str> {
        told_or(self.campaign.as_ref(), self.mapped(settings), |number| number.campaign.as_ref())
    }

    pub(crate) fn publisher<'a>(&'a self, settings: &'a Settings) -> Option<&'a str> {
        told_or(self.publisher.as_ref(), self.mapped(settings), |number| number.publisher.as_ref())
    }

    pub(crate) fn buyer<'a>(&'a self, settings: &'a Settings) -> Option<&'a str> {
        told_or(self.buyer.as_ref(), self.mapped(settings), |number| number.buyer.as_ref())
    }

    fn mapped<'a>(&self, settings: &'a Settings) -> Option<&'a Number> {
        settings.numbers.get(self.number()?.e164.as_deref()?)
    }

    /// The reported value, else the one that was told.
    pub(crate) fn value_cents(&self) -> Option<i64> {
        let paid = self.paid.as_ref().map(|paid| paid.value_cents);
        paid.or_else(|| value(self.value_cents.as_ref()).copied())
    }

    /// Its place in the order of callers, where it can be found by its caller at all.
    pub(crate) fn by_caller(&self) -> Option<(String, u64, ByCaller)> {
        let entry = ByCaller {
            duration: self.duration()?,
            buyer: value(self.buyer.as_ref()).cloned(),
            number: self.number().and_then(|number| number.e164.clone()),
        };
        Some((self.caller()?.e164.clone()?, self.start(), entry))
    }
}

impl ByCaller {
    pub(crate) fn buyer<'a>(&'a self, settings: &'a Settings) -> Option<&'a str> {
        let mapped = || settings.numbers.get(self.number.as_ref()?)?.buyer.as_ref();
        self.buyer.as_ref().or_else(mapped).map(String::as_str)
    }
}

fn told_or<'a>(
    told: Option<&'a Said<String>>,
    mapped: Option<&'a Number>,
    pick: impl FnOnce(&'a Number) -> Option<&'a String>,
) -> Option<&'a str> {
    value(told).or_else(|| mapped.and_then(pick)).map(String::as_str)
}

/// Whether a call of this buyer may match where reports of `settings.buyer` arrive.
pub(crate) fn is_sold_here(buyer: Option<&str>, settings: &Settings) -> bool {
    match (buyer, &settings.buyer) {
        (Some(buyer), Some(own)) => buyer == own,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told() -> impl Strategy<Value = (u64, Told)> {
        let text = || prop::option::of("[ab]");
        (0..3_u64, text(), text(), prop::option::of(0..2_u64), prop::option::of(0..2_i64)).prop_map(
            |(at, ref_id, buyer, started_at, value_cents)| {
                (at, Told { ref_id, buyer, started_at, value_cents, ..Told::default() })
            },
        )
    }

    fn merged(all: &[(u64, Told)]) -> Call {
        let mut call = Call::new("c".to_owned(), all[0].0);
        all.iter().for_each(|(at, told)| call.merge(told.clone(), *at));
        call
    }

    proptest! {
        #[test]
        fn the_order_in_which_sources_tell_does_not_matter(
            all in prop::collection::vec(told(), 1..6).prop_shuffle(), again in 0..6_usize,
        ) {
            let mut sorted = all.clone();
            sorted.sort_by_key(|(at, told)| (*at, format!("{told:?}")));
            let call = merged(&all);
            prop_assert_eq!(&call, &merged(&sorted));
            // Nor does it that one tells twice.
            let mut twice = all.clone();
            twice.push(all[again % all.len()].clone());
            prop_assert_eq!(call, merged(&twice));
        }
    }
}
