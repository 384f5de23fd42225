use std::borrow::Cow;

use serde::Serialize;

use crate::json::Original;
use crate::{Key, Rejection, Time, Warning, digest_hex};

/// Room for the data of an ordinary event, so that writing it seldom grows the buffer.
const DATA_BYTES: usize = 1024;

/// Longest subject and partition key that the gateway takes, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 512;

/// Most facts of one outcome, and the longest value of one in bytes.
pub(crate) const FACTS_MAX: usize = 64;
const FACT_VALUE_BYTES_MAX: usize = 1024;

/// What the provider is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Without a body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// With a body of JSON text.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        let body = body.into().into_bytes();
        Self { status, headers: Vec::new(), body }.header("content-type", "application/json")
    }

    /// With a body of plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        let body = body.into().into_bytes();
        Self { status, headers: Vec::new(), body }
            .header("content-type", "text/plain; charset=utf-8")
    }

    /// Adds a header. Hop-by-hop headers, `content-length` and `date` are the gateway's own.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A labelled value about a request, shown to operators. Never a secret, never personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub(crate) name: Cow<'static, str>,
    pub(crate) value: String,
}

impl Fact {
    /// What is too long is cut: nobody is harmed by a shorter text, and a refused outcome would
    /// lose the event.
    fn new(name: Cow<'static, str>, mut value: String) -> Self {
        value.truncate(value.floor_char_boundary(FACT_VALUE_BYTES_MAX));
        Self { name, value }
    }
}

/// One normalised event. The gateway adds id, source, receipt and what was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub(crate) kind: Cow<'static, str>,
    pub(crate) subject: Option<String>,
    pub(crate) time: Option<String>,
    /// A JSON object.
    pub(crate) data: String,
    pub(crate) partition_key: Option<String>,
    pub(crate) key: Option<Key>,
    pub(crate) warnings: Vec<Warning>,
    /// Of the subject, which is no field of the data and so has no place among its warnings.
    pub(crate) subject_warning: Option<Warning>,
}

impl Event {
    /// An event of a type that `describe` lists, with its normalised data.
    ///
    /// # Errors
    ///
    /// 500 where `data` does not become a JSON object: a mistake in the adapter.
    pub fn new(
        kind: impl Into<Cow<'static, str>>,
        data: &impl Serialize,
    ) -> Result<Self, Rejection> {
        let mut text = Vec::with_capacity(DATA_BYTES);
        let written = serde_json::to_writer(&mut text, data);
        let data = String::from_utf8(text).unwrap_or_default();
        if written.is_err() || !(data.starts_with('{') && data.ends_with('}')) {
            return Err(Rejection::new(500, "invalid_data", "the data is not a JSON object"));
        }
        Ok(Self {
            kind: kind.into(),
            subject: None,
            time: None,
            data,
            partition_key: None,
            key: None,
            warnings: Vec::new(),
            subject_warning: None,
        })
    }

    /// The thing the event is about. An empty one is none; one of more than 512 bytes or with
    /// control characters, which no envelope could carry, is none with a warning.
    #[must_use]
    pub fn subject(mut self, subject: Option<impl Into<String>>) -> Self {
        let subject = subject.map(Into::into).filter(|text| !text.is_empty());
        let fits = subject.as_deref().is_none_or(is_attribute);
        self.subject_warning = (!fits).then(|| {
            Warning::new("unusable_subject", "subject", "too long, or with control characters")
        });
        self.subject = subject.filter(|_| fits);
        self
    }

    /// When it happened at the provider, where that is known.
    #[must_use]
    pub fn time(mut self, time: Option<Time>) -> Self {
        self.time = time.map(|time| time.to_string());
        self
    }

    /// Events with the same key keep their order where a destination promises order. An empty one
    /// is none; one that no envelope could carry (see [`Self::subject`]) becomes its SHA-256,
    /// which keeps the order.
    #[must_use]
    pub fn partition_key(mut self, key: Option<impl Into<String>>) -> Self {
        let key = key.map(Into::into).filter(|text| !text.is_empty());
        self.partition_key = key.map(|key| {
            if is_attribute(&key) { key } else { format!("sha256/{}", digest_hex(key.as_bytes())) }
        });
        self
    }

