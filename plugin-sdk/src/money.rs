mod currency;

use std::borrow::Cow;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::json::Unreadable;

pub(crate) use currency::minor_digits;

const UNREADABLE: Unreadable = Unreadable::new("unreadable_amount", "not a decimal amount");
const TWO_CURRENCIES: Unreadable =
    Unreadable::new("contradicting_currency", "the amount names another currency");

/// An amount of money, exact: never a floating-point number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Money<'a> {
    /// The decimal as the provider wrote it, with its zeros.
    pub amount: Cow<'a, str>,
    /// ISO 4217, in capitals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The amount in the currency's smallest unit. Absent where the currency is unknown or the
    /// amount is finer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor_units: Option<i64>,
}

impl<'a> Money<'a> {
    /// Reads decimal text, as `86.000`, `-5` or `20.000 KWD`. A currency in the text must agree
    /// with `currency`, where both are known.
    ///
    /// # Errors
    ///
    /// Whatever is not such a text: separators, symbols, exponents, more than 28 digits.
    pub fn read(text: Cow<'a, str>, currency: Option<&str>) -> Result<Self, Unreadable> {
        let (decimal, suffix) = match text.trim_ascii().split_once(' ') {
            Some((decimal, suffix)) => (decimal, Some(suffix.trim_ascii_start())),
            None => (text.trim_ascii(), None),
        };
        let given = currency.map(str::trim_ascii).filter(|code| !code.is_empty());
        if let Some(suffix) = suffix {
            if suffix.len() != 3 || !suffix.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(UNREADABLE);
            }
            if given.is_some_and(|given| !given.eq_ignore_ascii_case(suffix)) {
                return Err(TWO_CURRENCIES);
            }
        }
        let value = parse(decimal).ok_or(UNREADABLE)?;
        let currency = suffix.or(given).map(str::to_ascii_uppercase);
        let unchanged = decimal.len() == text.len();
        let amount = if unchanged { text } else { Cow::Owned(decimal.to_owned()) };
        Ok(Self::new(amount, value, currency))
    }

    /// Reads the literal of a JSON number, which may have an exponent.
    ///
    /// # Errors
    ///
    /// Where it needs more than 28 digits.
    pub fn read_number(literal: Cow<'a, str>, currency: Option<&str>) -> Result<Self, Unreadable> {
        if !literal.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
            return Self::read(literal, currency);
        }
        let value = Decimal::from_scientific(&literal).map_err(|_| UNREADABLE)?;
        let currency = currency
            .map(str::trim_ascii)
            .filter(|code| !code.is_empty())
            .map(str::to_ascii_uppercase);
        Ok(Self::new(Cow::Owned(value.to_string()), value, currency))
    }

    fn new(amount: Cow<'a, str>, value: Decimal, currency: Option<String>) -> Self {
        let digits = currency.as_deref().and_then(minor_digits);
        let minor_units = digits.and_then(|digits| in_minor_units(&value, digits));
        Self { amount, currency, minor_units }
    }

    /// The amount as a whole number and the count of its decimals: `86.000` is 86000 and 3. `None`
    /// where `amount` was made by hand and is no decimal of up to 28 digits.
    #[must_use]
    pub fn units_and_scale(&self) -> Option<(i128, u32)> {
        parse(&self.amount).map(|value| (value.mantissa(), value.scale()))
    }

    /// Whether it is more than nothing.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        // `amount` is a plain decimal: any digit but 0 makes it differ from nothing.
        !self.amount.starts_with('-') && self.amount.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
    }

    /// Whether the currency is known and yet the amount is no whole number of its smallest unit.
    #[must_use]
    pub fn is_finer_than_minor_units(&self) -> bool {
        self.minor_units.is_none() && self.currency.as_deref().and_then(minor_digits).is_some()
    }
}

/// The amount in units of `digits` decimals, where it is a whole number of them.
fn in_minor_units(value: &Decimal, digits: u32) -> Option<i64> {
    let (units, scale) = (value.mantissa(), value.scale());
    if let Some(missing) = digits.checked_sub(scale) {
        return i64::try_from(units).ok()?.checked_mul(10_i64.pow(missing));
    }
    let surplus = 10_i128.pow(scale - digits);
    if let (Ok(units), Ok(surplus)) = (i64::try_from(units), i64::try_from(surplus)) {
        return (units % surplus == 0).then_some(units / surplus);
    }
    // What 64 bits do not hold is rare, and slow in a sandbox.
    (units % surplus == 0).then(|| i64::try_from(units / surplus).ok()).flatten()
}

