//! An [`Event`] as a `CloudEvent` 1.0: the envelope of `events`, byte for byte the adapter's `data`.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serializer as _;

use crate::model::Event;

/// Media type of the structured mode (JSON event format, section 3).
pub const STRUCTURED_CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("application/cloudevents+json");

/// The one media type of `data`.
const DATA_CONTENT_TYPE: &str = "application/json";

/// Bytes that the envelope takes beside `data`, roughly: spares the buffer its first growths.
const ENVELOPE_BYTES: usize = 640;

/// The event as one JSON object (JSON event format 1.0). `data` stands in it verbatim.
#[must_use]
pub fn structured(event: &Event) -> Vec<u8> {
    let mut json = Vec::with_capacity(event.data.len() + ENVELOPE_BYTES);
    write_structured(event, &event.data, &mut json);
    json
}

/// Appends the event as one line of JSON: `data` verbatim, but for line breaks between its tokens,
/// which become spaces (JSON allows none within a token).
pub fn write_line(event: &Event, into: &mut Vec<u8>) {
    let data = if event.data.contains(['\n', '\r']) {
        Cow::Owned(event.data.replace(['\n', '\r'], " "))
    } else {
        Cow::Borrowed(event.data.as_str())
    };
    write_structured(event, &data, into);
    into.push(b'\n');
}

fn write_structured(event: &Event, data: &str, into: &mut Vec<u8>) {
    let mut separator = b'{';
    for_each_attribute(event, &mut |name, value| {
        into.push(separator);
        separator = b',';
        // Attribute names are plain lower-case words.
        into.push(b'"');
        into.extend_from_slice(name.as_bytes());
        into.extend_from_slice(b"\":");
        push_string(value, into);
    });
    into.extend_from_slice(b",\"data\":");
    into.extend_from_slice(data.as_bytes());
    into.push(b'}');
}

/// The attributes as `ce-` headers (HTTP binding 1.0, section 3.1); the body is `data`.
#[must_use]
pub fn binary(event: &Event) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for_each_attribute(event, &mut |name, value| {
        let named = if name == "datacontenttype" {
            Ok(CONTENT_TYPE)
        } else {
            HeaderName::try_from(format!("ce-{name}"))
        };
        if let (Ok(name), Ok(value)) = (named, HeaderValue::try_from(header_text(value))) {
            headers.insert(name, value);
        }
    });
    headers
}

/// Calls `each` with every attribute that the event has, in the order of the envelope.
fn for_each_attribute(event: &Event, each: &mut dyn FnMut(&str, &dyn Display)) {
    each("specversion", &"1.0");
    each("id", &event.id);
    each("source", &event.source());
    each("type", &event.kind);
    each_present("subject", event.subject.as_deref(), each);
    each_present("time", event.time.as_deref(), each);
    each("datacontenttype", &DATA_CONTENT_TYPE);
    each_present("dataschema", event.data_schema.as_deref(), each);
    each("adapter", &event.adapter);
    each("receivedat", &event.received_at);
    each_present("idempotencykey", event.idempotency_key.as_deref(), each);
    each_present("partitionkey", event.partition_key.as_deref(), each);
    each("verified", &event.verified.as_str());
    if let Some(replayed) = event.replay_of {
        each("replayof", &replayed);
    }
}

/// An attribute of a `CloudEvent` is never empty: an empty value is left out like an absent one.
fn each_present(name: &str, value: Option<&str>, each: &mut dyn FnMut(&str, &dyn Display)) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        each(name, &value);
    }
}

fn push_string(text: &dyn Display, into: &mut Vec<u8>) {
    let mut json = serde_json::Serializer::new(into);
    json.collect_str(text).expect("writing a string to a Vec cannot fail");
}

/// Percent-encodes as HTTP binding 1.0 section 3.1.3.2 says: space, `"`, `%` and all that is
/// outside U+0021 to U+007E.
fn header_text(value: &dyn Display) -> String {
    let mut text = HeaderText::default();
    write!(text, "{value}").expect("writing to a String cannot fail");
    text.0
}

/// Encodes what is written to it.
#[derive(Default)]
struct HeaderText(String);

