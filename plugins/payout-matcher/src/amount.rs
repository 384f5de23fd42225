//! Amounts of money: read as buyers write them, and kept in whole cents.

use plugin_sdk::Money;
use rust_decimal::prelude::ToPrimitive as _;
use rust_decimal::{Decimal, RoundingStrategy};

/// No amount is larger, in cents: ten thousand million. Sums of a million such still fit.
pub(crate) const CENTS_LIMIT: i64 = 1_000_000_000_000;
/// Longest text that is looked at: 28 digits with separators, sign and currency fit.
const TEXT_BYTES_MAX: usize = 64;

/// Symbols that stand for a currency.
const SYMBOLS: [(&str, &str); 5] =
    [("$", "USD"), ("$", "CAD"), ("$", "AUD"), ("\u{20ac}", "EUR"), ("\u{a3}", "GBP")];

/// A payout that a buyer reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payout {
    pub(crate) cents: i64,
    pub(crate) money: Money<'static>,
    /// It was finer than a cent.
    pub(crate) rounded: bool,
}

/// Reads a payout: `50`, `50.00`, `$50`, `1,234.50`, `50 USD`. What is finer than a cent is
/// rounded half up.
///
/// # Errors
///
/// Why it is not believed.
pub(crate) fn payout(text: &str, currency: &str, max: i64) -> Result<Payout, &'static str> {
    let value = decimal(text, currency)?;
    if value.is_sign_negative() && !value.is_zero() {
        return Err("negative payout");
    }
    let cents = value
        .checked_mul(Decimal::ONE_HUNDRED)
        .map(|cents| cents.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero))
        .and_then(|cents| cents.to_i64())
        .filter(|cents| *cents <= max)
        .ok_or("payout too large")?;
    // A zero takes the publisher's credit away: it must be meant.
    if cents == 0 && !value.is_zero() {
        return Err("payout below one cent");
    }
    let rounded = value.normalize().scale() > 2;
    let value = if value.is_zero() { value.abs() } else { value };
    let money = Money {
        amount: value.to_string().into(),
        currency: Some(currency.to_owned()),
        minor_units: (!rounded).then_some(cents),
    };
    Ok(Payout { cents, money, rounded })
}

const OTHER_CURRENCY: &str = "payout in another currency";

/// Refuses what a report says beside its payout that the payout is in, where that is the code or
/// the symbol of another currency. What is neither says nothing.
///
/// # Errors
///
/// Why the payout is not believed.
pub(crate) fn in_currency(said: Option<&str>, currency: &str) -> Result<(), &'static str> {
    let said = said.map(str::trim).unwrap_or_default();
    let is_code = said.len() == 3 && said.bytes().all(|byte| byte.is_ascii_alphabetic());
    let mut of_symbol = SYMBOLS.iter().filter(|(symbol, _)| *symbol == said).peekable();
    let is_other = if is_code {
        !said.eq_ignore_ascii_case(currency)
    } else {
        of_symbol.peek().is_some() && of_symbol.all(|(_, code)| *code != currency)
    };
    if is_other { Err(OTHER_CURRENCY) } else { Ok(()) }
}

fn decimal(text: &str, currency: &str) -> Result<Decimal, &'static str> {
    const UNREADABLE: &str = "payout unreadable";
    let text = text.trim();
    if text.len() > TEXT_BYTES_MAX {
        return Err(UNREADABLE);
    }
    let (negative, rest) = sign(text);
    let rest = without_currency(rest, currency)?;
    // The sign may stand on either side of the symbol, and once.
    let (again, rest) = sign(rest);
    if negative && again {
        return Err(UNREADABLE);
    }
    let plain = without_separators(rest).ok_or(UNREADABLE)?;
    let value = if plain.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        Decimal::from_scientific(&plain)
    } else {
        Decimal::from_str_exact(&plain)
    };
    let mut value = value.map_err(|_| UNREADABLE)?;
    value.set_sign_negative(negative || again);
    Ok(value)
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').unwrap_or(text).trim_start()),
    }
}