/// `-?[0-9]+(\.[0-9]+)?`, exactly.
fn parse(text: &str) -> Option<Decimal> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| Decimal::from_str_exact(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(
        text: &str,
        currency: Option<&str>,
        amount: &str,
        code: Option<&str>,
        minor: Option<i64>,
    ) {
        let money = Money::read(text.into(), currency).unwrap();
        assert_eq!(
            (money.amount.as_ref(), money.currency.as_deref(), money.minor_units),
            (amount, code, minor),
            "{text}"
        );
    }

    #[test]
    fn minor_units_follow_the_currency() {
        check("86.000", Some("KWD"), "86.000", Some("KWD"), Some(86_000));
        check("9.99", Some("usd"), "9.99", Some("USD"), Some(999));
        check("1", Some("TRY"), "1", Some("TRY"), Some(100));
        check("500", Some("JPY"), "500", Some("JPY"), Some(500));
        check("500.00", Some("JPY"), "500.00", Some("JPY"), Some(500));
        check("86", Some("KWD"), "86", Some("KWD"), Some(86_000));
        check("86.0005", Some("KWD"), "86.0005", Some("KWD"), None);
        check("0.001", Some("BHD"), "0.001", Some("BHD"), Some(1));
        check("500.5", Some("JPY"), "500.5", Some("JPY"), None);
        check("-0.5", Some("EUR"), "-0.5", Some("EUR"), Some(-50));
        check("9.999", Some("USD"), "9.999", Some("USD"), None);
        check("1.00", Some("XYZ"), "1.00", Some("XYZ"), None);
        check("1.00", None, "1.00", None, None);
        check("1.00", Some(""), "1.00", None, None);
        check("20.000 KWD", None, "20.000", Some("KWD"), Some(20_000));
        check(" 20.000 kwd", Some("KWD"), "20.000", Some("KWD"), Some(20_000));
        check(
            "9.9900000000000000000000000",
            Some("USD"),
            "9.9900000000000000000000000",
            Some("USD"),
            Some(999),
        );
        check(
            "9.9900000000000000000000001",
            Some("USD"),
            "9.9900000000000000000000001",
            Some("USD"),
            None,
        );
        check(
            "92233720368547758.07",
            Some("USD"),
            "92233720368547758.07",
            Some("USD"),
            Some(i64::MAX),
        );
        check("92233720368547758.08", Some("USD"), "92233720368547758.08", Some("USD"), None);
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            " ",
            "1,5",
            "1.",
            ".5",
            "+1",
            "1e3",
            "$5",
            "5$",
            "NaN",
            "1 2",
            "1.0 US",
            "--1",
            "0.00000000000000000000000000001",
            "1.2.3",
        ] {
            assert_eq!(Money::read(text.into(), None), Err(UNREADABLE), "{text}");
        }
        assert_eq!(Money::read("1 USD".into(), Some("EUR")), Err(TWO_CURRENCIES));
    }

    #[test]
    fn units_and_scale_are_exact() {
        for (text, expected) in [
            ("86.000 KWD", (86_000, 3)),
            ("0", (0, 0)),
            ("-0.50", (-50, 2)),
            ("00012", (12, 0)),
            ("7922816251426433759354395.033", (7_922_816_251_426_433_759_354_395_033, 3)),
        ] {
            assert_eq!(Money::read(text.into(), None).unwrap().units_and_scale(), Some(expected));
        }
        let by_hand = Money { amount: "1,5".into(), currency: None, minor_units: None };
        assert_eq!(by_hand.units_and_scale(), None);
    }

    #[test]
    fn numbers_may_have_an_exponent() {
        let money = Money::read_number("1.5E1".into(), Some("USD")).unwrap();
        assert_eq!((money.amount.as_ref(), money.minor_units), ("15", Some(1500)));
        assert!(Money::read_number("1e99".into(), None).is_err());
    }

    proptest! {
        #[test]
        fn cents_are_exact(cents in -1_000_000_000_000_000_i64..1_000_000_000_000_000) {
            let sign = if cents < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
            let money = Money::read(text.as_str().into(), Some("USD")).unwrap();
            prop_assert_eq!(money.minor_units, Some(cents));
            prop_assert_eq!(money.amount.as_ref(), text.as_str());
        }

        /// Whatever the currency's digits: units, scale and minor units tell the same amount, and the
        /// text is what was sent.
        #[test]
        fn every_number_of_decimals_is_exact(
            units in 0..1_000_000_000_000_i64, scale in 0..6_u32,
            (code, digits) in prop::sample::select(vec![("JPY", 0_u32), ("USD", 2), ("KWD", 3)]),
        ) {
            let text = format!("{:0width$}", units, width = scale as usize + 1);
            let (whole, fraction) = text.split_at(text.len() - scale as usize);
            let point = if scale > 0 { "." } else { "" };
            let text = format!("{whole}{point}{fraction}");
            let money = Money::read(text.clone().into(), Some(code)).unwrap();
            prop_assert_eq!(money.amount.as_ref(), text.as_str());
            prop_assert_eq!(money.units_and_scale(), Some((units.into(), scale)));
            let (shifted, rest) = match digits.checked_sub(scale) {
                Some(more) => (units * 10_i64.pow(more), 0),
                None => (units / 10_i64.pow(scale - digits), units % 10_i64.pow(scale - digits)),
            };
            prop_assert_eq!(money.minor_units, (rest == 0).then_some(shifted));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}", currency in prop::option::of(".{0,4}")) {
            if let Ok(money) = Money::read(text.into(), currency.as_deref()) {
                prop_assert!(parse(&money.amount).is_some());
            }
        }
    }
}
