use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// Longest name, in bytes: fits a metric label and a line of a table.
const NAME_BYTES_MAX: usize = 64;

/// Why a text cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name is 1 to 64 of the characters `a-z`, `0-9`, `-` and `_`, and starts with a letter or digit"
)]
pub struct NameError;

macro_rules! typed_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize,
        )]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` and makes it a name.
            ///
            /// # Errors
            ///
            /// Where it is not 1 to 64 of `a-z`, `0-9`, `-`, `_`, or starts with `-` or `_`.
            pub fn new(text: &str) -> Result<Self, NameError> {
                if is_name(text) { Ok(Self(text.into())) } else { Err(NameError) }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(&text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

typed_name!(
    /// Names a route, `[routes.<name>]`.
    RouteName
);
typed_name!(
    /// Names an adapter, `[adapters.<name>]`.
    AdapterName
);
typed_name!(
    /// Names a plugin: the file `<name>.wasm`.
    PluginName
);
typed_name!(
    /// Names a destination, `[destinations.<name>]`.
    DestinationName
);
typed_name!(
    /// Names a listener for providers, `[ingest.listeners.<name>]`.
    ListenerName
);
typed_name!(
    /// Names a secret, a key under `[secrets]`.
    SecretName
);

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["ottu", "ringba-hvac", "a_1", "1"] {
            assert!(RouteName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "Ottu", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(RouteName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_written_as_a_text_without_an_allocation() {
        let name = RouteName::new("ringba-hvac").unwrap();
        let mut json = Vec::with_capacity(64);
        let allocated =
            allocation_counter::measure(|| serde_json::to_writer(&mut json, &name).unwrap());
        assert_eq!(json, br#""ringba-hvac""#);
        assert_eq!(allocated.count_total, 0);
        assert_eq!(serde_json::from_slice::<RouteName>(&json).unwrap(), name);
    }
}
