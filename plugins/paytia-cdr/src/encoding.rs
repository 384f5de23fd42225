//! How a call record comes. Paytia does not document it, so every form that its other webhooks
//! have is read, by what is there and not by what `content-type` says of it.

mod multipart;

use std::borrow::Cow;

use plugin_sdk::{Inbound, Pairs, Redactor, Rejection, Traced};

use crate::record::{CARD_DIGITS_MIN, Field, Record, digits, is_searched};

/// A JSON object in a text in a field has two; of more nobody means it.
const LAYERS_MAX: usize = 2;

/// A text that is a piece of a traced one.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    within: &'a Traced<'a>,
    text: &'a str,
}

impl<'a> Piece<'a> {
    fn whole(within: &'a Traced<'a>) -> Self {
        Self { within, text: within.text().trim_ascii() }
    }

    fn is_json(self) -> bool {
        self.text.starts_with('{') || self.text.starts_with("\"{")
    }
}

/// The record, freed of what it was wrapped in.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    form: Form<'a>,
    /// Whether it is the body and nothing but the body that makes it.
    in_body: bool,
}

#[derive(Debug)]
enum Form<'a> {
    Object(Piece<'a>),
    Fields(Vec<(Piece<'a>, Piece<'a>)>),
}

/// Finds the record in the body, or in the query where there is no body.
pub(crate) fn find<T>(
    inbound: &Inbound,
    then: impl FnOnce(&Found<'_>) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    let body = Traced::body(inbound)?;
    if let Some(boundary) = multipart::boundary(&inbound.header("content-type")) {
        let piece = |text| Piece { within: &body, text };
        let fields = multipart::fields(body.text(), &boundary)?;
        let fields = fields.into_iter().map(|(name, value)| (piece(name), piece(value)));
        return of_fields(fields.collect(), false, then);
    }
    let whole = Piece::whole(&body);
    match whole.text.as_bytes() {
        [] => {
            let query = Traced::query(inbound);
            of_pairs(&query.pairs()?, false, then)
        }
        [b'{' | b'"' | b'[', ..] => of_json(whole, LAYERS_MAX, true, then),
        _ => of_pairs(&body.pairs()?, true, then),
    }
}

/// Collects the card numbers in the query of a request that has a body: nothing is read there, and
/// it is kept all the same.
pub(crate) fn search_query(inbound: &Inbound, cards: &mut Redactor) {
    let has_body = inbound.text().map_or(true, |text| !text.trim_ascii().is_empty());
    if has_body {
        search_pairs(&Traced::query(inbound), cards);
    }
}

/// Collects the card numbers in a request that holds no record, or none that can be read.
pub(crate) fn search_unread(inbound: &Inbound, cards: &mut Redactor) {
    match Traced::body(inbound) {
        Ok(body) => search_text(&body, cards),
        Err(_) if digits(inbound.body()) >= CARD_DIGITS_MIN => cards.body(inbound),
        Err(_) => {}
    }
    search_pairs(&Traced::query(inbound), cards);
}

fn search_pairs(pairs: &Traced<'_>, cards: &mut Redactor) {
    if cards.cards_in_pairs(pairs, is_searched).is_err() {
        search_text(pairs, cards);
    }
}

/// Where digits may be written as escapes, nobody knows which, what holds enough of them to be a
/// card number is masked as a whole.
fn search_text(within: &Traced<'_>, cards: &mut Redactor) {
    let text = within.text();
    let is_form =
        !["{", "[", "\"", "--"].iter().any(|begin| text.trim_ascii_start().starts_with(begin));
    let escapes: &[char] = if is_form { &['\\', '%', '+'] } else { &['\\'] };
    if text.contains(escapes) && digits(text.as_bytes()) >= CARD_DIGITS_MIN {
        cards.text(within, text);
    } else {
        cards.cards(within, text);
    }
}

fn of_json<T>(
    piece: Piece<'_>,
    layers: usize,
    in_body: bool,
    then: impl FnOnce(&Found<'_>) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    if piece.text.starts_with('{') {
        return then(&Found { form: Form::Object(piece), in_body });
    }
    let inner = if layers == 0 { None } else { piece.within.string(piece.text) };
    let inner = inner.ok_or_else(|| {
        Rejection::malformed_body("the body is not a JSON object, nor a text that holds one")
    })?;
    of_json(Piece::whole(&inner), layers - 1, in_body, then)
}

fn of_pairs<T>(
    pairs: &[(Traced<'_>, Traced<'_>)],
    in_body: bool,
    then: impl FnOnce(&Found<'_>) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    let piece = |within| Piece { within, text: within.text() };
    let fields = pairs.iter().map(|(name, value)| (piece(name), piece(value)));
    of_fields(fields.collect(), in_body, then)
}

/// The object that is the only field's value or name, else the fields.
fn of_fields<T>(
    fields: Vec<(Piece<'_>, Piece<'_>)>,
    in_body: bool,
    then: impl FnOnce(&Found<'_>) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    if let [(name, value)] = fields.as_slice() {
        let wrapped = if value.text.is_empty() { name } else { value };
        let wrapped = Piece { text: wrapped.text.trim_ascii(), ..*wrapped };
        if wrapped.is_json() && Field::find(name.text).is_none() {
            return of_json(wrapped, LAYERS_MAX - 1, in_body, then);
        }
    }
    then(&Found { form: Form::Fields(fields), in_body })
}

impl Found<'_> {
    /// Its text as a JSON object: what was sent, or an object of the fields.
    pub(crate) fn object(&self) -> Result<Cow<'_, str>, Rejection> {
        match &self.form {
            Form::Object(piece) => Ok(Cow::Borrowed(piece.text)),
            Form::Fields(fields) => {
                let pairs = fields.iter().map(|(name, value)| (name.text, value.text));
                pairs.collect::<Pairs<'_>>().to_json().map(Cow::Owned)
            }
        }
    }

    /// Collects the card numbers in the fields of a form, whatever becomes of it. `false`: it is an
    /// object, and to be read first.
    pub(crate) fn search_fields(&self, cards: &mut Redactor) -> bool {
        let Form::Fields(fields) = &self.form else { return false };
        for (name, value) in fields.iter().filter(|(name, _)| is_searched(name.text)) {
            for piece in [name, value] {
                cards.cards(piece.within, piece.text);
            }
        }
        true
    }

    /// Collects the card numbers in an object. `record` was read from [`Self::object`].
    pub(crate) fn search_object(&self, record: &Record<'_>, cards: &mut Redactor) {
        let Form::Object(piece) = &self.form else { return };
        for literal in record.searched() {
            cards.cards_in_json(piece.within, literal);
        }
    }

    /// Whether two of them are the same where their bodies are. The boundary of a multipart body
    /// is another each time it is sent.
    pub(crate) const fn is_told_by_body(&self) -> bool {
        self.in_body
    }
}
