//! What an operator may set, and what is wrong with it.

mod assignment;
mod paths;

use std::collections::{BTreeMap, BTreeSet};

use plugin_sdk::settings::{Problem, Span, is_header_name};
use plugin_sdk::{Country, Money};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::{self, CENTS_LIMIT};
use crate::phone;

pub use assignment::{Assignment, Campaign};
pub use paths::{CallPaths, Names};

pub(crate) const DEFAULT_SECRET_HEADER: &str = "x-webhook-secret";

/// The only event that is read as a call unless `call_events` says more.
pub(crate) const PAYTIA_CALL_ENDED: &str = "com.paytia.call.ended";

/// What an operator may set. `currency`, `campaigns`, `numbers` and `call_events` belong to the
/// adapter, and no route may set them otherwise; a route sets what differs between its senders.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What arrives here: buyers' reports of payouts, or the calls that they are about.
    pub receives: Receives,
    /// The buyer whose reports arrive here: only calls sold to it, or to nobody known, match.
    pub buyer: Option<String>,
    /// Names of fields that come before the known ones.
    pub fields: Fields,
    /// How long before a report a call may have started that is found by its caller.
    pub match_window: Span,
    /// How far the durations of report and call may differ where it is found by its caller.
    pub duration_tolerance: Span,
    /// Country of numbers that name none, as `US`. Without it they are not guessed.
    pub default_country: Option<Country>,
    /// Currency of all amounts: one with two decimals.
    pub currency: String,
    /// A payout above is a mistake and not believed.
    pub payout_max: String,
    /// Name of the header that carries the secret `shared_secret`.
    pub secret_header: String,
    /// How long after its start a call can be matched. Of routes and reloads that say otherwise the
    /// longest counts for a call that was told of, or reported, under it.
    pub keep_calls: Span,
    /// How long an unmatched report is listed.
    pub keep_unmatched: Span,
    /// Where the fields of a call are, for a route that receives calls.
    pub call_fields: CallPaths,
    /// Events of other adapters that are calls, and where in their data its fields are.
    pub call_events: BTreeMap<String, CallPaths>,
    /// What is known of a call by the number that was dialled, in E.164.
    pub numbers: BTreeMap<String, Number>,
    /// Campaigns and what their publishers earn.
    pub campaigns: BTreeMap<String, Campaign>,
}

/// What arrives at a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Receives {
    #[default]
    Payouts,
    Calls,
}

/// For each slot, names of fields that come before the known ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    pub ref_id: Names,
    pub call_id: Names,
    pub caller: Names,
    pub duration: Names,
    pub payout: Names,
}

