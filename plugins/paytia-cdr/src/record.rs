use std::borrow::Cow;
use std::fmt;

use plugin_sdk::{Loose, Rejection};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// No card number has fewer.
pub(crate) const CARD_DIGITS_MIN: usize = 13;

/// A field of Paytia's document, with its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// Where the call comes from: `customer` or `merchant`.
    Originator,
    /// The number that was called.
    Inddi,
    /// The number that called.
    Incli,
    /// State of the inbound leg.
    Instate,
    /// When the inbound leg started.
    Intimes,
    /// When the inbound leg ended.
    Intimee,
    /// The number that Paytia calls.
    Outddi,
    /// The number that Paytia presents.
    Outcli,
    /// State of the outbound leg.
    Outstate,
    /// When the outbound leg started.
    Outtimes,
    /// When the outbound leg ended.
    Outtimee,
    /// When the outbound leg was answered.
    Outtimea,
    /// State of the call as Paytia handles it.
    State,
    /// Progress through Paytia's IVR services.
    Statevalue,
    /// The agent who performed a service.
    AgentId,
    /// The leg that ended the call: `in` or `out`.
    HangFirstDir,
    /// Who hung up first: `local` or `remote`.
    HangFirstEnd,
    /// SIP error messages.
    HangOutCause,
}

impl Field {
    /// In the order of the variants.
    const ALL: [(Self, &'static str); 18] = [
        (Self::Originator, "originator"),
        (Self::Inddi, "inddi"),
        (Self::Incli, "incli"),
        (Self::Instate, "instate"),
        (Self::Intimes, "intimes"),
        (Self::Intimee, "intimee"),
        (Self::Outddi, "outddi"),
        (Self::Outcli, "outcli"),
        (Self::Outstate, "outstate"),
        (Self::Outtimes, "outtimes"),
        (Self::Outtimee, "outtimee"),
        (Self::Outtimea, "outtimea"),
        (Self::State, "state"),
        (Self::Statevalue, "statevalue"),
        (Self::AgentId, "agent_id"),
        (Self::HangFirstDir, "hangFirstDir"),
        (Self::HangFirstEnd, "hangFirstEnd"),
        (Self::HangOutCause, "hangOutCause"),
    ];

    /// Its name in Paytia's document.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("", |(_, name)| name)
    }

    /// Finds a field as Paytia's own pages write it: `agent ID`, `Intimes`, `hang-first-dir`. Case,
    /// white space, `_` and `-` do not matter.
    #[must_use]
    pub fn find(key: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(_, name)| letters(name).eq(letters(key)))
            .map(|(field, _)| field)
    }
}

fn letters(key: &str) -> impl Iterator<Item = u8> {
    key.bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'_' | b'-'))
        .map(|byte| byte.to_ascii_lowercase())
}

/// A call record: the values of the documented fields. None is sure to be there.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    values: [Loose<'a>; Field::ALL.len()],
    /// A bit for each field that is there, `null` or not.
    present: u32,
    /// Fields that stand more than once, in whatever spelling.
    repeated: u32,
    searched: Vec<&'a str>,
}

impl<'a> Record<'a> {
    /// The value of a field; the first, where it stands more than once.
    #[must_use]
    pub fn value(&self, field: Field) -> Loose<'a> {
        self.values.get(field as usize).copied().unwrap_or_default()
    }

    /// Whether no field of Paytia's document is there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// The fields that stand more than once.
    pub fn repeated(&self) -> impl Iterator<Item = Field> {
        Field::ALL
            .into_iter()
            .map(|(field, _)| field)
            .filter(|field| self.repeated & field.bit() != 0)
    }

    /// Refuses what two readers may read differently: for signed bodies.
    ///
    /// # Errors
    ///
    /// 400 `duplicate_key`.
    pub fn refuse_repeated(&self) -> Result<(), Rejection> {
        match self.repeated {
            0 => Ok(()),
            _ => Err(Rejection::new(400, "duplicate_key", "a field stands more than once")),
        }
    }

    /// What may hold card numbers, each as it stands in the text that was read: Paytia's free
    /// text, whatever the document does not know, and objects where it has plain values.
    pub(crate) fn searched(&self) -> impl Iterator<Item = &'a str> {
        // Few fields hold more digits than a time.
        self.searched.iter().copied().filter(|literal| may_hold_card(literal))
    }

    fn add<E: de::Error>(&mut self, key: &'a str, value: &'a RawValue) -> Result<(), E> {
        let literal = value.get();
        let found = Field::find(&key_text::<E>(key)?);
        let Some(field) = found else {
            self.searched.extend([key, literal]);
            return Ok(());
        };
        if field == Field::Statevalue || literal.starts_with(['{', '[']) {
            self.searched.push(literal);
        }
        if self.present & field.bit() != 0 {
            self.repeated |= field.bit();
        } else if let Some(place) = self.values.get_mut(field as usize) {
            *place = Loose::from(value);
        }
        self.present |= field.bit();
        Ok(())
    }
}

