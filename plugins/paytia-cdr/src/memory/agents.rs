//! What the calls of each agent come to, by the day on which they started.

use std::borrow::Cow;
use std::collections::BTreeMap;

use plugin_sdk::state::{Map, Refusal};
use serde::{Deserialize, Serialize};

use super::Call;

/// Day, agent and route.
pub(crate) const AGENTS: Map<(u32, String, String), Totals> = Map::new("a");

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Most causes that are told apart of one agent on one day. SIP knows about 70, and most of them
/// never happen.
const CAUSES_MAX: usize = 32;

/// What every further cause is counted as.
const OTHER: &str = "other";

/// Of the calls that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) calls: u64,
    pub(crate) answered: u64,
    pub(crate) ring_seconds: u64,
    pub(crate) talk_seconds: u64,
    /// How often each cause ended a call.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) causes: BTreeMap<String, u64>,
}

/// What one call adds to the totals of its agent.
#[derive(Debug, PartialEq, Eq)]
struct Share<'c> {
    agent: &'c str,
    answered: bool,
    ring_seconds: u64,
    talk_seconds: u64,
    cause: Option<Cow<'c, str>>,
}

/// The day of a moment, counted from the epoch. Day 0: nobody knows.
pub(crate) fn day_of(millis: u64) -> u32 {
    u32::try_from(millis / DAY_MILLIS).unwrap_or_default()
}

/// Lets the totals follow from what was known of a call to what is known now. Only calls that have
/// ended count: so a call costs its agent's entry one change, and seldom a second.
pub(super) fn settle(
    day: u32,
    route: &str,
    before: Option<&Call>,
    after: &Call,
    expires_at: u64,
) -> Result<(), Refusal> {
    let (before, after) = (before.and_then(share), share(after));
    if before == after {
        return Ok(());
    }
    let change = |share: &Share<'_>, by: fn(&mut Totals, &Share<'_>)| {
        let mut totals = AGENTS.get((day, share.agent, route))?.unwrap_or_default();
        by(&mut totals, share);
        match totals.calls {
            0 => AGENTS.delete((day, share.agent, route)),
            _ => AGENTS.put_until((day, share.agent, route), &totals, expires_at),
        }
    };
    if let Some(share) = before {
        change(&share, Totals::take_back)?;
    }
    after.map_or(Ok(()), |share| change(&share, Totals::add))
}

fn share(call: &Call) -> Option<Share<'_>> {
    let agent = call.agent_id.as_deref().filter(|_| call.ended)?;
    Some(Share {
        agent,
        answered: call.first_answer.is_some(),
        ring_seconds: call.ring_seconds().unwrap_or_default(),
        talk_seconds: call.talk_seconds().unwrap_or_default(),
        cause: call.cause_label(),
    })
}

impl Totals {
    fn add(&mut self, share: &Share<'_>) {
        self.calls = self.calls.saturating_add(1);
        self.answered = self.answered.saturating_add(u64::from(share.answered));
        self.ring_seconds = self.ring_seconds.saturating_add(share.ring_seconds);
        self.talk_seconds = self.talk_seconds.saturating_add(share.talk_seconds);
        if let Some(cause) = share.cause.as_deref() {
            let told = self.causes.contains_key(cause) || self.causes.len() < CAUSES_MAX;
            let count = self.causes.entry(if told { cause } else { OTHER }.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// The totals may have expired since: then there is nothing to take back.
    fn take_back(&mut self, share: &Share<'_>) {
        self.calls = self.calls.saturating_sub(1);
        self.answered = self.answered.saturating_sub(u64::from(share.answered));
        self.ring_seconds = self.ring_seconds.saturating_sub(share.ring_seconds);
        self.talk_seconds = self.talk_seconds.saturating_sub(share.talk_seconds);
        if let Some(cause) = share.cause.as_deref() {
            let cause = if self.causes.contains_key(cause) { cause } else { OTHER };
            if let Some(count) = self.causes.get_mut(cause) {
                *count = count.saturating_sub(1);
            }
            self.causes.retain(|_, count| *count > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(cause: &str, talk_seconds: u64) -> Share<'_> {
        let cause = Some(Cow::Borrowed(cause));
        Share { agent: "7", answered: true, ring_seconds: 1, talk_seconds, cause }
    }

    #[test]
    fn causes_are_told_apart_up_to_a_bound_and_what_is_added_can_be_taken_back() {
        let causes: Vec<String> = (0..40).map(|code| format!("SIP {}", 400 + code)).collect();
        let mut totals = Totals::default();
        for (talk, cause) in (1..).zip(&causes) {
            totals.add(&share(cause, talk));
        }
        assert_eq!((totals.calls, totals.answered, totals.ring_seconds), (40, 40, 40));
        assert_eq!((totals.talk_seconds, totals.causes.len()), (820, CAUSES_MAX + 1));
        assert_eq!((totals.causes["other"], totals.causes["SIP 400"]), (8, 1));
        for (talk, cause) in (1..).zip(&causes) {
            totals.take_back(&share(cause, talk));
        }
        assert_eq!(totals, Totals::default());
        totals.take_back(&share("SIP 400", 5));
        assert_eq!(totals, Totals::default());
    }
}
