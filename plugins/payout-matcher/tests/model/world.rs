//! What should become of calls and reports, told simply: everything in memory, every question
//! answered by looking at everything. It shares no code with the adapter.
//!
//! Also part of the tests of the whole gateway.

use std::collections::{BTreeMap, BTreeSet};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Settings of every history; [`World`] knows the same by heart.
pub(crate) const SETTINGS: &str = r#"{
    "default_country": "US",
    "campaigns": {
        "hvac": { "publishers": { "ann": { "percent": "60" }, "bob": { "flat": "12.00" } } },
        "roof": { "publishers": { "ann": { "percent": "33.333333" } } }
    },
    "numbers": { "+18885550000": { "campaign": "roof", "publisher": "ann", "buyer": "acme" } }
}"#;

/// What one source tells of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Telling {
    pub(crate) call: String,
    /// When its source told it.
    pub(crate) at: u64,
    pub(crate) ref_id: Option<String>,
    /// In E.164.
    pub(crate) caller: Option<String>,
    pub(crate) number: Option<String>,
    pub(crate) start: Option<u64>,
    pub(crate) duration: Option<u64>,
    pub(crate) campaign: Option<String>,
    pub(crate) publisher: Option<String>,
    pub(crate) buyer: Option<String>,
    pub(crate) value_cents: Option<i64>,
}

/// A buyer's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// When it arrived.
    pub(crate) now: u64,
    /// The buyer of the route at which it arrives.
    pub(crate) scope: Option<String>,
    pub(crate) ref_id: Option<String>,
    pub(crate) call_id: Option<String>,
    /// In E.164.
    pub(crate) caller: Option<String>,
    pub(crate) duration: Option<u64>,
    /// Absent: nothing that can be believed.
    pub(crate) cents: Option<i64>,
}

/// What becomes of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Matched { call: String, strategy: &'static str },
    Adjusted { call: String, strategy: &'static str },
    Superseded { call: String, strategy: &'static str },
    Duplicate,
    Unmatched,
}

impl Verdict {
    pub(crate) const fn status(&self) -> &'static str {
        match self {
            Self::Matched { .. } => "matched",
            Self::Adjusted { .. } => "adjusted",
            Self::Superseded { .. } => "superseded",
            Self::Duplicate => "duplicate",
            Self::Unmatched => "unmatched",
        }
    }

    pub(crate) const fn strategy(&self) -> Option<&'static str> {
        match self {
            Self::Matched { strategy, .. }
            | Self::Adjusted { strategy, .. }
            | Self::Superseded { strategy, .. } => Some(strategy),
            Self::Duplicate | Self::Unmatched => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Paid {
    cents: i64,
    at: u64,
    credit: Option<(String, i64)>,
}

/// A call as it can be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) value_cents: Option<i64>,
    pub(crate) value_from_webhook: bool,
    pub(crate) qualified: Option<bool>,
    pub(crate) credited: Option<(String, i64)>,
}

impl Seen {
    /// As the view `calls` shows it.
    pub(crate) fn of_row(row: &serde_json::Value) -> Self {
        let credited = row.get("credited").map(|credited| {
            let publisher = credited["publisher"].as_str().unwrap_or_default().to_owned();
            (publisher, credited["cents"].as_i64().unwrap_or_default())
        });
        Self {
            value_cents: row["value_cents"].as_i64(),
            value_from_webhook: row["value_from_webhook"] == true,
            qualified: row["qualified"].as_bool(),
            credited,
        }
    }
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    told: BTreeMap<String, Vec<Telling>>,
    paid: BTreeMap<String, Paid>,
    /// First acceptance of each payout of each call.
    accepted: BTreeMap<(String, i64), u64>,
    pub(crate) balances: BTreeMap<String, i64>,
}

/// What all tellings together say.
struct Known<'a>(&'a [Telling]);

impl<'a> Known<'a> {
    /// The last word on a field; of several at once the greatest.
    fn last<T: Ord>(&self, of: impl Fn(&'a Telling) -> Option<T>) -> Option<T> {
        self.0.iter().filter_map(|each| Some((each.at, of(each)?))).max().map(|(_, value)| value)
    }

    fn start(&self) -> u64 {
        let first = self.0.iter().map(|each| each.at).min().unwrap_or_default();
        self.last(|each| each.start).unwrap_or(first)
    }

    fn is_alive(&self, now: u64) -> bool {
        now < self.start() + 90 * DAY
    }

    fn is_mapped(&self) -> bool {
        self.last(|each| each.number.as_deref()) == Some("+18885550000")
    }

    fn campaign(&self) -> Option<&'a str> {
        self.last(|each| each.campaign.as_deref()).or(self.is_mapped().then_some("roof"))
    }

    fn publisher(&self) -> Option<&'a str> {
        self.last(|each| each.publisher.as_deref()).or(self.is_mapped().then_some("ann"))
    }

    fn buyer(&self) -> Option<&'a str> {
        self.last(|each| each.buyer.as_deref()).or(self.is_mapped().then_some("acme"))
    }

    fn is_sold_to(&self, scope: Option<&str>) -> bool {
        scope.is_none() || self.buyer().is_none() || self.buyer() == scope
    }

    fn credit(&self, cents: i64) -> Option<(String, i64)> {
        let publisher = self.publisher()?;
        let millionths = match (self.campaign()?, publisher) {
            ("hvac", "ann") => 60_000_000,
            ("roof", "ann") => 33_333_333,
            ("hvac", "bob") => return Some(("bob".to_owned(), if cents > 0 { 1200 } else { 0 })),
            _ => return None,
        };
        let rounded = (i128::from(cents) * millionths * 2 + 100_000_000) / 200_000_000;
        Some((publisher.to_owned(), i64::try_from(rounded).unwrap_or(i64::MAX)))
    }
}

