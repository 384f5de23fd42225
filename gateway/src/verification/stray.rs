//! Credentials where none is expected: a secret in a header of another name, a copy of the URL
//! that a proxy adds, a password that was meant for somebody on the way.
//!
//! Nothing is verified by them: they are masked and forgotten.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

use smol_str::SmolStr;
use zeroize::Zeroizing;

use super::fields::{after_prefix, is_named, pairs, percent_decode};
use super::{MASK, Role};
use crate::config::Secret;
use crate::model::{RequestHead, Travels};

/// Headers that carry credentials, whoever they are meant for.
const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Schemes of `authorization` that are a password or its like (RFC 7617, RFC 6750), and no code
/// over the request.
const PASSWORD_SCHEMES: [&str; 2] = ["Basic ", "Bearer "];

/// Shortest text of a URL that is taken out wherever it stands, in bytes: in what is shorter, as
/// `json`, it is a segment or a value of its own, or something else.
const ANYWHERE_BYTES_MIN: usize = 8;

/// What a route has to know to find credentials that stray.
pub(super) struct Strays {
    /// Drawn for this route: neither a hash nor the time of a comparison tells a sender anything
    /// of the value.
    key: RandomState,
    /// Of every value of every secret.
    values: Vec<u64>,
    /// What may stand before a value.
    prefixes: Vec<String>,
    /// The adapter may read a code from `authorization`: where it stands nobody declares.
    has_key: bool,
}

impl Strays {
    pub(super) fn of<'r>(
        roles: impl Iterator<Item = &'r Role> + Clone,
        token: Option<&Secret>,
    ) -> Self {
        let key = RandomState::new();
        let secrets = roles.clone().filter_map(|role| role.secret.as_ref()).chain(token);
        let versions = secrets.flat_map(|secret| secret.versions.iter());
        let values = versions.map(|version| {
            // As the texts of a head are: bytes outside UTF-8 have become U+FFFD.
            key.hash_one(String::from_utf8_lossy(version.value.expose()).as_bytes())
        });
        let values = values.collect();
        let prefixes = roles.clone().filter_map(|role| match &role.travels {
            Travels::Header { prefix, .. } if !prefix.is_empty() => Some(prefix.clone()),
            Travels::Header { .. } | Travels::Query { .. } | Travels::Body | Travels::Key => None,
        });
        let prefixes = prefixes.collect();
        let has_key = roles
            .into_iter()
            .any(|role| matches!(role.travels, Travels::Key) && role.secret.is_some());
        Self { key, values, prefixes, has_key }
    }

    /// Masks what headers repeat of the URL's credentials. Before those are masked themselves.
    pub(super) fn mask_copies<'r>(
        head: &mut RequestHead,
        token_segment: Option<Range<usize>>,
        roles: impl Iterator<Item = &'r Role>,
    ) {
        let RequestHead { path, query, headers, .. } = head;
        if let Some(token) = token_segment.and_then(|segment| path.get(segment)) {
            let copied = Copied::of(token, false);
            headers.iter_mut().for_each(|(_, value)| copied.mask(value));
            if let Some(masked) = query.as_ref().and_then(|query| copied.masked(query)) {
                *query = Some(masked);
            }
        }
        for role in roles {
            let Travels::Query { name, .. } = &role.travels else { continue };
            let query = query.as_deref().unwrap_or_default();
            let values = pairs(query).filter(|(raw_name, _)| is_named(raw_name, name));
            for value in values.filter_map(|(_, value)| value) {
                let copied = Copied::of(value, true);
                headers.iter_mut().for_each(|(_, value)| copied.mask(value));
            }
        }
    }

    /// Masks every value that is one of the route's secrets, and what carries credentials by its
    /// nature. After all that is declared was masked.
    pub(super) fn mask_rest(&self, head: &mut RequestHead) {
        for (name, value) in &mut head.headers {
            if value != MASK && (self.is_credential(name, value) || self.is_secret(value)) {
                *value = SmolStr::new_static(MASK);
            }
        }
        if let Some(masked) = head.query.as_ref().and_then(|query| self.masked_query(query)) {
            head.query = Some(masked);
        }
    }

    /// A route with a key may have its code in `authorization`, under a scheme of the provider's.
    fn is_credential(&self, name: &str, value: &str) -> bool {
        let listed = CREDENTIAL_HEADERS.iter().any(|each| name.eq_ignore_ascii_case(each));
        let may_be_code = self.has_key && name.eq_ignore_ascii_case("authorization");
        let is_password =
            || PASSWORD_SCHEMES.iter().any(|scheme| after_prefix(value, scheme).is_some());
        listed && (!may_be_code || is_password())
    }

    /// Whether a header's value is a secret, alone or after a scheme or a role's prefix.
    fn is_secret(&self, value: &str) -> bool {
        let after_scheme = value.split_once(' ').map(|(_, rest)| rest);
        let after = self.prefixes.iter().filter_map(|prefix| after_prefix(value, prefix));
        self.holds(value.as_bytes())
            || after.chain(after_scheme).any(|rest| self.holds(rest.as_bytes()))
    }

    fn holds(&self, text: &[u8]) -> bool {
        !text.is_empty() && self.values.contains(&self.key.hash_one(text))
    }

    /// The query, where it has something to mask: names too, for `?<secret>`.
    fn masked_query(&self, query: &str) -> Option<String> {
        let is_secret = |raw: &str| {
            let decoded = |form| Zeroizing::new(percent_decode(raw.as_bytes(), form));
            self.holds(raw.as_bytes())
                || (raw.contains(['%', '+'])
                    && [true, false].into_iter().any(|form| self.holds(&decoded(form))))
        };
        let found =
            |(name, value): (&str, Option<&str>)| is_secret(name) || value.is_some_and(is_secret);
        if !pairs(query).any(found) {
            return None;
        }
        let masked = |raw| if is_secret(raw) { MASK } else { raw };
        let masked: Vec<String> = pairs(query)
            .map(|(name, value)| match value {
                Some(value) => format!("{}={}", masked(name), masked(value)),
                None => masked(name).to_owned(),
            })
            .collect();
        Some(masked.join("&"))
    }
}

