//! Taking the credentials out of a request's head.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use super::{MASK, RouteSecrets};
use crate::adapter::Travels;
use crate::model::RequestHead;

/// The credentials that one request carried, taken out of its head when it was masked.
#[derive(Default)]
pub struct Presented {
    /// By role: every value found where it travels.
    by_role: BTreeMap<String, Vec<Carried>>,
    /// The `{token}` segment, percent-decoded.
    token: Option<Zeroizing<Vec<u8>>>,
}

/// One value found where a secret travels.
pub(super) struct Carried {
    /// As received.
    raw: Zeroizing<Vec<u8>>,
    /// What the sender may have meant by it; none where it lacks the prefix.
    readings: Vec<Zeroizing<Vec<u8>>>,
}

impl Carried {
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    pub(super) fn readings(&self) -> Vec<&[u8]> {
        self.readings.iter().map(|reading| reading.as_slice()).collect()
    }
}

impl Presented {
    pub(super) fn token(&self) -> Option<&[u8]> {
        self.token.as_ref().map(|token| token.as_slice())
    }

    pub(super) fn of(&self, role: &str) -> &[Carried] {
        self.by_role.get(role).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("roles", &self.by_role.keys()).finish_non_exhaustive()
    }
}

impl RouteSecrets {
    /// Takes the credentials out of a head: what remains reads `***` where they stood, a prefix
    /// such as `Bearer ` included, and is otherwise unchanged byte for byte. `token_segment`: the
    /// byte range of the `{token}` segment in the path, where the route has one.
    #[must_use]
    pub fn mask(
        &self,
        mut head: RequestHead,
        token_segment: Option<Range<usize>>,
    ) -> (RequestHead, Presented) {
        let mut presented = Presented::default();
        if let Some(segment) = token_segment {
            presented.token = Some(take_token(&mut head.path, segment));
        }
        // All are read before any is masked: two roles may travel in one header.
        for (role, bound) in &self.roles {
            let carried = match &bound.travels {
                Travels::Header { name, prefix, .. } => from_headers(&head, name, prefix),
                Travels::Query { name, .. } => from_query(head.query.as_deref(), name),
                Travels::Body | Travels::Key => continue,
            };
            presented.by_role.insert(role.clone(), carried);
        }
        for bound in self.roles.values() {
            match &bound.travels {
                Travels::Header { name, .. } => mask_headers(&mut head, name),
                Travels::Query { name, .. } => {
                    head.query = head.query.map(|query| mask_query(&query, name));
                }
                Travels::Body | Travels::Key => {}
            }
        }
        (head, presented)
    }
}

fn take_token(path: &mut String, segment: Range<usize>) -> Zeroizing<Vec<u8>> {
    let Some(raw) = path.get(segment.clone()) else {
        // A range outside the path can only be a mistake of the caller. Failing closed: there is
        // no token to match, and nothing of the path is kept.
        MASK.clone_into(path);
        return Zeroizing::default();
    };
    let token = Zeroizing::new(percent_decode(raw.as_bytes(), false));
    path.replace_range(segment, MASK);
    token
}

fn from_headers(head: &RequestHead, name: &str, prefix: &str) -> Vec<Carried> {
    head.headers
        .iter()
        .filter(|(each, _)| each.eq_ignore_ascii_case(name))
        .map(|(_, value)| Carried {
            raw: Zeroizing::new(value.as_bytes().to_vec()),
            readings: after_prefix(value, prefix)
                .map(|rest| Zeroizing::new(rest.as_bytes().to_vec()))
                .into_iter()
                .collect(),
        })
        .collect()
}

/// A scheme's name, as `Bearer`, is compared without case (RFC 9110 section 11.1).
fn after_prefix<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    let (head, rest) = value.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn from_query(query: Option<&str>, name: &str) -> Vec<Carried> {
    pairs(query.unwrap_or_default())
        .filter(|(raw_name, _)| is_named(raw_name, name))
        .map(|(_, value)| {
            let value = value.unwrap_or_default().as_bytes();
            let mut readings = vec![Zeroizing::new(percent_decode(value, true))];
            // Forms write a space as `+`, and senders who do not encode leave a `+` of the secret
            // (in base64, say) as it is. Both readings are one presented value.
            if value.contains(&b'+') {
                readings.push(Zeroizing::new(percent_decode(value, false)));
            }
            Carried { raw: Zeroizing::new(value.to_vec()), readings }
        })
        .collect()
}

fn mask_headers(head: &mut RequestHead, name: &str) {
    for (each, value) in &mut head.headers {
        if each.eq_ignore_ascii_case(name) {
            MASK.clone_into(value);
        }
    }
}

fn mask_query(query: &str, name: &str) -> String {
    let masked: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((raw_name, _)) if is_named(raw_name, name) => format!("{raw_name}={MASK}"),
            Some(_) | None => pair.to_owned(),
        })
        .collect();
    masked.join("&")
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    })
}

fn is_named(raw: &str, name: &str) -> bool {
    raw == name || percent_decode(raw.as_bytes(), true) == name.as_bytes()
}

/// Decodes `%41`; what is no valid escape stays as it is. In a form a `+` is a space.
fn percent_decode(text: &[u8], form: bool) -> Vec<u8> {
    if form {
        let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
        percent_encoding::percent_decode(&spaced).collect()
    } else {
        percent_encoding::percent_decode(text).collect()
    }
}
