use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A nested object, or something else where an object was expected.
///
/// PHP writes an empty map as `[]`, and some senders write `""`: neither may fail the whole body.
#[derive(Clone, Debug)]
pub struct Object<T> {
    pub(crate) value: Option<T>,
    /// Something was there, and it was neither an object nor nothing.
    pub(crate) unexpected: bool,
}

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self { value: None, unexpected: false }
    }
}

impl<T> Object<T> {
    /// The object, where there is one.
    #[must_use]
    pub const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// The object, where there is one.
    #[must_use]
    pub fn into_value(self) -> Option<T> {
        self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        /// Of the absent field too: a missing `Option` is `None`, so this goes through one.
        struct Maybe<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Maybe<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(Object::default())
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
                from.deserialize_any(Any(PhantomData))
            }
        }

        from.deserialize_option(Maybe(PhantomData))
    }
}

struct Any<T>(PhantomData<T>);

impl<T> Any<T> {
    const fn other(unexpected: bool) -> Object<T> {
        Object { value: None, unexpected }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Any<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let value = T::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Object { value: Some(value), unexpected: false })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut unexpected = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            unexpected = true;
        }
        Ok(Self::other(unexpected))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Self::other(!text.is_empty()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Self::other(true))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Self::other(true))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Self::other(true))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Self::other(true))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Self::other(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Outer {
        inner: Object<Inner>,
    }

    #[derive(Deserialize)]
    struct Inner {
        a: Option<u8>,
    }

    #[test]
    fn anything_may_stand_where_an_object_is_expected() {
        for (text, value, unexpected) in [
            ("{}", None, false),
            (r#"{"inner":null}"#, None, false),
            (r#"{"inner":[]}"#, None, false),
            (r#"{"inner":""}"#, None, false),
            (r#"{"inner":{"a":1}}"#, Some(Some(1)), false),
            (r#"{"inner":{}}"#, Some(None), false),
            (r#"{"inner":[1]}"#, None, true),
            (r#"{"inner":"x"}"#, None, true),
            (r#"{"inner":-1.5}"#, None, true),
            (r#"{"inner":true}"#, None, true),
        ] {
            let outer: Outer = serde_json::from_str(text).unwrap();
            assert_eq!(outer.inner.value.map(|inner| inner.a), value, "{text}");
            assert_eq!(outer.inner.unexpected, unexpected, "{text}");
        }
    }
}
