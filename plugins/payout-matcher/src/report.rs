//! What a buyer reports, in whichever of the three shapes: query, form or JSON.

mod slot;

use std::borrow::Cow;
use std::collections::BTreeSet;

use plugin_sdk::json::{self, Document};
use plugin_sdk::{Inbound, Pairs, Rejection, Warning};
use serde::de::IgnoredAny;

use crate::members::Members;

pub(crate) use slot::{Slot, Slots};

/// The fields of a report, those of the body before those of the query.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    fields: Vec<Field<'a>>,
    /// All of it, as a JSON object.
    pub(crate) original: Cow<'a, str>,
    pub(crate) warnings: Vec<Warning>,
}

/// One named value.
#[derive(Clone, Debug)]
struct Field<'a> {
    name: Cow<'a, str>,
    /// Absent where it is no plain value.
    value: Option<Cow<'a, str>>,
    /// It is the literal of a JSON number.
    is_number: bool,
}

impl<'a> Report<'a> {
    /// Reads whatever the request carries.
    ///
    /// # Errors
    ///
    /// 400 where query or body are not what they claim to be.
    pub(crate) fn read(inbound: &'a Inbound) -> Result<Self, Rejection> {
        let query = inbound.query_pairs()?;
        let body = Body::read(inbound)?;
        let (mut fields, original) = match body {
            Body::Form(form) => {
                // What both name is a list of both.
                let all: Pairs<'_> = query.iter().chain(form.iter()).collect();
                (of_pairs(&form), Cow::Owned(all.to_json()?))
            }
            Body::Json(Document { value, original }) if query.is_empty() => {
                (of_members(value), Cow::Borrowed(original.as_str()))
            }
            Body::Json(Document { value, original }) => {
                let both = joined(&query.to_json()?, original.as_str());
                (of_members(value), Cow::Owned(both))
            }
        };
        let mut warnings = Vec::new();
        repeated(&fields, "body", &mut warnings);
        let of_query = of_pairs(&query);
        repeated(&of_query, "query", &mut warnings);
        let in_body = names(&fields);
        if let Some(both) = names(&of_query).intersection(&in_body).next() {
            let detail = "in query and body; that of the body was read";
            warnings.push(Warning::new("field_in_query_and_body", both.clone(), detail));
        }
        fields.extend(of_query);
        Ok(Self { fields, original, warnings })
    }
}

enum Body<'a> {
    Form(Pairs<'a>),
    Json(Document<'a, Members<'a>>),
}

impl<'a> Body<'a> {
    /// What the body is, its own look before its content type: senders get that wrong.
    fn read(inbound: &'a Inbound) -> Result<Self, Rejection> {
        let text = inbound.text()?.trim_ascii();
        if text.is_empty() {
            return Ok(Self::Form(Pairs::default()));
        }
        let kind = inbound.header("content-type").concat().to_ascii_lowercase();
        if text.starts_with(['{', '[']) || kind.contains("json") {
            return inbound.json().map(Self::Json);
        }
        if kind.starts_with("multipart/") || !text.contains('=') {
            return Err(Rejection::malformed_body("neither a JSON object nor a form"));
        }
        inbound.form().map(Self::Form)
    }
}

fn of_pairs<'a>(pairs: &Pairs<'_>) -> Vec<Field<'a>> {
    let owned = |text: &str| Cow::Owned(text.to_owned());
    pairs
        .iter()
        .map(|(name, value)| Field {
            name: owned(name),
            value: Some(owned(value)),
            is_number: false,
        })
        .collect()
}

fn of_members(members: Members<'_>) -> Vec<Field<'_>> {
    members
        .0
        .into_iter()
        .map(|(name, value)| {
            let literal = value.literal().unwrap_or_default();
            let is_number = literal.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            let is_plain = is_number || literal.starts_with('"');
            let value = value.text().ok().flatten().filter(|_| is_plain);
            Field { name, value, is_number }
        })
        .collect()
}

fn names(fields: &[Field<'_>]) -> BTreeSet<String> {
    fields.iter().map(|field| field.name.to_ascii_lowercase()).collect()
}

fn repeated(fields: &[Field<'_>], place: &'static str, warnings: &mut Vec<Warning>) {
    let mut seen = BTreeSet::new();
    let again = fields.iter().find(|field| !seen.insert(field.name.to_ascii_lowercase()));
    if let Some(field) = again {
        let detail = format!("more than once in the {place}; the first was read");
        warnings.push(Warning::new("repeated_field", field.name.to_string(), detail));
    }
}

/// One JSON object of the members of two.
fn joined(first: &str, second: &str) -> String {
    let head = first.trim_end_matches('}');
    let tail = second.trim_start_matches('{').trim_ascii_start();
    let comma = if tail.starts_with('}') { "" } else { "," };
    format!("{head}{comma}{tail}")
}

/// The text of an object that was checked or made here, in the form that an event carries.
pub(crate) fn original(text: &str) -> Result<plugin_sdk::Original<'_>, Rejection> {
    json::read_object::<IgnoredAny>(text).map(|document| document.original)
}
