//! What Ottu signs, how, and what of it the gateway found to be genuine.

mod fields;

use std::borrow::Cow;

use plugin_sdk::verification::{Encoding, Found, KeyEncoding, Mac, MacAlgorithm, Part};
use plugin_sdk::{Loose, Rejection};

use crate::payload::Payload;
use crate::settings::{OperationSignature, Scheme, Settings};
use fields::{FIELDS, Field};

/// The adapter's name for Ottu's HMAC key.
pub(crate) const KEY: &str = "hmac_key";

/// Length of an HMAC-SHA256 in hexadecimal.
const CODE_CHARACTERS: usize = 64;

impl Scheme {
    const fn covers(self, field: &Field) -> bool {
        matches!(self, Self::Subscription) || field.is_standard
    }
}

/// A signed field as it stands in a body: where in [`FIELDS`], and its value.
pub(crate) type SignedValue<'a> = (usize, Cow<'a, str>);

/// What the gateway found of a body's signature.
#[derive(Debug)]
pub(crate) enum Proof<'a> {
    /// It is that of these fields, under this scheme.
    Signed { scheme: Scheme, values: Vec<SignedValue<'a>> },
    /// It is an operation whose signature nobody verified, and the settings say that it may be.
    Unsigned,
}

impl Proof<'_> {
    pub(crate) const fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::Signed { scheme, .. } => Some(*scheme),
            Self::Unsigned => None,
        }
    }

    /// Where in the data the signed values are.
    pub(crate) fn verified_fields(&self) -> Vec<&'static str> {
        match self {
            Self::Signed { values, .. } => {
                let fields = values.iter().filter_map(|(index, _)| FIELDS.get(*index));
                fields.map(|field| field.in_data).collect()
            }
            Self::Unsigned => Vec::new(),
        }
    }
}

/// Has the signature verified, in each of the schemes that the settings name.
///
/// # Errors
///
/// 401 `signature_missing` or `signature_mismatch`; 400 `signed_value_type` where no scheme can be
/// tried; 500 `hmac_key_missing` where the route has no key and the body may not be believed without.
pub(crate) fn verify<'a>(
    settings: &Settings,
    payload: &Payload<'a>,
) -> Result<Proof<'a>, Rejection> {
    let presented = payload.signature.text().unwrap_or(Some(Cow::Borrowed("")));
    // One text for one code: in capitals it would pass for a webhook that was never seen.
    let code = presented.as_deref().filter(|code| is_code(code)).unwrap_or_default();
    let (mut is_tried, mut unsignable) = (false, None);
    for scheme in &settings.schemes {
        let values = match signed_values(*scheme, payload) {
            Ok(values) => values,
            // What one scheme covers the other may not.
            Err(refusal) => {
                unsignable = Some(refusal);
                continue;
            }
        };
        is_tried = true;
        // Asked even where nothing was presented: the verdict is on record, and only the gateway
        // knows whether the route has the key.
        let verdict = mac(code).verify(&[Part::Bytes(message(*scheme, &values).as_bytes())]);
        match verdict.found() {
            Found::Matched => return Ok(Proof::Signed { scheme: *scheme, values }),
            Found::NotConfigured if presented.is_some() => {
                return unsigned(settings, payload).ok_or_else(|| {
                    let detail = "the route has no secret `hmac_key` to check the signature with";
                    Rejection::new(500, "hmac_key_missing", detail)
                });
            }
            _ if presented.is_none() => {
                return unsigned(settings, payload)
                    .ok_or_else(|| Rejection::unauthorized("signature_missing", "no `signature`"));
            }
            Found::Mismatched | Found::Missing | Found::Repeated | Found::NotConfigured => {}
        }
    }
    Err(match unsignable {
        None => Rejection::unauthorized("signature_mismatch", "no scheme gives the signature"),
        Some(refusal) if is_tried => {
            let detail =
                format!("the other scheme does not give the signature, and {}", refusal.detail());
            Rejection::unauthorized("signature_mismatch", detail)
        }
        Some(refusal) => refusal,
    })
}

const fn mac(presented: &str) -> Mac<'_> {
    Mac {
        role: KEY,
        algorithm: MacAlgorithm::HmacSha256,
        key: KeyEncoding::Utf8,
        presented,
        encoding: Encoding::Hex,
    }
}

fn is_code(text: &str) -> bool {
    text.len() == CODE_CHARACTERS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// An operation in the form of old instances, where the settings let it pass without a signature.
/// A payment never passes, so whatever may be one does not either.
fn unsigned<'a>(settings: &Settings, payload: &Payload<'a>) -> Option<Proof<'a>> {
    let says_operation = payload.txn.get().is_some() || payload.operation.text() != Ok(None);
    let may_be = settings.operation_signature == OperationSignature::Optional
        && !payload.is_payment()
        && says_operation;
    may_be.then_some(Proof::Unsigned)
}

