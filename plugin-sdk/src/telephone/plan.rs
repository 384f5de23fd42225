//! From digits to an E.164 number, by the numbering plans of the generated table.

use super::country::Country;
use super::row::Plan;
use super::table::PLANS;
use super::written::Written;
use super::{E164, Unfit, withheld};

/// Digits after a lost `+`: a national number after a stray space is rarely so long.
const AFTER_LOST_PLUS: std::ops::RangeInclusive<usize> = 11..=15;

/// International prefixes that are understood whatever the country, where what follows is a
/// possible number and the digits are nothing else.
const COMMON_EXITS: [&str; 2] = ["00", "011"];

/// Shorter national numbers are local ones or short codes, unless a trunk prefix says otherwise.
const BARE_DIGITS_MIN: usize = 7;

/// The country code of North America, where no area code begins with 0 or 1.
const NORTH_AMERICA: u16 = 1;

pub(super) fn resolve(written: &Written, home: Option<Country>) -> Result<E164, Unfit> {
    let Written { plus, spaced, zero, .. } = *written;
    let digits = written.digits.as_str();
    if withheld::is_keyed(digits, plus) {
        return Err(Unfit::Withheld);
    }
    let begins_with_zero = digits.starts_with('0');
    let global = plus || (spaced && AFTER_LOST_PLUS.contains(&digits.len()));
    if global && !begins_with_zero {
        return international(digits, zero).ok_or(Unfit::Impossible);
    }
    let own = home.and_then(|home| {
        let after_exit = home.exits().find_map(|exit| abroad(digits, exit, zero));
        if plus { after_exit } else { after_exit.or_else(|| domestic(digits, home)) }
    });
    own.or_else(|| COMMON_EXITS.iter().find_map(|exit| abroad(digits, exit, zero)))
        .ok_or(if home.is_none() && !plus { Unfit::NoCountry } else { Unfit::Impossible })
}

/// A number after a `+`. Its length is not held against the table: numbering plans grow.
fn international(digits: &str, zero: Option<usize>) -> Option<E164> {
    let Some((plan, national)) = split(digits) else { return E164::of_digits(digits) };
    let code = digits.len() - national.len();
    let rest = national.strip_prefix('0').filter(|rest| plan.has_length(rest));
    let national = match rest {
        Some(rest) if zero == Some(code) && !plan.has_length(national) => rest,
        // The trunk prefix where it does not belong. In Italy the 0 is part of the number.
        Some(rest) if plan.drops_zero() && !rest.starts_with('0') => rest,
        _ if plan.has_length(national) => national,
        _ => plan
            .trunks()
            .filter_map(|trunk| national.strip_prefix(trunk))
            .find(|rest| plan.has_length(rest))
            .unwrap_or(national),
    };
    number(plan, national)
}

/// A number after an international prefix, where it is a possible one.
fn abroad(digits: &str, exit: &str, zero: Option<usize>) -> Option<E164> {
    let rest = digits.strip_prefix(exit)?;
    let (plan, national) = split(rest)?;
    let zero = zero.and_then(|zero| zero.checked_sub(exit.len()));
    let bare = national.strip_prefix('0').is_some_and(|bare| plan.has_length(bare));
    (plan.has_length(national) || bare).then(|| international(rest, zero))?
}

/// A number as it is written within a country.
fn domestic(digits: &str, home: Country) -> Option<E164> {
    let plan = home.plan();
    let national = |national: &str| {
        let fits = plan.code != NORTH_AMERICA || !national.starts_with(['0', '1']);
        fits.then(|| number(plan, national)).flatten()
    };
    let after_trunk = plan
        .trunks()
        .filter_map(|trunk| digits.strip_prefix(trunk))
        .find(|rest| plan.has_length(rest) && !rest.starts_with('0'));
    if let Some(rest) = after_trunk {
        return national(rest);
    }
    let with_code = split(digits)
        .filter(|(other, rest)| other.code == plan.code && plan.has_length(rest))
        .filter(|(_, rest)| !(plan.drops_zero() && rest.starts_with('0')))
        .map(|(_, rest)| rest);
    let has_trunk = plan.trunks().next().is_some();
    let bare = home.may_stand_bare(digits)
        && !(has_trunk && digits.len() < BARE_DIGITS_MIN)
        && !(plan.drops_zero() && digits.starts_with('0'));
    match with_code {
        // A `+` that was lost without a trace.
        Some(rest) if !bare || AFTER_LOST_PLUS.contains(&digits.len()) => national(rest),
        // Either of two numbers. Without trunk prefixes this is how national numbers are written.
        Some(_) if has_trunk => None,
        _ if bare => national(digits),
        _ => None,
    }
}

/// The plan of the country code that the digits begin with, and the national number.
fn split(digits: &str) -> Option<(&'static Plan, &str)> {
    // No country code begins with another.
    (1..=3).find_map(|length| {
        let (code, national) = digits.split_at_checked(length)?;
        let code: u16 = code.parse().ok()?;
        let at = PLANS.binary_search_by_key(&code, |plan| plan.code).ok()?;
        Some((PLANS.get(at)?, national))
    })
}

/// Nobody has a national number of zeros; systems send them for none.
fn number(plan: &Plan, national: &str) -> Option<E164> {
    let is_number = national.bytes().any(|digit| digit != b'0');
    is_number.then(|| E164::of_digits(&format!("{}{national}", plan.code))).flatten()
}