/// A credential as the URL has it, and as others may write it. The sender's own text: looking for
/// it tells nothing of ours.
struct Copied<'t> {
    raw: &'t str,
    /// Where it reads otherwise.
    decoded: Option<Zeroizing<String>>,
}

impl<'t> Copied<'t> {
    fn of(raw: &'t str, form: bool) -> Self {
        let decoded = raw.contains(['%', '+']).then(|| percent_decode(raw.as_bytes(), form));
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(Zeroizing::new);
        Self { raw, decoded: decoded.filter(|decoded| decoded.as_str() != raw) }
    }

    fn mask(&self, value: &mut SmolStr) {
        if let Some(masked) = self.masked(value) {
            *value = masked.into();
        }
    }

    fn masked(&self, text: &str) -> Option<String> {
        let raw = without(text, self.raw);
        let decoded = self.decoded.as_ref();
        let both = decoded.and_then(|decoded| without(raw.as_deref().unwrap_or(text), decoded));
        both.or(raw)
    }
}

/// `text` with the mask for each `credential` in it, where there is one.
fn without(text: &str, credential: &str) -> Option<String> {
    if credential.is_empty() || text.len() < credential.len() {
        return None;
    }
    let anywhere = credential.len() >= ANYWHERE_BYTES_MIN;
    let ends = |edge: Option<char>| edge.is_none_or(|edge| "/?#&=;, \"".contains(edge));
    let mut masked = String::new();
    let mut kept = 0;
    for (start, _) in text.match_indices(credential) {
        let end = start + credential.len();
        let (before, after) = (text.get(..start)?, text.get(end..)?);
        if anywhere || (ends(before.chars().next_back()) && ends(after.chars().next())) {
            masked.push_str(text.get(kept..start)?);
            masked.push_str(MASK);
            kept = end;
        }
    }
    if kept == 0 {
        return None;
    }
    masked.push_str(text.get(kept..)?);
    Some(masked)
}
