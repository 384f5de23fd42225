use serde_json::Value;

/// What differs between an expected JSON value and the one got: one line each, with the JSON path,
/// what was expected and what was got.
///
/// In the expected value `"<any>"` matches anything that is there, `"<uuid>"` a UUID and
/// `"<received>"` an RFC 3339 time in UTC.
#[must_use]
pub fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("$", Some(expected), Some(got), &mut found);
    found
}

fn compare(path: &str, expected: Option<&Value>, got: Option<&Value>, found: &mut Vec<String>) {
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got))) => {
            for (key, value) in expected {
                compare(&format!("{path}.{key}"), Some(value), got.get(key), found);
            }
            for (key, value) in got.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                compare(&format!("{path}.{key}"), None, Some(value), found);
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for index in 0..expected.len().max(got.len()) {
                let path = format!("{path}[{index}]");
                compare(&path, expected.get(index), got.get(index), found);
            }
        }
        (Some(expected), Some(got)) if matches(expected, got) => {}
        _ => {
            let text = |value: Option<&Value>| {
                value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
            };
            found.push(format!("{path}: expected {}, got {}", text(expected), text(got)));
        }
    }
}

fn matches(expected: &Value, got: &Value) -> bool {
    match (expected.as_str(), got.as_str()) {
        (Some("<any>"), _) => true,
        (Some("<uuid>"), Some(got)) => is_uuid(got),
        (Some("<received>"), Some(got)) => is_instant(got),
        _ => expected == got,
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_instant(text: &str) -> bool {
    text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_match_and_everything_else_is_told_by_path() {
        let expected = json!({
            "id": "<uuid>", "at": "<received>", "x": "<any>", "same": [1, 2], "gone": 1, "list": [1],
        });
        let got = json!({
            "id": "019b7c4e-5b88-7000-8000-000000000001", "at": "2026-01-02T03:04:05.1Z", "x": {},
            "same": [1, 2], "list": [2, 3], "new": null,
        });
        assert_eq!(
            differences(&expected, &got),
            [
                "$.gone: expected 1, got nothing",
                "$.list[0]: expected 1, got 2",
                "$.list[1]: expected nothing, got 3",
                "$.new: expected nothing, got null",
            ]
        );
    }

    #[test]
    fn wrong_forms_do_not_match() {
        for (form, got) in [
            ("<uuid>", json!("019b7c4e")),
            ("<uuid>", json!(1)),
            ("<received>", json!("2026-01-02T03:04:05+01:00")),
            ("<received>", json!("2026-13-02T03:04:05Z")),
        ] {
            assert_eq!(differences(&json!(form), &got).len(), 1, "{form} {got}");
        }
        assert_eq!(differences(&json!({"x": "<any>"}), &json!({})).len(), 1);
    }
}
