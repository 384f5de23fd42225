//! What a request presents where a secret travels, read as the gateway reads it.

use std::borrow::Cow;

use crate::Travels;
use crate::inbound::percent_decode;
use crate::verification::Compared;

/// What one value may mean: any of these. None where it means nothing.
pub(super) type Readings = Vec<String>;

/// How the secret travels, where it is not compared in this way.
pub(super) const fn elsewhere(travels: &Travels, compared: Compared) -> Option<&'static str> {
    match (travels, compared) {
        (Travels::Header { .. }, Compared::Header)
        | (Travels::Query { .. }, Compared::Query)
        | (Travels::Body, Compared::Value)
        | (Travels::Key, Compared::Signature) => None,
        (Travels::Header { .. }, _) => Some("travels in a header"),
        (Travels::Query { .. }, _) => Some("travels in the query"),
        (Travels::Body, _) => Some("travels in the body"),
        (Travels::Key, _) => Some("is a key and never travels"),
    }
}

/// After the prefix, as `Bearer `, whose case does not matter.
pub(super) fn in_header(value: &str, prefix: &str) -> Readings {
    let meant = value.split_at_checked(prefix.len());
    let meant = meant.filter(|(head, _)| head.eq_ignore_ascii_case(prefix));
    meant.map(|(_, rest)| rest.to_owned()).into_iter().collect()
}

/// The values of a parameter. A `+` is a space or itself: not all senders encode.
pub(super) fn in_query(query: &str, name: &str) -> Vec<Readings> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .filter(|(raw, _)| is_named(raw, name))
        .map(|(_, value)| {
            let spaced = percent_decode(value).map(Cow::into_owned);
            spaced.into_iter().chain(plus_kept(value)).collect()
        })
        .collect()
}

/// A segment of a path, where a `+` is itself.
pub(super) fn in_path(segment: &str) -> Readings {
    plus_kept(segment).into_iter().collect()
}

fn plus_kept(text: &str) -> Option<String> {
    percent_decode(&text.replace('+', "%2B")).map(Cow::into_owned)
}

/// Whether a parameter's name, as received, is this one.
pub(super) fn is_named(raw: &str, name: &str) -> bool {
    raw == name || percent_decode(raw).is_some_and(|decoded| decoded == name)
}
