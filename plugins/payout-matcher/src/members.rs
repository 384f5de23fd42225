//! JSON objects whose keys are not known beforehand.

use std::borrow::Cow;
use std::fmt;

use plugin_sdk::Loose;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The members of a JSON object as they came: in order, keys as often as they stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, Loose<'a>)>);

impl<'a> Members<'a> {
    /// The value at a dotted path, where there is one that says something.
    pub(crate) fn at(&self, path: &str) -> Option<Loose<'a>> {
        let (name, rest) =
            path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)?;
        match rest {
            Some(rest) => value.object::<Members<'a>>()?.at(rest),
            None => (!value.is_absent()).then_some(value),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Each)
    }
}

/// Borrowed where it holds no escape.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_are_found_by_path() {
        let text = r#"{"b": 1, "a\u0062": {"c": {"d": 2.50}}, "b": 3, "n": null}"#;
        let members: Members<'_> = serde_json::from_str(text).unwrap();
        let keys: Vec<&str> = members.0.iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(keys, ["b", "ab", "b", "n"]);
        let at = |path: &str| members.at(path).and_then(Loose::literal);
        assert_eq!(
            (at("b"), at("ab.c.d"), at("ab.c")),
            (Some("1"), Some("2.50"), Some(r#"{"d": 2.50}"#))
        );
        assert_eq!((at("ab.x"), at("b.c"), at("n"), at("")), (None, None, None, None));
    }
}