/// Whether a JSON value has the digits of a card number, or escapes that may be some.
fn may_hold_card(literal: &str) -> bool {
    digits(literal.as_bytes()) >= CARD_DIGITS_MIN || literal.contains('\\')
}

/// How many there are.
pub(crate) fn digits(text: &[u8]) -> usize {
    text.iter().filter(|byte| byte.is_ascii_digit()).count()
}

impl Field {
    const fn bit(self) -> u32 {
        1 << self as usize
    }
}

/// Whether card numbers are masked in this field: where Paytia's free text is, and in fields that
/// the document does not know. Times, ids and telephone numbers are as long as card numbers, and
/// every tenth would be taken for one.
pub(crate) fn is_searched(key: &str) -> bool {
    matches!(Field::find(key), None | Some(Field::Statevalue))
}

impl<'de: 'a, 'a> Deserialize<'de> for Record<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(Self::default()))
    }
}

struct Members<'a>(Record<'a>);

impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
    type Value = Record<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<Self::Value, M::Error> {
        while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            self.0.add(key.get(), value)?;
        }
        Ok(self.0)
    }
}

/// The text of a key; most have no escapes.
fn key_text<E: de::Error>(literal: &str) -> Result<Cow<'_, str>, E> {
    let plain = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match plain.filter(|plain| !plain.contains('\\')) {
        Some(plain) => Ok(Cow::Borrowed(plain)),
        None => serde_json::from_str(literal).map(Cow::Owned).map_err(E::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_in_every_spelling() {
        for (place, (field, name)) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, place);
            assert_eq!(field.name(), name);
            let spaced: String = name.chars().flat_map(|letter| [letter, ' ']).collect();
            for spelling in
                [name.to_owned(), name.to_uppercase(), format!("-{name}_"), spaced.to_lowercase()]
            {
                assert_eq!(Field::find(&spelling), Some(field), "{spelling}");
            }
        }
        for (spelling, field) in [
            ("agent ID", Some(Field::AgentId)),
            ("AgentId", Some(Field::AgentId)),
            ("hang-first-dir", Some(Field::HangFirstDir)),
            ("Hang Out Cause", Some(Field::HangOutCause)),
            ("pan_digit", None),
            ("", None),
            ("intimess", None),
            ("in.times", None),
            ("ıntimes", None),
        ] {
            assert_eq!(Field::find(spelling), field, "{spelling}");
        }
    }

    #[test]
    fn card_numbers_are_looked_for_where_they_may_be_and_nowhere_else() {
        let text = r#"{"intimes":1767323045678,"inddi":"4111111111111111","statevalue":"1234567890123",
            "STATEVALUE":"9876543210987","pan_digit":4111111111111111,"1234567890124":null,"x":"1",
            "agent_id":["4111111111111111"],"y":"\u0034"}"#;
        let record: Record<'_> = serde_json::from_str(text).unwrap();
        let expected = [
            "\"1234567890123\"",
            "\"9876543210987\"",
            "4111111111111111",
            "\"1234567890124\"",
            "[\"4111111111111111\"]",
            "\"\\u0034\"",
        ];
        assert_eq!(record.searched().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_first_of_repeated_fields_counts_and_unknown_ones_are_skipped() {
        let text = r#"{"state":"a","x":{"state":"b"},"STATE":"c","in_times":null}"#;
        let record: Record<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(record.value(Field::State).literal(), Some("\"a\""));
        assert!(record.value(Field::Intimes).is_absent());
        assert_eq!(record.repeated().collect::<Vec<_>>(), [Field::State]);
        assert!(!record.is_empty());
        let record: Record<'_> = serde_json::from_str(r#"{"\u0073tate":1,"y":1}"#).unwrap();
        assert_eq!(record.value(Field::State).literal(), Some("1"));
        let record: Record<'_> = serde_json::from_str(r#"{"y":1}"#).unwrap();
        assert!(record.is_empty());
        assert!(serde_json::from_str::<Record<'_>>("[]").is_err());
    }
}
