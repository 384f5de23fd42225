use std::borrow::Cow;

use super::{Loose, Object, Unreadable};
use crate::{Country, Money, Telephone, Time, Warning, Zone};

/// Reads loose values and keeps a warning for each that cannot be read: it is then absent.
///
/// `field` is the provider's name for the value, for the warning.
#[derive(Debug, Default)]
pub struct Reader {
    warnings: Vec<Warning>,
}

impl Reader {
    #[must_use]
    pub const fn new() -> Self {
        Self { warnings: Vec::new() }
    }

    /// The warnings so far; for [`crate::Event::warnings`].
    #[must_use]
    pub fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }

    /// Keeps a warning of the adapter's own. Of a field that stands many times, as in each item of a
    /// list, the same is told once: a hostile list must not cost more than it is long.
    pub fn warn(&mut self, code: &'static str, field: &'static str, detail: &'static str) {
        let warning = Warning::new(code, field, detail);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Takes what was read, or keeps the warning.
    pub fn take<T>(
        &mut self,
        field: &'static str,
        read: Result<Option<T>, Unreadable>,
    ) -> Option<T> {
        read.unwrap_or_else(|Unreadable { code, detail }| {
            self.warn(code, field, detail);
            None
        })
    }

    /// A text, or the literal of a number: names, ids, codes.
    pub fn text<'a>(&mut self, field: &'static str, value: Loose<'a>) -> Option<Cow<'a, str>> {
        self.take(field, value.text())
    }

    pub fn boolean(&mut self, field: &'static str, value: Loose<'_>) -> Option<bool> {
        self.take(field, value.boolean())
    }

    pub fn integer(&mut self, field: &'static str, value: Loose<'_>) -> Option<i64> {
        self.take(field, value.integer())
    }

    /// An instant; `assumed` is the zone of texts that name none, where one may be assumed.
    pub fn time(
        &mut self,
        field: &'static str,
        value: Loose<'_>,
        assumed: Option<Zone>,
    ) -> Option<Time> {
        self.take(field, value.time(assumed))
    }

    /// A telephone number; `home` is the country of numbers that name none. One that cannot be
    /// read keeps its text and gets a warning; a withheld one gets none.
    pub fn telephone<'a>(
        &mut self,
        field: &'static str,
        value: Loose<'a>,
        home: Option<Country>,
    ) -> Option<Telephone<'a>> {
        let telephone = self.take(field, value.telephone(home))?;
        if let Some(Unreadable { code, detail }) = telephone.doubt() {
            self.warn(code, field, detail);
        }
        Some(telephone)
    }

    /// An amount in `currency`, exactly.
    pub fn money<'a>(
        &mut self,
        field: &'static str,
        value: Loose<'a>,
        currency: Option<&str>,
    ) -> Option<Money<'a>> {
        let money = self.take(field, value.money(currency))?;
        if money.is_finer_than_minor_units() {
            self.warn("sub_minor_amount", field, "finer than the currency's smallest unit");
        }
        Some(money)
    }

    /// A nested object.
    pub fn object<T>(&mut self, field: &'static str, value: Object<T>) -> Option<T> {
        if value.unexpected {
            self.warn("unexpected_type", field, "not an object");
        }
        value.into_value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_doubt_is_told_once_however_often_it_is_had() {
        let mut read = Reader::new();
        for (code, field) in [("odd", "a.b"), ("odd", "a.c"), ("odd", "a.b"), ("even", "a.b")] {
            read.warn(code, field, "no");
        }
        let told = |code, field| Warning::new(code, field, "no");
        let expected = [told("odd", "a.b"), told("odd", "a.c"), told("even", "a.b")];
        assert_eq!(read.into_warnings(), expected);
    }
}
