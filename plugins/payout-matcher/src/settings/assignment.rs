use std::collections::BTreeMap;

use plugin_sdk::settings::Problem;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::amount::{self, CENTS_LIMIT};

/// Decimals of a percentage: with more, the product with the largest payout would not be exact.
const PERCENT_DECIMALS_MAX: u32 = 6;

/// A campaign: who publishes it, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Campaign {
    /// By the publisher's id.
    pub publishers: BTreeMap<String, Assignment>,
}

/// What a publisher earns of a call: exactly one of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "`{ percent = \"60\" }` or `{ flat = \"12.00\" }`"
)]
pub struct Assignment {
    /// Percent of the call's value, from 0 to 100, as `"60"`; rounded half up to the cent.
    pub percent: Option<String>,
    /// An amount for each call that is worth anything, as `"12.00"`.
    pub flat: Option<String>,
}

/// An assignment that can be reckoned with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Percent(Decimal),
    /// In cents.
    Flat(i64),
}

impl Campaign {
    pub(super) fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        for (id, assignment) in &self.publishers {
            if let Err(message) = assignment.rule() {
                problems.push(Problem::new(format!("{path}.publishers.{id}"), message));
            }
        }
    }
}

impl Assignment {
    pub(crate) fn rule(&self) -> Result<Rule, &'static str> {
        match (&self.percent, &self.flat) {
            (Some(percent), None) => amount::plain(percent)
                .filter(|percent| {
                    percent.scale() <= PERCENT_DECIMALS_MAX && *percent <= Decimal::ONE_HUNDRED
                })
                .map(Rule::Percent)
                .ok_or("`percent` is not a number from 0 to 100 with at most 6 decimals"),
            (None, Some(flat)) => amount::plain_cents(flat)
                .filter(|cents| *cents <= CENTS_LIMIT)
                .map(Rule::Flat)
                .ok_or("`flat` is not an amount with at most 2 decimals"),
            _ => Err("needs either `percent` or `flat`"),
        }
    }

    /// As an operator wrote it: `percent 60` or `flat 12.00`.
    pub(crate) fn told(&self) -> String {
        match (&self.percent, &self.flat) {
            (Some(percent), _) => format!("percent {percent}"),
            (None, Some(flat)) => format!("flat {flat}"),
            (None, None) => String::new(),
        }
    }
}

impl Rule {
    /// What a call of this value earns, in cents: of a call that is worth nothing, nothing.
    pub(crate) fn payout_cents(self, value_cents: i64) -> i64 {
        match self {
            _ if value_cents <= 0 => 0,
            Self::Flat(cents) => cents,
            Self::Percent(percent) => amount::share(value_cents, percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Rule {
        Assignment { percent: Some(text.to_owned()), flat: None }.rule().unwrap()
    }

    #[test]
    fn shares_are_rounded_half_up_to_the_cent() {
        for (share, value, cents) in [
            ("60", 5000, 3000),
            ("33.333333", 10_000, 3333),
            ("50", 1, 1),
            ("50", 3, 2),
            ("12.5", 4, 1),
            ("49.999999", 1, 0),
            ("0", 5000, 0),
            ("100", 10_000_000, 10_000_000),
            ("60", 0, 0),
            ("99.999999", 1_000_000_000_000, 999_999_990_000),
        ] {
            assert_eq!(percent(share).payout_cents(value), cents, "{share} % of {value}");
        }
    }

    #[test]
    fn a_flat_amount_is_for_calls_that_are_worth_anything() {
        let flat = Assignment { percent: None, flat: Some("12.00".to_owned()) };
        assert_eq!(flat.rule(), Ok(Rule::Flat(1200)));
        assert_eq!(flat.rule().unwrap().payout_cents(1), 1200);
        assert_eq!(flat.rule().unwrap().payout_cents(0), 0);
        assert_eq!(flat.told(), "flat 12.00");
    }
}
