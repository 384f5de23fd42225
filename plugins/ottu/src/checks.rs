//! What must hold of a body beside its signature.

use plugin_sdk::{Loose, Rejection};

use crate::payload::Payload;
use crate::signature::{Proof, is_ambiguous};

/// Every `result` that Ottu documents, of payments and of operations.
const RESULTS: [&str; 8] =
    ["pending", "success", "failed", "canceled", "error", "cod", "rejected", "queued"];

/// Refuses what can be read in two ways, and what lacks the fields without which there is nothing
/// to tell.
///
/// # Errors
///
/// 401 `ambiguous_signature`; 400 `missing_field` or `malformed_field`.
pub(crate) fn check(payload: &Payload<'_>, proof: &Proof<'_>) -> Result<(), Rejection> {
    let is_signed = proof.scheme().is_some();
    if let Proof::Signed { scheme, values } = proof
        && is_ambiguous(*scheme, values)
    {
        return Err(ambiguous("the signed text can be read as other fields, too"));
    }
    required("amount", payload.amount, is_amount)?;
    required("reference_number", payload.reference_number, |text| {
        !text.contains(char::is_control)
    })?;
    let is_known = |text: &str| RESULTS.contains(&text);
    match required("result", payload.result, |text| !is_signed || is_known(text)) {
        Err(refusal) if refusal.code() == MALFORMED => {
            Err(ambiguous("`result` is none of the documented words"))
        }
        other => other,
    }?;
    optional("currency_code", payload.currency_code, is_currency)
}

const MALFORMED: &str = "malformed_field";

fn ambiguous(why: &str) -> Rejection {
    Rejection::unauthorized("ambiguous_signature", why)
}

fn required(
    name: &str,
    value: Loose<'_>,
    is_good: impl FnOnce(&str) -> bool,
) -> Result<(), Rejection> {
    if value.text() == Ok(None) {
        return Err(Rejection::new(400, "missing_field", format!("`{name}` is missing")));
    }
    optional(name, value, is_good)
}

fn optional(
    name: &str,
    value: Loose<'_>,
    is_good: impl FnOnce(&str) -> bool,
) -> Result<(), Rejection> {
    match value.text() {
        Ok(text) if text.as_deref().is_none_or(is_good) => Ok(()),
        _ => Err(Rejection::new(400, MALFORMED, format!("`{name}` is not of its form"))),
    }
}

/// `^\d+(\.\d+)?$`
fn is_amount(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// `^[A-Z]{3}$`
fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_digits_with_or_without_a_fraction() {
        for good in ["0", "15", "86.000", "0.5", "00.10"] {
            assert!(is_amount(good), "{good}");
        }
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1.2.3", "٣", "15.00 SAR"]
        {
            assert!(!is_amount(bad), "{bad}");
        }
    }

    #[test]
    fn currencies_are_three_capitals() {
        assert!(is_currency("KWD"));
        for bad in ["", "kwd", "KW", "KWDX", "K D", "ÄÖ"] {
            assert!(!is_currency(bad), "{bad}");
        }
    }
}
