//! Taking the credentials out of a request's head.

use std::fmt;
use std::ops::Range;

use smol_str::SmolStr;
use zeroize::Zeroizing;

use super::fields::{after_prefix, is_named, pairs, percent_decode};
use super::stray::Strays;
use super::{MASK, RouteSecrets};
use crate::model::{KeyedDigest, RequestHead, Travels};

/// The credentials that one request carried, taken out of its head when it was masked: as keyed
/// digests, never the values themselves. They can be compared with today's secrets, and again when
/// a secret was corrected.
#[derive(Clone, Default)]
pub struct Presented {
    /// Every value found where a secret travels, with the secret's role.
    carried: Vec<(SmolStr, Carried)>,
    /// The `{token}` segment, percent-decoded.
    token: Option<Reading>,
}

/// One value found where a secret travels.
#[derive(Clone)]
pub(super) enum Carried {
    /// It lacks the prefix, so that nothing is compared with it: as received.
    Bare(KeyedDigest),
    Meant(Reading),
    /// What the sender may have meant by it, the likelier one last.
    Either([Reading; 2]),
}

impl Carried {
    pub(super) const fn readings(&self) -> &[Reading] {
        match self {
            Self::Bare(_) => &[],
            Self::Meant(reading) => std::slice::from_ref(reading),
            Self::Either(readings) => readings,
        }
    }

    /// The digest of what is likeliest meant.
    pub(super) const fn likeliest(&self) -> KeyedDigest {
        match self {
            Self::Bare(digest) => *digest,
            Self::Meant(reading) | Self::Either([_, reading]) => reading.digest,
        }
    }
}

/// What a value may mean.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) digest: KeyedDigest,
    /// Nothing is compared with it.
    pub(super) is_empty: bool,
}

impl Presented {
    pub(super) const fn token(&self) -> Option<Reading> {
        self.token
    }

    /// What it takes in memory, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.carried.capacity() * size_of::<(SmolStr, Carried)>()
    }

    /// The values found where the secret of this role travels.
    pub(super) fn of(&self, role: &str) -> impl Iterator<Item = &Carried> {
        self.carried.iter().filter(move |(of, _)| of == role).map(|(_, carried)| carried)
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles: Vec<_> = self.carried.iter().map(|(role, _)| role).collect();
        f.debug_struct("Presented").field("roles", &roles).finish_non_exhaustive()
    }
}

impl RouteSecrets {
    /// Takes the credentials out of a head: what remains reads `***` where they stood, a prefix
    /// such as `Bearer ` included, and is otherwise unchanged byte for byte. `token_segment`: the
    /// byte range of the `{token}` segment in the path, where the route has one.
    ///
    /// Presented is what stands where it is declared to. What strays (see [`super::stray`]) is
    /// masked and no more.
    #[must_use]
    pub fn mask(
        &self,
        mut head: RequestHead,
        token_segment: Option<Range<usize>>,
    ) -> (RequestHead, Presented) {
        let mut presented = Presented::default();
        Strays::mask_copies(&mut head, token_segment.clone(), self.roles.values());
        if let Some(segment) = token_segment {
            presented.token = Some(self.reading(&take_token(&mut head.path, segment)));
        }
        // All are read before any is masked: two roles may travel in one header.
        for (role, bound) in &self.roles {
            let found = |carried| (role.clone(), carried);
            match &bound.travels {
                Travels::Header { name, prefix, .. } => {
                    presented.carried.extend(self.in_headers(&head, name, prefix).map(found));
                }
                Travels::Query { name, .. } => {
                    let query = head.query.as_deref().unwrap_or_default();
                    presented.carried.extend(self.in_query(query, name).map(found));
                }
                Travels::Body | Travels::Key => {}
            }
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
        self.strays.mask_rest(&mut head);
        (head, presented)
    }

    pub(super) fn reading(&self, value: &[u8]) -> Reading {
        Reading { digest: self.digest(value), is_empty: value.is_empty() }
    }

    fn in_headers(
        &self,
        head: &RequestHead,
        name: &str,
        prefix: &str,
    ) -> impl Iterator<Item = Carried> {
        let named = head.headers.iter().filter(move |(each, _)| each.eq_ignore_ascii_case(name));
        named.map(move |(_, value)| match after_prefix(value, prefix) {
            Some(meant) => Carried::Meant(self.reading(meant.as_bytes())),
            None => Carried::Bare(self.digest(value.as_bytes())),
        })
    }

    fn in_query(&self, query: &str, name: &str) -> impl Iterator<Item = Carried> {
        let named = pairs(query).filter(move |(raw_name, _)| is_named(raw_name, name));
        named.map(|(_, value)| {
            let value = value.unwrap_or_default().as_bytes();
            let reading = |form| self.reading(&Zeroizing::new(percent_decode(value, form)));
            // Forms write a space as `+`, and senders who do not encode leave a `+` of the
            // secret (in base64, say) as it is. Both readings are one presented value.
            if value.contains(&b'+') {
                Carried::Either([reading(true), reading(false)])
            } else {
                Carried::Meant(reading(true))
            }
        })
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

fn mask_headers(head: &mut RequestHead, name: &str) {
    for (each, value) in &mut head.headers {
        if each.eq_ignore_ascii_case(name) {
            *value = SmolStr::new_static(MASK);
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