/// What is known of the calls to one number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Number {
    pub campaign: Option<String>,
    pub publisher: Option<String>,
    pub buyer: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        const HOUR: u64 = 3600;
        Self {
            receives: Receives::Payouts,
            buyer: None,
            fields: Fields::default(),
            match_window: Span::seconds(24 * HOUR),
            duration_tolerance: Span::seconds(60),
            default_country: None,
            currency: "USD".to_owned(),
            payout_max: "100000.00".to_owned(),
            secret_header: DEFAULT_SECRET_HEADER.to_owned(),
            // Payouts are known to change for weeks (a network holds and then approves them).
            keep_calls: Span::seconds(90 * 24 * HOUR),
            keep_unmatched: Span::seconds(30 * 24 * HOUR),
            call_fields: CallPaths::of_route(),
            call_events: BTreeMap::new(),
            numbers: BTreeMap::new(),
            campaigns: BTreeMap::new(),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |path: String, message: &str| problems.push(Problem::new(path, message));
        if self.buyer.as_ref().is_some_and(String::is_empty) {
            wrong("buyer".to_owned(), "is empty; leave it out to match calls of every buyer");
        }
        if !is_header_name(&self.secret_header) {
            wrong("secret_header".to_owned(), "not the name of a header");
        }
        // A unit of money with two decimals: everything is kept in cents. In small letters it would
        // not be known again.
        let cent = Money::read("1.00".into(), Some(&self.currency)).ok();
        let code = cent.filter(|cent| cent.minor_units == Some(100)).and_then(|cent| cent.currency);
        if code.as_ref() != Some(&self.currency) {
            let message = "not the ISO 4217 code, in capitals, of a currency with two decimals";
            wrong("currency".to_owned(), message);
        }
        if self.payout_max().is_none() {
            wrong("payout_max".to_owned(), "not an amount above 0 and up to 10000000000.00");
        }
        for (path, span) in [("match_window", self.match_window), ("keep_calls", self.keep_calls)] {
            if span.as_millis() == 0 {
                wrong(path.to_owned(), "must be more than nothing");
            }
        }
        if self.keep_calls < self.match_window {
            wrong("keep_calls".to_owned(), "shorter than `match_window`");
        }
        for (kind, paths) in &self.call_events {
            if paths.call_id.is_empty() {
                wrong(format!("call_events.{kind}"), "names no `call_id`");
            }
        }
        if self.call_fields.call_id.is_empty() {
            wrong("call_fields".to_owned(), "names no `call_id`");
        }
        for number in self.numbers.keys().filter(|number| !phone::is_e164(number)) {
            wrong(format!("numbers.{number}"), "not a number in E.164, as `+13055551234`");
        }
        for (number, of) in &self.numbers {
            let (Some(campaign), Some(publisher)) = (&of.campaign, &of.publisher) else { continue };
            if self.assignment(campaign, publisher).is_none() {
                let message = format!(
                    "credits nobody: `campaigns` has no publisher `{publisher}` of `{campaign}` \
                     (`{{ percent = \"0\" }}` where that is meant)"
                );
                wrong(format!("numbers.{number}"), &message);
            }
        }
        self.check_fields(&mut problems);
        for (id, campaign) in &self.campaigns {
            campaign.check(&format!("campaigns.{id}"), &mut problems);
        }
        problems
    }

    /// What all routes have in common. A call is paid and its publisher credited in the same cents by
    /// the same rules at whichever route it is reported, and its events are told by the adapter's
    /// settings alone where no route is there: when it consumes, and in views.
    pub(crate) fn check_route(&self, route: &Self) -> Vec<Problem> {
        [
            ("currency", self.currency == route.currency),
            ("campaigns", self.campaigns == route.campaigns),
            ("numbers", self.numbers == route.numbers),
            ("call_events", self.call_events == route.call_events),
        ]
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(path, _)| {
            let message = "belongs to the adapter, for all its routes: set it under \
                           `[adapters.<name>.settings]`";
            Problem::new(path, message)
        })
        .collect()
    }

    /// A field can fill one slot only.
    fn check_fields(&self, problems: &mut Vec<Problem>) {
        let mut seen = BTreeSet::new();
        for (slot, names) in self.fields.slots() {
            for name in names.iter() {
                let message = match name {
                    "" => "an empty name",
                    _ if !seen.insert(name.to_ascii_lowercase()) => "names a field a second time",
                    _ => continue,
                };
                problems.push(Problem::new(format!("fields.{slot}"), message));
            }
        }
    }

    /// The largest payout, in cents.
    pub(crate) fn payout_max(&self) -> Option<i64> {
        amount::plain_cents(&self.payout_max).filter(|cents| (1..=CENTS_LIMIT).contains(cents))
    }

    /// What `publisher` earns in `campaign`, where both are known.
    pub(crate) fn assignment(&self, campaign: &str, publisher: &str) -> Option<&Assignment> {
        self.campaigns.get(campaign)?.publishers.get(publisher)
    }
}