/// Takes the currency off: a symbol, a code, or both, before or after.
fn without_currency<'a>(text: &'a str, currency: &str) -> Result<&'a str, &'static str> {
    let symbol = SYMBOLS.iter().find(|(_, code)| *code == currency).map(|(symbol, _)| *symbol);
    let without_symbol = |text: &'a str| {
        let symbol = symbol?;
        text.strip_prefix(symbol).or_else(|| text.strip_suffix(symbol)).map(str::trim)
    };
    let text = without_symbol(text).unwrap_or(text);
    let is_letter = |c: char| c.is_ascii_alphabetic();
    let (head, tail) = (text.trim_start_matches(is_letter), text.trim_end_matches(is_letter));
    for (code, rest) in [(text.strip_suffix(head), head), (text.strip_prefix(tail), tail)] {
        match code {
            None | Some("") => {}
            Some(code) if code.eq_ignore_ascii_case(currency) => {
                let rest = rest.trim();
                return Ok(without_symbol(rest).unwrap_or(rest));
            }
            Some(code) if code.len() == 3 && rest.contains(|c: char| c.is_ascii_digit()) => {
                return Err(OTHER_CURRENCY);
            }
            Some(_) => return Err("payout unreadable"),
        }
    }
    Ok(text)
}

/// Takes commas out where they part the whole digits in groups of three.
fn without_separators(text: &str) -> Option<String> {
    let (whole, rest) = text.find(['.', 'e', 'E']).map_or((text, ""), |at| text.split_at(at));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = whole.contains(',');
    let fits = digits(first)
        && (!grouped || (1..=3).contains(&first.len()))
        && groups.all(|group| group.len() == 3 && digits(group));
    // `.5` and `5.` are amounts; a point alone is none.
    let fraction =
        rest.strip_prefix('.').map_or("", |rest| rest.split(['e', 'E']).next().unwrap_or_default());
    let exponent = rest.find(['e', 'E']).and_then(|at| rest.get(at..)).unwrap_or_default();
    let exponent_digits = exponent.trim_start_matches(['e', 'E']).trim_start_matches(['+', '-']);
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    let exponent_fits =
        exponent.is_empty() || (!exponent_digits.is_empty() && digits(exponent_digits));
    if !(fits && has_digits && digits(fraction) && exponent_fits) {
        return None;
    }
    let whole = if whole.is_empty() { "0".to_owned() } else { whole.replace(',', "") };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{whole}{point}{fraction}{exponent}"))
}

/// A decimal without sign, separators and exponent: how settings and calls state amounts.
pub(crate) fn plain(text: &str) -> Option<Decimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| Decimal::from_str_exact(text).ok()).flatten()
}

/// The same in cents, where it is a whole number of them.
pub(crate) fn plain_cents(text: &str) -> Option<i64> {
    let cents = plain(text)?.checked_mul(Decimal::ONE_HUNDRED)?;
    cents.fract().is_zero().then(|| cents.to_i64()).flatten()
}

