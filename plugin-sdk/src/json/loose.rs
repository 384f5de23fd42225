use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{Country, Money, Telephone, Time, Zone};

/// One value of a provider's JSON, of whatever type it turns out to be.
///
/// Providers change a number into a string, send `""` for nothing and `0` for false; a field of
/// this type never fails the whole body. It borrows the text as received, so that number literals
/// are exact, and is read by a [`super::Reader`]. Absent and `null` are the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loose<'a>(Option<&'a RawValue>);

/// Why a value cannot be read as what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub code: &'static str,
    pub detail: &'static str,
}

impl Unreadable {
    pub(crate) const fn new(code: &'static str, detail: &'static str) -> Self {
        Self { code, detail }
    }
}

const NOT_PLAIN: Unreadable =
    Unreadable::new("unexpected_type", "a list or an object where a plain value was expected");
const NOT_BOOLEAN: Unreadable =
    Unreadable::new("unreadable_boolean", "none of true, false, 1 and 0");
const NOT_INTEGER: Unreadable = Unreadable::new("unreadable_integer", "not a whole number");

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::deserialize(from).map(Self)
    }
}

/// For adapters that read the members of an object themselves.
impl<'a> From<&'a RawValue> for Loose<'a> {
    fn from(value: &'a RawValue) -> Self {
        Self((value.get() != "null").then_some(value))
    }
}

impl Serialize for Loose<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

/// Passed on as it came: any JSON.
impl JsonSchema for Loose<'_> {
    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }

    fn inline_schema() -> bool {
        true
    }
}

impl<'a> Loose<'a> {
    /// Its JSON as received.
    #[must_use]
    pub fn literal(self) -> Option<&'a str> {
        self.0.map(RawValue::get)
    }

    /// Whether it is missing or `null`.
    #[must_use]
    pub const fn is_absent(self) -> bool {
        self.0.is_none()
    }

    /// Itself unless it says nothing: absent, `""`, `[]` or `{}`. For values that are passed on
    /// as they are.
    #[must_use]
    pub fn opaque(self) -> Option<Self> {
        let text = self.literal()?;
        let inner =
            text.strip_prefix(['[', '{', '"']).and_then(|rest| rest.strip_suffix([']', '}', '"']));
        (!inner.is_some_and(|inner| inner.trim_ascii().is_empty())).then_some(self)
    }

    /// Reads it as an object, where it is one: for values that are also passed on as they are.
    #[must_use]
    pub fn object<T: Deserialize<'a>>(self) -> Option<T> {
        let literal = self.literal().filter(|literal| literal.starts_with('{'))?;
        serde_json::from_str(literal).ok()
    }

    /// Reads it as a list, where it is one.
    #[must_use]
    pub fn list<T: Deserialize<'a>>(self) -> Option<Vec<T>> {
        let literal = self.literal().filter(|literal| literal.starts_with('['))?;
        serde_json::from_str(literal).ok()
    }

    /// A string, or the literal of a number or boolean; `""` is absent.
    ///
    /// # Errors
    ///
    /// Where it is a list or an object.
    pub fn text(self) -> Result<Option<Cow<'a, str>>, Unreadable> {
        let Some(literal) = self.literal() else { return Ok(None) };
        let text = match literal.as_bytes().first() {
            Some(b'"') => unquote(literal)?,
            Some(b'{' | b'[') => return Err(NOT_PLAIN),
            _ => Cow::Borrowed(literal),
        };
        Ok((!text.is_empty()).then_some(text))
    }

    /// A boolean in any of the spellings of loosely typed senders: `true`, `1`, `"1"`, `"true"`
    /// and their opposites. `""` is absent.
    ///
    /// # Errors
    ///
    /// Where it is anything else.
    pub fn boolean(self) -> Result<Option<bool>, Unreadable> {
        let Some(text) = self.text()? else { return Ok(None) };
        match text.as_ref() {
            "1" => Ok(Some(true)),
            "0" => Ok(Some(false)),
            text if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            text if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(NOT_BOOLEAN),
        }
    }

    /// A whole number, or a string that holds one. `""` is absent.
    ///
    /// # Errors
    ///
    /// Where it is anything else, or beyond 64 bits.
    pub fn integer(self) -> Result<Option<i64>, Unreadable> {
        let Some(text) = self.text()? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| NOT_INTEGER)
    }

    /// An amount of money, exactly; see [`Money`]. `""` is absent.
    ///
    /// # Errors
    ///
    /// Where it is anything else.
    pub fn money(self, currency: Option<&str>) -> Result<Option<Money<'a>>, Unreadable> {
        let Some(literal) = self.literal() else { return Ok(None) };
        let Some(text) = self.text()? else { return Ok(None) };
        if literal.starts_with('"') {
            Money::read(text, currency)
        } else {
            Money::read_number(text, currency)
        }
        .map(Some)
    }

    /// A telephone number; `home` is the country of numbers that name none. Blank is absent. One
    /// that is withheld or unreadable is there, with its text and without a number.
    ///
    /// # Errors
    ///
    /// Where it is a list or an object.
    pub fn telephone(self, home: Option<Country>) -> Result<Option<Telephone<'a>>, Unreadable> {
        let Some(literal) = self.literal() else { return Ok(None) };
        let Some(text) = self.text()? else { return Ok(None) };
        if literal.starts_with('"') {
            Ok(Telephone::read(text, home))
        } else {
            Ok(Some(Telephone::read_number(text, home)))
        }
    }

    /// An instant in any of the forms of [`Time`]. `""`, `0` and the zero date are absent.
    ///
    /// # Errors
    ///
    /// Where it is anything else.
    pub fn time(self, assumed: Option<Zone>) -> Result<Option<Time>, Unreadable> {
        match self.literal() {
            Some(literal) if literal.starts_with('{') => Time::read_php(literal),
            _ => self.text()?.map_or(Ok(None), |text| Time::read(&text, assumed)),
        }
    }
}