impl World {
    /// Takes what is told of a call, at `now`.
    pub(crate) fn tell(&mut self, telling: &Telling, now: u64) {
        let id = &telling.call;
        let before = self.told.get(id).filter(|told| Known(told).is_alive(now)).cloned();
        let mut told = before.clone().unwrap_or_default();
        told.push(telling.clone());
        if !Known(&told).is_alive(now) {
            return;
        }
        if before.is_none() {
            // Forgotten, or never known: what was paid for it before stays paid.
            self.paid.remove(id);
        }
        let assigned = |told: &[Telling]| {
            let known = Known(told);
            (known.campaign().map(str::to_owned), known.publisher().map(str::to_owned))
        };
        let moved = before.is_some_and(|before| assigned(&before) != assigned(&told));
        if let (true, Some(paid)) = (moved, self.paid.get(id).cloned()) {
            self.pay(id, Paid { credit: Known(&told).credit(paid.cents), ..paid });
        }
        self.told.insert(id.clone(), told);
    }

    /// Takes a report.
    pub(crate) fn report(&mut self, report: &Report) -> Verdict {
        let Some(cents) = report.cents else { return Verdict::Unmatched };
        let Some((call, strategy)) = self.find(report) else { return Verdict::Unmatched };
        let mark = (call.clone(), cents);
        // Measured from the first acceptance, to the edge.
        if self.accepted.get(&mark).is_some_and(|at| report.now <= at + 15 * MINUTE) {
            return Verdict::Duplicate;
        }
        self.accepted.insert(mark, report.now);
        let before = self.paid.get(&call).cloned();
        if before.as_ref().is_some_and(|paid| paid.at > report.now) {
            return Verdict::Superseded { call, strategy };
        }
        let credit = self.told.get(&call).and_then(|told| Known(told).credit(cents));
        self.pay(&call, Paid { cents, at: report.now, credit });
        match before {
            Some(before) if before.cents != cents => Verdict::Adjusted { call, strategy },
            _ => Verdict::Matched { call, strategy },
        }
    }

    fn pay(&mut self, call: &str, paid: Paid) {
        let old = self.paid.get(call).and_then(|paid| paid.credit.clone());
        for (sign, credit) in [(-1, old), (1, paid.credit.clone())] {
            if let Some((publisher, cents)) = credit.filter(|(_, cents)| *cents != 0) {
                *self.balances.entry(publisher).or_default() += sign * cents;
            }
        }
        self.paid.insert(call.to_owned(), paid);
    }

    fn find(&self, report: &Report) -> Option<(String, &'static str)> {
        let scope = report.scope.as_deref();
        let sold: BTreeMap<&String, Known<'_>> = self
            .told
            .iter()
            .map(|(id, told)| (id, Known(told)))
            .filter(|(_, known)| known.is_alive(report.now) && known.is_sold_to(scope))
            .collect();
        let mut choice: BTreeSet<&String> = sold.keys().copied().collect();
        if let Some(ref_id) = &report.ref_id {
            let same: BTreeSet<&String> = sold
                .iter()
                .filter(|(_, known)| known.last(|each| each.ref_id.as_ref()) == Some(ref_id))
                .map(|(id, _)| *id)
                .collect();
            match same.len() {
                0 => {}
                1 => return same.first().map(|id| ((*id).clone(), "ref_id")),
                _ => choice = same,
            }
        }
        if let Some(id) = report.call_id.as_ref().filter(|id| choice.contains(id)) {
            return Some((id.clone(), "call_id"));
        }
        let (caller, duration) = (report.caller.as_ref()?, report.duration?);
        let mut near: Vec<_> = sold
            .iter()
            .filter(|(id, _)| choice.contains(*id))
            .filter(|(_, known)| known.last(|each| each.caller.as_ref()) == Some(caller))
            .filter_map(|(id, known)| {
                let apart = known.last(|each| each.duration)?.abs_diff(duration);
                let start = known.start();
                let timely = start + DAY >= report.now && start <= report.now + 5 * MINUTE;
                let rank = (apart, start.abs_diff(report.now), self.paid.contains_key(*id));
                (apart <= 60 && timely).then_some((rank, *id))
            })
            .collect();
        near.sort();
        match near.as_slice() {
            [] => None,
            [(first, _), (second, _), ..] if first == second => None,
            [(_, id), ..] => Some(((*id).clone(), "caller_duration")),
        }
    }

    /// Every call that is still known at `now`.
    pub(crate) fn calls(&self, now: u64) -> BTreeMap<String, Seen> {
        let alive = self.told.iter().filter(|(_, told)| Known(told).is_alive(now));
        alive
            .map(|(id, told)| {
                let paid = self.paid.get(id);
                let seen = Seen {
                    value_cents: paid
                        .map(|paid| paid.cents)
                        .or_else(|| Known(told).last(|each| each.value_cents)),
                    value_from_webhook: paid.is_some(),
                    qualified: paid.map(|paid| paid.cents > 0),
                    credited: paid.and_then(|paid| paid.credit.clone()),
                };
                (id.clone(), seen)
            })
            .collect()
    }
}
