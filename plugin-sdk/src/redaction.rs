//! Values that must be kept nowhere: an adapter finds them, the gateway masks them.
//!
//! A [`Redactor`] collects pieces of the request and asks the gateway to mask them. Once a call
//! that asked has returned, the gateway runs the adapter again, on the request with `***` where
//! those pieces stood, and keeps what that run comes to: the stored request, `original` and all
//! that is made of it hold nothing of them. The second run is told the verdicts of the first, so
//! take them before you ask, and ask before you refuse: what is refused is kept for operators too.
//! Say in `describe` that you do it ([`crate::Description::redacts`]): then nothing of a body is
//! kept either that the adapter did not come to read. What makes a redelivery the same event must not depend on what is
//! masked: use [`Inbound::body_digest`](crate::Inbound::body_digest) for keys of whole bodies.

mod coding;
mod traced;

pub use traced::Traced;

use crate::{Inbound, Rejection, cards, host};
use coding::Coding;
use traced::Part;

/// A span that no part has: asking for it makes the gateway mask everything and end the call.
const NOWHERE: (u32, u32) = (u32::MAX, u32::MAX);

/// First byte, and first byte after.
type Span = (u32, u32);

/// Collects what is to be masked. Nothing is asked for until [`Self::ask`].
#[derive(Debug, Default)]
#[must_use = "nothing is masked unless it is asked for"]
pub struct Redactor {
    /// To become `***`, with the part they stand in.
    texts: Vec<(Part, Span)>,
    /// To become `null`.
    numbers: Vec<(Part, Span)>,
}

impl Redactor {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { texts: Vec::new(), numbers: Vec::new() }
    }

    /// Masks `piece`, which is a piece of the text: it becomes `***`.
    ///
    /// A piece of something else is a mistake in the adapter. As it cannot be masked, the gateway
    /// keeps nothing of the request, and the call ends as a trap.
    pub fn text(&mut self, of: &Traced<'_>, piece: &str) {
        let span = of.find(piece).map(|range| of.locate(range));
        push(&mut self.texts, span);
    }

    /// Masks the whole body, whatever it is: for what cannot be read, and so not be searched.
    pub fn body(&mut self, inbound: &Inbound) {
        let length = inbound.body().len();
        if length > 0 {
            push(&mut self.texts, Some((Part::Body, 0..length)));
        }
    }

    /// Whether nothing was found so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.numbers.is_empty()
    }

    /// Masks one JSON value, which is a piece of the text: what a string holds becomes `***`,
    /// anything else `null`.
    pub fn value(&mut self, of: &Traced<'_>, literal: &str) {
        match literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => self.text(of, inner),
            None => push(&mut self.numbers, of.find(literal).map(|range| of.locate(range))),
        }
    }

    /// Masks every card number (see [`cards::find`]) in `piece`, which is a piece of the text.
    /// Returns how many there were.
    pub fn cards(&mut self, of: &Traced<'_>, piece: &str) -> usize {
        let found = cards::find(piece);
        for card in &found {
            let span = of
                .find(piece)
                .map(|range| of.locate(range.start + card.start..range.start + card.end));
            push(&mut self.texts, span);
        }
        found.len()
    }

    /// Masks every card number in a JSON value, however deep, which is a piece of the text: in
    /// its strings and names, and whole where a number holds one. Returns how many there were.
    pub fn cards_in_json(&mut self, of: &Traced<'_>, literal: &str) -> usize {
        let mut found = 0;
        let mut rest = literal;
        while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
            let token = rest.get(start..).unwrap_or_default();
            let length = if token.starts_with('"') {
                let inner = string_inner(token);
                found += self.cards_in_string(of, inner);
                inner.len() + 2
            } else {
                let end =
                    token.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'));
                let number = token.get(..end.unwrap_or(token.len())).unwrap_or_default();
                if !cards::find(number).is_empty() {
                    found += 1;
                    self.value(of, number);
                }
                number.len()
            };
            rest = token.get(length..).unwrap_or_default();
        }
        found
    }

    /// Masks every card number in the members of the JSON object that the text is, names and
    /// values, where `searched` says so of the (decoded) name. Returns how many there were.
    ///
    /// # Errors
    ///
    /// 400 where the text is not a JSON object, as [`crate::Inbound::json`] says.
    pub fn cards_in_members(
        &mut self,
        object: &Traced<'_>,
        searched: impl Fn(&str) -> bool,
    ) -> Result<usize, Rejection> {
        let mut found = 0;
        for (name, value) in object.members()?.0 {
            let name = name.get();
            let wanted = object.string(name).is_none_or(|name| searched(name.text()));
            if wanted {
                found += self.cards_in_json(object, name) + self.cards_in_json(object, value.get());
            }
        }
        Ok(found)
    }

    /// Masks every card number in the pairs of the form (or query) that the text is, names and
    /// values, where `searched` says so of the (decoded) name. Returns how many there were.
    ///
    /// # Errors
    ///
    /// 400 where a pair does not decode to UTF-8.
    pub fn cards_in_pairs(
        &mut self,
        form: &Traced<'_>,
        searched: impl Fn(&str) -> bool,
    ) -> Result<usize, Rejection> {
        let mut found = 0;
        for (name, value) in form.pairs()? {
            if searched(name.text()) {
                found += self.cards(&name, name.text()) + self.cards(&value, value.text());
            }
        }
        Ok(found)
    }

    /// Asks the gateway to mask all of it. `true`: there was something, and the call will run
    /// again, so that its outcome need not be made now.
    pub fn ask(self) -> bool {
        let asked = !self.is_empty();
        let Self { texts, numbers } = self;
        for (mask, spans) in [("text", texts), ("number", numbers)] {
            for part in [Part::Body, Part::Query] {
                let of_part = spans.iter().filter(|(each, _)| *each == part);
                let of_part: Vec<_> = of_part.map(|(_, span)| *span).collect();
                if !of_part.is_empty() {
                    host::redact(part.as_str(), mask, &of_part);
                }
            }
        }
        asked
    }

    /// `inner`: what stands between the quotes of a string.
    fn cards_in_string(&mut self, of: &Traced<'_>, inner: &str) -> usize {
        if !inner.contains('\\') {
            return self.cards(of, inner);
        }
        let decoded = of.find(inner).and_then(|range| of.inner(range.start, inner, Coding::Json));
        match decoded {
            Some(string) => self.cards(&string, string.text()),
            // What cannot be read cannot be searched.
            None => {
                self.text(of, inner);
                1
            }
        }
    }
}

fn push(spans: &mut Vec<(Part, Span)>, located: Option<(Part, std::ops::Range<usize>)>) {
    let span = |range: std::ops::Range<usize>| {
        Some((u32::try_from(range.start).ok()?, u32::try_from(range.end).ok()?))
    };
    spans.push(match located {
        Some((part, range)) => (part, span(range).unwrap_or(NOWHERE)),
        None => (Part::Body, NOWHERE),
    });
}

/// What stands between the quotes of the string that `token` begins with.
fn string_inner(token: &str) -> &str {
    let bytes = token.as_bytes();
    let mut end = 1;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'"' => break,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    token.get(1..end.min(token.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests;