fn unquote(literal: &str) -> Result<Cow<'_, str>, Unreadable> {
    // Without a backslash the text between the quotes is the value.
    if let Some(inner) = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && !inner.bytes().any(|byte| byte == b'\\')
    {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(literal)
        .map(Cow::Owned)
        .map_err(|_| Unreadable::new("unreadable_text", "the text holds an invalid escape"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct One<'a> {
        #[serde(borrow)]
        v: Loose<'a>,
    }

    fn loose(text: &str) -> Loose<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn missing_null_and_empty_are_absent() {
        for text in ["{}", r#"{"v":null}"#, r#"{"v":""}"#] {
            let One { v } = serde_json::from_str(text).unwrap();
            assert_eq!(v.text(), Ok(None), "{text}");
            assert!(v.opaque().is_none());
        }
    }

    #[test]
    fn texts_borrow_and_numbers_keep_their_literal() {
        assert!(matches!(loose(r#""abc""#).text(), Ok(Some(Cow::Borrowed("abc")))));
        assert_eq!(loose(r#""a\u00e9\"""#).text().unwrap().unwrap(), "aé\"");
        assert_eq!(loose("1.50").text().unwrap().unwrap(), "1.50");
        assert_eq!(loose("12345678901234567890").text().unwrap().unwrap(), "12345678901234567890");
        assert_eq!(loose("[1]").text(), Err(NOT_PLAIN));
    }

    #[test]
    fn booleans_and_integers_in_every_spelling() {
        for (text, expected) in [
            ("true", Ok(Some(true))),
            ("1", Ok(Some(true))),
            ("\"1\"", Ok(Some(true))),
            ("\"TRUE\"", Ok(Some(true))),
            ("false", Ok(Some(false))),
            ("\"0\"", Ok(Some(false))),
            ("null", Ok(None)),
            ("2", Err(NOT_BOOLEAN)),
            ("\"yes\"", Err(NOT_BOOLEAN)),
        ] {
            assert_eq!(loose(text).boolean(), expected, "{text}");
        }
        for (text, expected) in [
            ("7", Ok(Some(7))),
            ("\"-7\"", Ok(Some(-7))),
            ("1.0", Err(NOT_INTEGER)),
            ("99999999999999999999", Err(NOT_INTEGER)),
        ] {
            assert_eq!(loose(text).integer(), expected, "{text}");
        }
    }

    #[test]
    fn objects_and_lists_are_read_where_they_are() {
        for (text, object, list) in [
            (r#"{"v":1}"#, Some("1"), None),
            ("{}", Some(""), None),
            (r#"[{"v":1}, "x"]"#, None, Some(2)),
            ("[]", None, Some(0)),
            ("\"{}\"", None, None),
            ("1", None, None),
        ] {
            let one = loose(text).object::<One<'_>>();
            assert_eq!(one.map(|one| one.v.literal().unwrap_or_default()), object, "{text}");
            let items = loose(text).list::<crate::Object<One<'_>>>();
            assert_eq!(items.map(|items| items.len()), list, "{text}");
        }
    }

    #[test]
    fn opaque_values_pass_unless_empty() {
        for (text, passes) in [
            ("[]", false),
            ("{ }", false),
            ("\"\"", false),
            ("0", true),
            ("[1]", true),
            ("{\"a\":1}", true),
        ] {
            assert_eq!(loose(text).opaque().is_some(), passes, "{text}");
        }
    }
}