/// The fields that `scheme` covers and that say something, in the order of their names.
///
/// # Errors
///
/// 400 where a value is neither text nor a whole number: what Ottu would sign is not known.
fn signed_values<'a>(
    scheme: Scheme,
    payload: &Payload<'a>,
) -> Result<Vec<SignedValue<'a>>, Rejection> {
    let mut values = Vec::with_capacity(FIELDS.len());
    for (index, field) in FIELDS.iter().enumerate().filter(|(_, field)| scheme.covers(field)) {
        if let Some(value) = signed_text((field.of)(payload), field)? {
            values.push((index, value));
        }
    }
    Ok(values)
}

fn signed_text<'a>(value: Loose<'a>, field: &Field) -> Result<Option<Cow<'a, str>>, Rejection> {
    let is_signable = value.literal().is_none_or(|literal| {
        let digits = literal.strip_prefix('-').unwrap_or(literal);
        literal.starts_with('"') || digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let text = value.text().ok().filter(|_| is_signable);
    text.ok_or_else(|| {
        let detail = format!("`{}` is signed and neither text nor a whole number", field.name);
        Rejection::new(400, "signed_value_type", detail)
    })
}

/// The text whose HMAC the signature is.
fn message(scheme: Scheme, values: &[SignedValue<'_>]) -> String {
    // Names and values of an ordinary payment.
    let mut message = String::with_capacity(512);
    for (index, value) in values {
        let name = FIELDS.get(*index).map_or("", |field| field.name);
        match scheme {
            Scheme::Standard => message.extend([name, value]),
            Scheme::Subscription => {
                let separator = if message.is_empty() { "" } else { "\n" };
                message.extend([separator, name, "=", value]);
            }
        }
    }
    message
}

/// Whether the signed text can be read in another way, with the boundaries between fields elsewhere,
/// so that the signature does not tell which of the two Ottu meant.
///
/// The standard scheme joins names and values by nothing. What this leaves has one reading, since
/// [`crate::checks`] also wants an amount, a reference number and a known result (a law in
/// `tests/boundaries.rs`):
/// every name with an underscore that the text holds, wherever it begins, is that of a field that
/// is there; and after the reference number, where only `result` and `state` can follow, the first
/// `result` is the field's.
pub(crate) fn is_ambiguous(scheme: Scheme, values: &[SignedValue<'_>]) -> bool {
    match scheme {
        Scheme::Standard => is_ambiguous_joined(values),
        Scheme::Subscription => values.iter().any(|(_, value)| {
            value.split('\n').skip(1).any(|line| {
                let is_field = |field: &Field| {
                    line.strip_prefix(field.name).is_some_and(|rest| rest.starts_with('='))
                };
                FIELDS.iter().any(is_field)
            })
        }),
    }
}

fn is_ambiguous_joined(values: &[SignedValue<'_>]) -> bool {
    let named = || {
        values
            .iter()
            .filter_map(|(index, value)| FIELDS.get(*index).map(|field| (field, value.as_ref())))
    };
    let holds =
        |word: &str| named().any(|(field, value)| field.name != word && value.contains(word));
    let lacks = |name: &str| named().all(|(field, _)| field.name != name);
    let fields = named().filter(|(field, _)| field.underscore.is_some()).count();
    fields != names_within(&message(Scheme::Standard, values))
        // Absent, it may have been that field when it was signed.
        || ["result", "state"].into_iter().any(|name| lacks(name) && holds(name))
        || named().any(|(field, value)| {
            matches!(field.name, "reference_number" | "state") && value.contains("result")
        })
}

/// How many names with an underscore a text of the standard scheme holds, overlapping ones too.
fn names_within(message: &str) -> usize {
    let bytes = message.as_bytes();
    let begins = |field: &Field, underscore: usize| {
        field.is_standard
            && field
                .underscore
                .and_then(|before| bytes.get(underscore.checked_sub(before)?..))
                .is_some_and(|rest| {
                    // Nearly always the first byte decides, and costs no call.
                    rest.first() == field.name.as_bytes().first()
                        && rest.starts_with(field.name.as_bytes())
                })
    };
    // No name's first word ends in another letter; most other underscores stand behind one that does.
    let underscores = bytes
        .array_windows()
        .zip(1..)
        .filter_map(|(pair, at)| matches!(pair, [b'r' | b'y' | b'e', b'_']).then_some(at));
    underscores.map(|at| FIELDS.iter().filter(|field| begins(field, at)).count()).sum()
}

#[cfg(test)]
mod tests;
