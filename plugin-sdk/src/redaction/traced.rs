use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::coding::{Coding, Place};
use crate::{Inbound, Rejection, inbound, json};

/// Which part of the request a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Body,
    Query,
}

impl Part {
    /// The word in the contract.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Query => "query",
        }
    }
}

/// A text of the request that knows where it stands in it, however it was decoded since.
///
/// What is read from [`Self::text`] (a [`crate::Loose`], a slice) can be given to a
/// [`super::Redactor`], which finds the bytes as they were received.
#[derive(Clone, Debug)]
pub struct Traced<'a> {
    text: Cow<'a, str>,
    origin: Origin<'a>,
    /// Up to where [`Self::locate`] has walked.
    place: Cell<Place>,
}

#[derive(Clone, Copy, Debug)]
enum Origin<'a> {
    /// The part itself, from a byte on.
    Part(Part, usize),
    /// Decoded from what stands in another text from a byte on.
    Inner { outer: &'a Traced<'a>, start: usize, raw: &'a str, coding: Coding },
}

impl<'a> Traced<'a> {
    /// The body, without a byte order mark.
    ///
    /// # Errors
    ///
    /// 400 where it is not UTF-8.
    pub fn body(inbound: &'a Inbound) -> Result<Self, Rejection> {
        let text = inbound.text()?;
        let origin = Origin::Part(Part::Body, inbound.body().len() - text.len());
        Ok(Self { text: Cow::Borrowed(text), origin, place: Cell::default() })
    }

    /// The query; empty where there is none.
    #[must_use]
    pub fn query(inbound: &'a Inbound) -> Self {
        let text = Cow::Borrowed(inbound.query().unwrap_or_default());
        Self { text, origin: Origin::Part(Part::Query, 0), place: Cell::default() }
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names and values of the form (or query) that this text is, decoded, in order. A line's
    /// end behind it is no part of it.
    ///
    /// # Errors
    ///
    /// 400 where one does not decode to UTF-8, and where there are more than
    /// [`PAIRS_MAX`](crate::PAIRS_MAX).
    pub fn pairs(&self) -> Result<Vec<(Traced<'_>, Traced<'_>)>, Rejection> {
        let text = inbound::form_text(&self.text);
        if inbound::has_too_many_pairs(text) {
            return Err(Rejection::malformed_body("too many fields"));
        }
        let mut pairs = Vec::new();
        let mut start = 0;
        for piece in text.split('&') {
            if !piece.is_empty() {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                let decoded = |start, raw| {
                    self.inner(start, raw, Coding::Form)
                        .ok_or_else(|| Rejection::malformed_body("the form is not UTF-8"))
                };
                let value_at = start + piece.len() - value.len();
                pairs.push((decoded(start, name)?, decoded(value_at, value)?));
            }
            start += piece.len() + 1;
        }
        Ok(pairs)
    }

    /// The text that a JSON string stands for. `literal` is a piece of this text, with its quotes.
    /// `None` where it is none.
    #[must_use]
    pub fn string(&self, literal: &str) -> Option<Traced<'_>> {
        let range = self.find(literal)?;
        let inner = self.text.get(range.start + 1..range.end.checked_sub(1)?)?;
        let quoted = literal.len() >= 2 && literal.starts_with('"') && literal.ends_with('"');
        quoted.then(|| self.inner(range.start + 1, inner, Coding::Json))?
    }

    /// The members of the JSON object that this text is: name and value as they stand in it.
    pub(super) fn members(&self) -> Result<Members<'_>, Rejection> {
        json::read_object(&self.text).map(|document| document.value)
    }

    pub(super) fn inner<'t>(
        &'t self,
        start: usize,
        raw: &'t str,
        coding: Coding,
    ) -> Option<Traced<'t>> {
        let origin = Origin::Inner { outer: self, start, raw, coding };
        Some(Traced { text: coding.decode(raw)?, origin, place: Cell::default() })
    }

    /// Where `piece` stands in this text; it must be a piece of it, not merely be equal to one.
    pub(super) fn find(&self, piece: &str) -> Option<Range<usize>> {
        if piece.is_empty() {
            return Some(0..0);
        }
        let start = piece.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        let range = start..start.checked_add(piece.len())?;
        (range.end <= self.text.len()).then_some(range)
    }

    /// The bytes of the request that a range of this text was made of. Of many ranges those in
    /// order cost one walk through each layer.
    pub(super) fn locate(&self, range: Range<usize>) -> (Part, Range<usize>) {
        match self.origin {
            Origin::Part(part, offset) => (part, range.start + offset..range.end + offset),
            Origin::Inner { outer, start, raw, coding } => {
                let range = coding.raw_range(raw, range, &self.place);
                outer.locate(range.start + start..range.end + start)
            }
        }
    }
}

/// Names and values of a JSON object, in order, as they stand in its text.
pub(super) struct Members<'a>(pub(super) Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Each)
    }
}