impl fmt::Write for HeaderText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%' {
                self.0.push(char::from(byte));
            } else {
                write!(self.0, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::delivery::testing::event;
    use crate::model::{RequestId, UnixMillis};

    fn full() -> Event {
        Event {
            subject: Some("Euro € \"1\" 100%".to_owned()),
            time: Some("2024-06-15T11:51:35.807Z".to_owned()),
            idempotency_key: Some("k-1".to_owned()),
            partition_key: Some("customer 7".to_owned()),
            data_schema: Some("urn:sluice:vkyc:call.started".into()),
            replay_of: Some(RequestId::from_bytes([7; 16])),
            data: r#"{"b":1.10,  "a":[1e3,"\u00e9"]}"#.to_owned(),
            ..event(1)
        }
    }

    #[test]
    fn the_structured_form_holds_exactly_the_envelope_and_data_verbatim() {
        let event = full();
        let json = structured(&event);
        assert_eq!(
            serde_json::from_slice::<Value>(&json).unwrap(),
            json!({
                "specversion": "1.0",
                "id": event.id.to_string(),
                "source": "/routes/vkyc",
                "type": "test.happened",
                "subject": "Euro € \"1\" 100%",
                "time": "2024-06-15T11:51:35.807Z",
                "datacontenttype": "application/json",
                "dataschema": "urn:sluice:vkyc:call.started",
                "adapter": "vkyc/1.0.0",
                "receivedat": "2024-06-15T11:51:35.807Z",
                "idempotencykey": "k-1",
                "partitionkey": "customer 7",
                "verified": "shared-secret",
                "replayof": "07070707-0707-0707-0707-070707070707",
                "data": {"b": 1.10, "a": [1e3, "é"]},
            })
        );
        let text = String::from_utf8(json).unwrap();
        assert!(text.ends_with(r#","data":{"b":1.10,  "a":[1e3,"\u00e9"]}}"#), "{text}");
    }

    #[test]
    fn what_an_event_does_not_have_is_absent() {
        let bare = Event { subject: Some(String::new()), ..event(1) };
        let json: Value = serde_json::from_slice(&structured(&bare)).unwrap();
        let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = [
            "specversion",
            "id",
            "source",
            "type",
            "datacontenttype",
            "adapter",
            "receivedat",
            "verified",
            "data",
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
    }

    #[test]
    fn the_binary_form_percent_encodes_attributes() {
        let headers = binary(&full());
        let of = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(of("content-type"), Some("application/json"));
        assert_eq!(of("ce-datacontenttype"), None);
        assert_eq!(of("ce-subject"), Some("Euro%20%E2%82%AC%20%221%22%20100%25"));
        assert_eq!(of("ce-partitionkey"), Some("customer%207"));
        assert_eq!(of("ce-specversion"), Some("1.0"));
        assert_eq!(of("ce-source"), Some("/routes/vkyc"));
        assert_eq!(headers.len(), 14);
    }

    #[test]
    fn a_line_stays_one_line_and_means_the_same() {
        let event = Event { data: "{\n  \"a\": \"x\\n\",\r\n  \"b\": 2\n}".to_owned(), ..event(1) };
        let mut line = Vec::new();
        write_line(&event, &mut line);
        let (last, rest) = line.split_last().unwrap();
        assert_eq!(*last, b'\n');
        assert!(!rest.contains(&b'\n') && !rest.contains(&b'\r'));
        let read: Value = serde_json::from_slice(rest).unwrap();
        assert_eq!(read["data"], json!({"a": "x\n", "b": 2}));
    }

    #[test]
    fn a_line_that_has_room_is_written_without_an_allocation() {
        let event = full();
        let mut lines = Vec::with_capacity(4_096);
        let allocated = allocation_counter::measure(|| write_line(&event, &mut lines));
        assert!(!lines.is_empty());
        assert_eq!(allocated.count_total, 0);
    }

    fn percent_decode(text: &str) -> String {
        let bytes = text.as_bytes();
        let (mut decoded, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            if bytes[at] == b'%' {
                decoded.extend(hex::decode(&bytes[at + 1..at + 3]).unwrap());
                at += 3;
            } else {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
        String::from_utf8(decoded).unwrap()
    }

    proptest! {
        #[test]
        fn both_forms_carry_any_text(
            subject in any::<String>().prop_filter("present", |text| !text.is_empty()),
            at in 0_u64..253_402_300_799_000,
        ) {
            let event =
                Event { subject: Some(subject.clone()), received_at: UnixMillis(at), ..event(1) };
            let json: Value = serde_json::from_slice(&structured(&event)).unwrap();
            prop_assert_eq!(json["subject"].as_str(), Some(subject.as_str()));

            let headers = binary(&event);
            let value = headers["ce-subject"].to_str().unwrap();
            prop_assert!(value.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b'"'));
            prop_assert_eq!(percent_decode(value), subject);
        }
    }
}