impl Fields {
    pub(crate) fn slots(&self) -> [(&'static str, &Names); 5] {
        [
            ("ref_id", &self.ref_id),
            ("call_id", &self.call_id),
            ("caller", &self.caller),
            ("duration", &self.duration),
            ("payout", &self.payout),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let settings: Settings = serde_json::from_str(json).unwrap();
        settings.check().iter().map(|problem| problem.path().to_owned()).collect()
    }

    #[test]
    fn mistakes_are_named_by_path() {
        let found = problems(
            r#"{"buyer": "", "secret_header": "a b", "currency": "KWD", "payout_max": "0",
                "match_window": "0s", "keep_calls": "0s",
                "call_events": {"com.example.ended": {}}, "call_fields": {},
                "fields": {"caller": ["Ani", "x"], "payout": "ANI", "ref_id": ""},
                "numbers": {"0207": {}},
                "campaigns": {"hvac": {"publishers": {
                    "a": {}, "b": {"percent": "60", "flat": "1"}, "c": {"percent": "101"},
                    "d": {"flat": "1.005"}, "e": {"percent": "-1"}, "f": {"flat": "-1"}}}}}"#,
        );
        assert_eq!(
            found,
            [
                "buyer",
                "secret_header",
                "currency",
                "payout_max",
                "match_window",
                "keep_calls",
                "call_events.com.example.ended",
                "call_fields",
                "numbers.0207",
                "fields.ref_id",
                "fields.payout",
                "campaigns.hvac.publishers.a",
                "campaigns.hvac.publishers.b",
                "campaigns.hvac.publishers.c",
                "campaigns.hvac.publishers.d",
                "campaigns.hvac.publishers.e",
                "campaigns.hvac.publishers.f",
            ]
        );
        assert_eq!(problems("{}"), [""; 0]);
        let of_number = |campaign: &str, more: &str| {
            problems(&format!(
                r#"{{"campaigns": {{"hvac": {{"publishers": {{"ann": {{"percent": "0"}}}}}}}},
                    "numbers": {{"+18885550000": {{"campaign": "{campaign}"{more}}}}}}}"#
            ))
        };
        assert_eq!(of_number("hvac", r#", "publisher": "ann""#), [""; 0]);
        // Who publishes, the call itself may say.
        assert_eq!(of_number("roof", ""), [""; 0]);
        for (campaign, publisher) in [("hvca", "ann"), ("hvac", "anne")] {
            let found = of_number(campaign, &format!(r#", "publisher": "{publisher}""#));
            assert_eq!(found, ["numbers.+18885550000"], "{campaign} {publisher}");
        }
        assert_eq!(problems(r#"{"match_window": "48h", "keep_calls": "24h"}"#), ["keep_calls"]);
    }

    #[test]
    fn a_currency_is_written_in_capitals() {
        assert_eq!(problems(r#"{"currency": "EUR"}"#), [""; 0]);
        for code in ["usd", "Usd", " USD", "USD ", "JPY", "XYZ", ""] {
            assert_eq!(problems(&format!(r#"{{"currency": "{code}"}}"#)), ["currency"], "{code}");
        }
    }

    #[test]
    fn what_belongs_to_the_adapter_is_no_routes_to_set_otherwise() {
        let read = |json: &str| serde_json::from_str::<Settings>(json).unwrap();
        let own = read(
            r#"{"campaigns": {"hvac": {"publishers": {"ann": {"percent": "60"}}}},
                "numbers": {"+18885550000": {"campaign": "hvac"}}}"#,
        );
        assert_eq!(own.check_route(&own), []);
        for (json, paths) in [
            (
                r#"{"campaigns": {"hvac": {"publishers": {"ann": {"percent": "60"}}}},
                    "numbers": {"+18885550000": {"campaign": "hvac"}}, "receives": "calls",
                    "buyer": "b", "payout_max": "5", "keep_calls": "30d", "default_country": "US"}"#,
                vec![],
            ),
            (
                r#"{"campaigns": {"hvac": {"publishers": {"ann": {"percent": "90"}}}},
                    "currency": "EUR", "call_events": {"a.b": {"call_id": "id"}}}"#,
                vec!["currency", "campaigns", "numbers", "call_events"],
            ),
        ] {
            let found = own.check_route(&read(json));
            let found: Vec<_> = found.iter().map(Problem::path).collect();
            assert_eq!(found, paths, "{json}");
        }
    }

    #[test]
    fn what_is_no_name_says_what_is_expected() {
        for (json, message) in [
            (r#"{"fields": {"caller": 5}}"#, "expected a name, or a list of names"),
            (r#"{"call_fields": {"caller": {"a": 1}}}"#, "expected a name, or a list of names"),
            (
                r#"{"campaigns": {"c": {"publishers": {"ann": "60"}}}}"#,
                r#"expected `{ percent = "60" }` or `{ flat = "12.00" }`"#,
            ),
        ] {
            let error = serde_json::from_str::<Settings>(json).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn assignments_are_found_by_campaign_and_publisher() {
        let settings: Settings = serde_json::from_str(
            r#"{"campaigns": {"hvac": {"publishers": {"ann": {"percent": "60"}}}}}"#,
        )
        .unwrap();
        assert_eq!(settings.check(), []);
        assert!(settings.assignment("hvac", "ann").is_some());
        assert!(settings.assignment("hvac", "bob").is_none());
        assert!(settings.assignment("roof", "ann").is_none());
    }
}