/// `percent` of an amount that is not negative, rounded half up to the cent. Exact: both factors
/// are whole numbers of at most 40 and 27 bits.
pub(crate) fn share(cents: i64, percent: Decimal) -> i64 {
    let whole = 100 * 10_i128.pow(percent.scale());
    let rounded = (i128::from(cents) * percent.mantissa() + whole / 2) / whole;
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: i64 = 10_000_000;

    fn cents(text: &str) -> Result<i64, &'static str> {
        payout(text, "USD", MAX).map(|payout| payout.cents)
    }

    #[test]
    fn payouts_as_buyers_write_them() {
        for (text, expected) in [
            ("50", 5000),
            ("50.00", 5000),
            ("$50", 5000),
            ("$ 50", 5000),
            ("50$", 5000),
            ("+50", 5000),
            ("1,234.50", 123_450),
            ("$1,234,5", -1),
            ("50 USD", 5000),
            ("USD 50", 5000),
            ("usd50.5", 5050),
            ("$1,234.50 USD", 123_450),
            ("USD $5", 500),
            (" 12.5 ", 1250),
            (".5", 50),
            ("5.", 500),
            ("5e1", 5000),
            ("1.25E+2", 12_500),
            ("0", 0),
            ("0.00", 0),
            ("$0", 0),
            ("-0", 0),
            ("100000.00", MAX),
        ] {
            let expected = if expected < 0 { Err("payout unreadable") } else { Ok(expected) };
            assert_eq!(cents(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_believed_is_told_why() {
        for (text, why) in [
            ("-5", "negative payout"),
            ("-$5", "negative payout"),
            ("$-5", "negative payout"),
            ("\u{2212}5", "negative payout"),
            ("-0.001", "negative payout"),
            ("100000.01", "payout too large"),
            ("99999999999999999999", "payout too large"),
            ("1e20", "payout too large"),
            ("0.004", "payout below one cent"),
            ("50 EUR", "payout in another currency"),
            ("EUR50", "payout in another currency"),
            ("\u{20ac}50", "payout unreadable"),
            ("1.234,50", "payout unreadable"),
            ("1,5", "payout unreadable"),
            ("12,34,567", "payout unreadable"),
            (",500", "payout unreadable"),
            ("NaN", "payout unreadable"),
            ("inf", "payout unreadable"),
            ("null", "payout unreadable"),
            ("yes please", "payout unreadable"),
            ("--5", "payout unreadable"),
            ("-$-5", "payout unreadable"),
            ("1e99", "payout unreadable"),
            ("1e", "payout unreadable"),
            (".", "payout unreadable"),
            ("$", "payout unreadable"),
            ("1.2.3", "payout unreadable"),
            ("0x10", "payout unreadable"),
            ("\u{0665}", "payout unreadable"),
        ] {
            assert_eq!(cents(text), Err(why), "{text}");
        }
        assert_eq!(cents(&"9".repeat(65)), Err("payout unreadable"));
        assert_eq!(payout("\u{20ac}50", "EUR", MAX).map(|payout| payout.cents), Ok(5000));
        assert_eq!(payout("$50", "EUR", MAX), Err("payout unreadable"));
    }

    #[test]
    fn a_currency_that_is_told_beside_the_payout_is_the_one_of_the_settings() {
        for (said, own, good) in [
            (None, "USD", true),
            (Some("USD"), "USD", true),
            (Some(" usd "), "USD", true),
            (Some("$"), "USD", true),
            (Some("$"), "CAD", true),
            (Some("1"), "USD", true),
            (Some("US Dollar"), "USD", true),
            (Some("EUR"), "USD", false),
            (Some("usd"), "EUR", false),
            (Some("\u{20ac}"), "USD", false),
            (Some("$"), "EUR", false),
        ] {
            let expected = if good { Ok(()) } else { Err("payout in another currency") };
            assert_eq!(in_currency(said, own), expected, "{said:?} {own}");
        }
    }

    #[test]
    fn what_is_finer_than_a_cent_is_rounded_half_up_and_told() {
        for (text, cents, rounded) in
            [("12.345", 1235, true), ("12.3449", 1234, true), ("12.340", 1234, false)]
        {
            let payout = payout(text, "USD", MAX).unwrap();
            assert_eq!((payout.cents, payout.rounded), (cents, rounded), "{text}");
            assert_eq!(payout.money.amount, text);
            assert_eq!(payout.money.minor_units, (!rounded).then_some(cents));
        }
    }

    #[test]
    fn stated_amounts_are_plain() {
        assert_eq!(plain_cents("12.00"), Some(1200));
        assert_eq!(plain_cents("12"), Some(1200));
        assert_eq!(plain_cents("12.50000"), Some(1250));
        for text in ["", "-1", "+1", "1,000", "1.005", "1.", ".5", "1e3", "$5"] {
            assert_eq!(plain_cents(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_an_amount_is_the_same_amount(amount in 0..=MAX) {
            let (whole, part) = (amount / 100, amount % 100);
            let mut grouped = whole.to_string();
            let mut at = grouped.len();
            while at > 3 {
                at -= 3;
                grouped.insert(at, ',');
            }
            for text in [
                format!("{whole}.{part:02}"),
                format!("${grouped}.{part:02}"),
                format!("{whole}.{part:02}0 USD"),
                format!("{amount}e-2"),
            ] {
                prop_assert_eq!(cents(&text), Ok(amount), "{}", text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+$0-9.,eE USD\u{20ac}]{0,70}|.{0,70}") {
            if let Ok(payout) = payout(&text, "USD", MAX) {
                prop_assert!((0..=MAX).contains(&payout.cents));
            }
        }

        /// Half up, told by whole numbers of another kind.
        #[test]
        fn a_share_is_the_nearest_cent(cents in 0..CENTS_LIMIT, millionths in 0..=100_000_000_i64) {
            let got = i128::from(share(cents, Decimal::new(millionths, 6)));
            let exact = i128::from(cents) * i128::from(millionths);
            let distance = exact - got * 100_000_000;
            prop_assert!((-50_000_000..50_000_000).contains(&distance), "{}", distance);
        }
    }
}
