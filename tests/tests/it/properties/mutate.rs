//! Requests that are a fixture's but for one or a few places.

use plugin_sdk::Pairs;
use plugin_sdk::testing::fixture::Case;
use serde_json::{Map, Value};

use super::generate::{self, Pool, encoded};
use crate::random::Random;

/// Changes the body in one place, at times in some more, and at times the head.
pub(super) fn mutate(case: &mut Case, pool: &Pool, random: &mut Random) {
    if random.below(6) == 0 {
        let harmless =
            ("x-request-id".to_owned(), generate::text(random).replace(['\r', '\n'], ""));
        case.request.headers.push(harmless);
    }
    let places = if random.below(5) == 0 { 1 + random.below(4) } else { 1 };
    if let Ok(mut body @ Value::Object(_)) = serde_json::from_slice(&case.request.body) {
        for _ in 0..places {
            change(&mut body, pool, random);
        }
        case.request.body = written(&body, random).into_bytes();
    } else if let Some(body) = changed_pairs(&case.request.body, pool, random) {
        case.request.body = body.into_bytes();
    } else {
        change_bytes(&mut case.request.body, random);
    }
    if random.below(40) == 0 {
        generate::headers(case, random);
    }
}

/// Changes one value, key or member somewhere in `value`.
fn change(value: &mut Value, pool: &Pool, random: &mut Random) {
    match value {
        Value::Object(map) if goes_deeper(map.values(), random) => {
            let nested: Vec<&mut Value> = map.values_mut().filter(|v| is_nested(v)).collect();
            let at = random.index(nested.len());
            if let Some(inner) = nested.into_iter().nth(at) {
                change(inner, pool, random);
            }
        }
        Value::Object(map) => change_member(map, pool, random),
        Value::Array(items) if !items.is_empty() => {
            let at = random.index(items.len());
            match items.get_mut(at) {
                Some(inner) if is_nested(inner) => change(inner, pool, random),
                Some(inner) => *inner = pool.value(random),
                None => {}
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            *value = pool.value(random);
        }
    }
}

fn is_nested(value: &Value) -> bool {
    matches!(value, Value::Object(map) if !map.is_empty())
        || matches!(value, Value::Array(items) if !items.is_empty())
}

fn goes_deeper<'v>(mut values: impl Iterator<Item = &'v Value>, random: &mut Random) -> bool {
    values.any(is_nested) && random.below(8) > 0
}

fn change_member(map: &mut Map<String, Value>, pool: &Pool, random: &mut Random) {
    let keys: Vec<String> = map.keys().cloned().collect();
    let key = if keys.is_empty() { pool.key(random) } else { random.pick(&keys).clone() };
    match random.below(10) {
        // Something unknown, or known and elsewhere.
        0..3 => drop(map.insert(pool.key(random), pool.value(random))),
        3 => drop(map.remove(&key)),
        4 => {
            // A number for a text and a text for a number, as providers do.
            if let Some(value) = map.get_mut(&key) {
                *value = match value.as_str() {
                    Some(text) => text.parse::<u64>().map_or(Value::Null, Into::into),
                    None => Value::String(value.to_string()),
                };
            }
        }
        5 => {
            if let Some(Value::String(text)) = map.get_mut(&key) {
                text.push_str(&generate::text(random));
            }
        }
        _ => drop(map.insert(key, pool.value(random))),
    }
}

/// JSON in one of its spellings.
fn written(value: &Value, random: &mut Random) -> String {
    match random.below(4) {
        0 => serde_json::to_string_pretty(value).unwrap(),
        1 => {
            // Everything beyond ASCII escaped, as many libraries do.
            let escape = |c: char| match c {
                ' '..='~' => c.to_string(),
                _ => c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("\\u{u:04x}")).collect(),
            };
            value.to_string().chars().map(escape).collect()
        }
        2 => format!("\u{feff}{value}\n"),
        _ => value.to_string(),
    }
}

fn changed_pairs(body: &[u8], pool: &Pool, random: &mut Random) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains('='))?;
    if text.trim_start().starts_with(['{', '"', '[', '-']) {
        return None;
    }
    let pairs = Pairs::decode(text)?;
    let mut pairs: Vec<(String, String)> =
        pairs.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let value = generate::plain(&pool.value(random));
    let at = random.index(pairs.len());
    match random.below(4) {
        0 => pairs.push((pool.key(random), value)),
        1 => drop(pairs.remove(at)),
        _ => pairs[at].1 = value,
    }
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name, random), encoded(value, random)))
        .collect();
    Some(pairs.join("&"))
}

/// Changes, adds or takes away a byte.
fn change_bytes(body: &mut Vec<u8>, random: &mut Random) {
    let at = random.index(body.len() + 1);
    let byte = u8::try_from(random.below(128)).unwrap();
    match random.below(3) {
        0 => body.insert(at, byte),
        1 if at < body.len() => drop(body.remove(at)),
        _ => {
            if let Some(old) = body.get_mut(at) {
                *old = byte;
            }
        }
    }
}
