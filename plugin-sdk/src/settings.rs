//! Settings: how they are read, what is wrong with them, and pieces that many adapters share.

mod mac_header;
mod span;

use serde::de::DeserializeOwned;

pub use mac_header::{MacEncoding, MacHeader, MacInput};
pub use span::Span;

use crate::Adapter;

/// Something wrong in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Absent: the adapter's own settings.
    pub(crate) route: Option<String>,
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Problem {
    /// `path`: dotted, as `hmac.header`; empty for the whole.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { route: None, path: path.into(), message: message.into() }
    }

    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Whether a text can be the name of a header: a token of RFC 9110.
#[must_use]
pub fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Reads one object of settings and checks it; what is wrong goes to `problems`.
pub(crate) fn read_settings<A: Adapter>(
    text: &str,
    route: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<A::Settings> {
    let before = problems.len();
    let settings = match read(text) {
        Ok(settings) => {
            problems.extend(A::check(&settings));
            Some(settings)
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    for problem in problems.iter_mut().skip(before) {
        problem.route = route.map(str::to_owned);
    }
    settings
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let from = &mut serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(from).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        Problem::new(path, message(error.inner()))
    })
}

/// What serde says, without the position in a text that the operator never wrote.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Settings {
        #[serde(default)]
        fields: Fields,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Fields {
        caller: Option<String>,
    }

    #[test]
    fn problems_name_the_place() {
        for (text, path, part) in [
            (r#"{"fields":{"caller":5}}"#, "fields.caller", "invalid type: integer `5`"),
            (
                r#"{"fields":{"callr":"x"}}"#,
                "fields.callr",
                "unknown field `callr`, expected `caller`",
            ),
            (r#"{"filds":{}}"#, "filds", "unknown field `filds`, expected `fields`"),
            ("5", "", "invalid type: integer `5`"),
        ] {
            let problem = read::<Settings>(text).unwrap_err();
            assert_eq!(problem.path(), path, "{text}: {}", problem.message());
            assert!(problem.message().contains(part), "{}", problem.message());
            assert!(!problem.message().contains(" line "), "{}", problem.message());
        }
    }

    #[test]
    fn header_names_are_tokens() {
        assert!(is_header_name("X-Webhook-Secret"));
        for bad in ["", "x y", "x:y", "é", "x\n"] {
            assert!(!is_header_name(bad), "{bad}");
        }
    }
}