    /// What makes a redelivery the same event. Without it every request makes a new event.
    #[must_use]
    pub fn idempotency_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Adds `warnings` to the data, and a fact for each kind of them to the outcome. Nothing where
    /// there are none.
    #[must_use]
    pub fn warnings(mut self, warnings: Vec<Warning>) -> Self {
        if !warnings.is_empty()
            && let Ok(text) = serde_json::to_string(&warnings)
        {
            self.append("warnings", &text);
        }
        self.warnings = warnings;
        self
    }

    /// Adds to the data, as `original`, what the provider sent: unchanged to the last space.
    #[must_use]
    pub fn original(mut self, original: Original<'_>) -> Self {
        self.append("original", original.as_str());
        self
    }

    /// Adds a member to the object in `data`. `name` needs no escaping, `json` is one value.
    fn append(&mut self, name: &str, json: &str) {
        self.data.pop();
        self.data.reserve(name.len() + json.len() + 5);
        if self.data.len() > 1 {
            self.data.push(',');
        }
        for piece in ["\"", name, "\":", json, "}"] {
            self.data.push_str(piece);
        }
    }
}

/// Whether a text can be an attribute of an event: 1 to 512 bytes without control characters.
pub(crate) fn is_attribute(text: &str) -> bool {
    (1..=ATTRIBUTE_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}

/// A call that understood its input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    pub(crate) accepted: bool,
    pub(crate) events: Vec<Event>,
    /// The adapter's own; [`Self::all_facts`] has those of the warnings too.
    pub(crate) facts: Vec<Fact>,
    pub(crate) answer: Answer,
    pub(crate) duplicate_answer: Option<Answer>,
}

impl Outcome {
    /// Understood and taken, with the events that are due (which may be none).
    pub const fn accepted(answer: Answer) -> Self {
        Self {
            accepted: true,
            events: Vec::new(),
            facts: Vec::new(),
            answer,
            duplicate_answer: None,
        }
    }

    /// Understood and not wanted.
    pub const fn ignored(answer: Answer) -> Self {
        Self {
            accepted: false,
            events: Vec::new(),
            facts: Vec::new(),
            answer,
            duplicate_answer: None,
        }
    }

    /// Adds an event, and a fact for each kind of its warnings.
    pub fn event(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    /// Adds a fact whose name `describe` lists. An absent value adds nothing.
    pub fn fact(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        if let Some(value) = value {
            self.facts.push(Fact::new(Cow::Borrowed(name), value.into()));
        }
        self
    }

    /// The adapter's own facts, then one for each code of warning, which names the fields. No more
    /// than the gateway takes: a hostile body must not cost the operator the whole outcome.
    pub(crate) fn all_facts(&self) -> Vec<Fact> {
        let mut facts = self.facts.clone();
        let own = facts.len();
        let warnings = self.events.iter().flat_map(|e| e.subject_warning.iter().chain(&e.warnings));
        for warning in warnings {
            let told = facts.iter_mut().skip(own).find(|fact| fact.name == *warning.code());
            match told {
                Some(fact) if fact.value.len() < FACT_VALUE_BYTES_MAX => {
                    let value = format!("{}; {}", fact.value, warning.told());
                    *fact = Fact::new(fact.name.clone(), value);
                }
                Some(_) => {}
                None => facts.push(Fact::new(warning.code().clone(), warning.told())),
            }
        }
        facts.truncate(FACTS_MAX);
        facts
    }

    /// The types of its events.
    pub fn event_types(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(|event| event.kind.as_ref())
    }

    /// The texts of its events' idempotency keys, of those that have one.
    pub fn idempotency_keys(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|event| event.key.as_ref()).map(Key::value)
    }

    /// The data of its events, as JSON text.
    pub fn event_data(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(|event| event.data.as_str())
    }

    /// What a duplicate is answered, where that differs from the first answer.
    pub fn duplicate_answer(mut self, answer: Answer) -> Self {
        self.duplicate_answer = Some(answer);
        self
    }
}

