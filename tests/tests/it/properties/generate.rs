//! Requests and values out of nothing.

use plugin_sdk::testing::fixture::Case;
use serde_json::{Map, Value, json};

use crate::random::Random;

/// Deepest value that is made; some are beyond what the SDK reads.
const DEPTH_MAX: usize = 70;

/// Texts that readers of numbers, times, amounts and numbers stumble over.
const ODD_TEXTS: [&str; 36] = [
    "",
    " ",
    "0",
    "-0",
    "1e999",
    "-1.5E-7",
    "00012.500",
    "1,234.50",
    "9999999999999999999999999999999999999999",
    "0.0000000000000000000000000000000000000001",
    "12.345 KWD",
    "20.000 XXX",
    "$50",
    "NaN",
    "null",
    "true",
    "\u{0}",
    "\n\t\r\u{1b}[31m",
    "\u{202e}\u{200e}",
    "😀é\u{fffd}",
    "2026-02-30T25:61:61Z",
    "2026-01-02 03:04:05",
    "0000-00-00 00:00:00",
    "9999-12-31T23:59:59.999999999+14:00",
    "1767323045",
    "1767323045678",
    "99999999999999999999",
    "+447700900123",
    " 13055551234",
    "anonymous",
    "sip:1000@example.com",
    "4111 1111 1111 1111",
    "pan 5555555555554444",
    "SIP 487",
    "{\"a\":\"4111111111111111\"}",
    "%00%ff&=+;",
];

const ODD_HEADERS: [(&str, &str); 8] = [
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "application/json; charset=utf-16"),
    ("content-type", "multipart/form-data; boundary=x"),
    ("content-type", "text/plain"),
    ("content-type", ""),
    ("content-encoding", "gzip"),
    ("x-forwarded-for", "unknown, 1.2.3.4"),
    ("x-odd", "\u{fffd}"),
];

/// Keys and values of an adapter's fixtures: what its fields are called and look like.
pub(super) struct Pool {
    keys: Vec<String>,
    values: Vec<Value>,
}

impl Pool {
    pub(super) fn of(cases: &[Case]) -> Self {
        let mut pool = Self { keys: vec!["a".to_owned()], values: vec![Value::Null] };
        for case in cases {
            if let Ok(value) = serde_json::from_slice::<Value>(&case.request.body) {
                pool.collect(&value);
            } else if let Ok(text) = std::str::from_utf8(&case.request.body) {
                for (name, value) in plugin_sdk::Pairs::decode(text).unwrap_or_default().iter() {
                    pool.keys.push(name.to_owned());
                    pool.values.push(json!(value));
                }
            }
        }
        pool
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    self.keys.push(key.clone());
                    self.values.push(value.clone());
                    self.collect(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    pub(super) fn key(&self, random: &mut Random) -> String {
        if random.below(8) == 0 { text(random) } else { random.pick(&self.keys).clone() }
    }

    /// Any value: of a fixture, or odd, or both inside another.
    pub(super) fn value(&self, random: &mut Random) -> Value {
        match random.below(4) {
            0 => random.pick(&self.values).clone(),
            1 => json!(text(random)),
            2 => scalar(random),
            _ => self.nested(random, 3),
        }
    }

    /// Any JSON value, at most so deep.
    fn nested(&self, random: &mut Random, depth: usize) -> Value {
        match random.below(if depth == 0 { 3 } else { 6 }) {
            0 => json!(text(random)),
            1 => scalar(random),
            2 => random.pick(&self.values).clone(),
            3 => (0..random.below(4)).map(|_| self.nested(random, depth - 1)).collect(),
            _ => self.object(random, depth - 1),
        }
    }

    fn object(&self, random: &mut Random, depth: usize) -> Value {
        let members = (0..random.below(12)).map(|_| {
            let key = self.key(random);
            (key, self.nested(random, depth))
        });
        Value::Object(members.collect::<Map<_, _>>())
    }
}

/// Puts another body in the place of a fixture's, and perhaps another head.
pub(super) fn replace(case: &mut Case, pool: &Pool, random: &mut Random) {
    case.request.body = match random.below(8) {
        0 => bytes(random, 300),
        1 => {
            let depth = random.index(DEPTH_MAX);
            format!("{}{}", "[{\"a\":".repeat(depth), "1}]".repeat(depth)).into_bytes()
        }
        2 => pool.nested(random, 4).to_string().into_bytes(),
        3 => form(pool, random),
        4 => {
            // A part of the fixture's.
            let length = random.index(case.request.body.len() + 1);
            case.request.body.get(..length).unwrap_or_default().to_vec()
        }
        5 => Value::String(pool.object(random, 3).to_string()).to_string().into_bytes(),
        _ => pool.object(random, 4).to_string().into_bytes(),
    };
    if random.below(3) == 0 {
        headers(case, random);
    }
    if random.below(6) == 0 {
        case.request.headers.clear();
    }
    if random.below(6) == 0 {
        case.request.query = Some(String::from_utf8_lossy(&form(pool, random)).into_owned());
    }
    if random.below(20) == 0 {
        case.request.method = (*random.pick(&["GET", "HEAD", "PUT", "DELETE"])).to_owned();
    }
}

/// Adds headers, some of them for the second time.
pub(super) fn headers(case: &mut Case, random: &mut Random) {
    for _ in 0..random.below(4) {
        let (name, value) = *random.pick(&ODD_HEADERS);
        let value = if random.below(3) == 0 {
            String::from_utf8_lossy(&bytes(random, 40)).into_owned()
        } else {
            value.to_owned()
        };
        let at = random.index(case.request.headers.len() + 1);
        case.request.headers.insert(at, (name.to_owned(), value));
    }
    if random.below(4) == 0 && !case.request.headers.is_empty() {
        let twin = random.pick(&case.request.headers).clone();
        case.request.headers.push(twin);
    }
}

/// A text as it is, anything else as JSON.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn text(random: &mut Random) -> String {
    match random.below(8) {
        0 => String::from_utf8_lossy(&bytes(random, 60)).into_owned(),
        1 => "x".repeat(random.index(2_000)),
        2 => random.next().to_string(),
        _ => (*random.pick(&ODD_TEXTS)).to_owned(),
    }
}

fn scalar(random: &mut Random) -> Value {
    match random.below(6) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(random.next()),
        3 => json!(-i64::from(u32::try_from(random.below(1 << 31)).unwrap())),
        4 => json!(f64::from_bits(random.next())),
        _ => json!(random.below(100)),
    }
}

fn form(pool: &Pool, random: &mut Random) -> Vec<u8> {
    let pairs: Vec<String> = (0..random.below(10))
        .map(|_| {
            let key = pool.key(random);
            let value = plain(&pool.value(random));
            format!("{}={}", encoded(&key, random), encoded(&value, random))
        })
        .collect();
    pairs.join("&").into_bytes()
}

/// As a form has it, with more or fewer escapes than needed.
pub(super) fn encoded(text: &str, random: &mut Random) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            _ if byte.is_ascii_alphanumeric() && random.below(10) > 0 => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

pub(super) fn bytes(random: &mut Random, at_most: usize) -> Vec<u8> {
    (0..random.index(at_most)).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}