/// An event of another adapter, as `consume` receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveredEvent {
    pub id: String,
    pub source: String,
    pub kind: String,
    pub subject: Option<String>,
    pub time: Option<String>,
    /// RFC 3339: when the gateway received the request that brought it.
    pub received_at: String,
    /// Name and version of the adapter that made it.
    pub adapter: String,
    /// `signature`, `shared-secret`, `shared-url` or `none`.
    pub verified: String,
    /// One JSON object, as text.
    pub data: String,
    pub partition_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_added_to_empty_and_filled_data() {
        #[derive(Serialize)]
        struct Data {
            #[serde(skip_serializing_if = "Option::is_none")]
            a: Option<u8>,
        }
        for (a, expected) in [
            (None, r#"{"warnings":[{"code":"c","field":"f","detail":"d"}],"original":{"x": 1.0}}"#),
            (
                Some(1),
                r#"{"a":1,"warnings":[{"code":"c","field":"f","detail":"d"}],"original":{"x": 1.0}}"#,
            ),
        ] {
            let event = Event::new("t", &Data { a })
                .unwrap()
                .warnings(vec![Warning::new("c", "f", "d")])
                .original(Original::for_tests(r#"{"x": 1.0}"#));
            assert_eq!(event.data, expected);
        }
    }

    fn event() -> Event {
        Event::new("t", &serde_json::json!({})).unwrap()
    }

    #[test]
    fn attributes_are_what_an_envelope_can_carry() {
        let (fits, long) = ("x".repeat(512), "x".repeat(513));
        let digest = |text: &str| format!("sha256/{}", digest_hex(text.as_bytes()));
        for (text, subject, partition_key) in [
            ("txn-1", Some("txn-1"), Some("txn-1".to_owned())),
            (&fits, Some(&fits), Some(fits.clone())),
            ("", None, None),
            (&long, None, Some(digest(&long))),
            ("a\nb", None, Some(digest("a\nb"))),
            ("a\u{85}b", None, Some(digest("a\u{85}b"))),
        ] {
            let event = event().subject(Some(text)).partition_key(Some(text));
            assert_eq!(event.subject.as_deref(), subject, "{text:?}");
            assert_eq!(event.partition_key, partition_key, "{text:?}");
            let facts = Outcome::accepted(Answer::empty(200)).event(event).all_facts();
            let names: Vec<_> = facts.iter().map(|fact| fact.name.as_ref()).collect();
            let lost = !text.is_empty() && subject.is_none();
            assert_eq!(names, if lost { vec!["unusable_subject"] } else { vec![] }, "{text:?}");
        }
        let none = event().subject(Some("a\nb")).subject(None::<&str>).partition_key(None::<&str>);
        assert_eq!((none.subject, none.subject_warning, none.partition_key), (None, None, None));
    }

    #[test]
    fn facts_are_few_and_short_whatever_the_warnings() {
        let warnings = vec![
            Warning::new("odd", "a", "no"),
            Warning::new("even", "b", "no"),
            Warning::new("odd", "c", "never"),
        ];
        let outcome = Outcome::accepted(Answer::empty(200))
            .event(event().warnings(warnings))
            .fact("odd", Some("own"))
            .fact("long", Some("é".repeat(600)));
        let facts = outcome.all_facts();
        let told: Vec<_> =
            facts.iter().map(|fact| (fact.name.as_ref(), fact.value.as_str())).collect();
        let cut = "é".repeat(512);
        assert_eq!(
            told,
            [("odd", "own"), ("long", &cut), ("odd", "a: no; c: never"), ("even", "b: no")]
        );

        let many = |code: fn(usize) -> String| {
            let warnings = (0..500).map(|i| Warning::new(code(i), format!("field{i}"), "no"));
            let event = event().warnings(warnings.collect());
            Outcome::accepted(Answer::empty(200)).event(event).fact("own", Some("kept")).all_facts()
        };
        let (alike, unlike) = (many(|_| "odd".to_owned()), many(|i| format!("odd{i}")));
        assert_eq!(alike.len(), 2);
        assert_eq!(alike.last().map(|fact| fact.value.len()), Some(1024));
        assert_eq!(unlike.len(), 64);
        assert_eq!(unlike.first().map(|fact| fact.value.as_str()), Some("kept"));
    }

    #[test]
    fn data_that_is_no_object_is_a_mistake() {
        assert_eq!(Event::new("t", &[1, 2]).unwrap_err().status(), 500);
    }
}
