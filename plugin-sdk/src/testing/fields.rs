//! `fields.toml`: every field of the provider's documentation, and where it is in the data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Request, Script, receive};
use crate::Adapter;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldsToml {
    /// Bodies to set the fields in, by name.
    bodies: BTreeMap<String, String>,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    /// Name of the body; the first by name where absent.
    body: Option<String>,
    /// Dotted path in the body.
    from: String,
    /// Dotted path in the data, outside `original`.
    to: String,
    /// What to set, as JSON; a unique text where absent.
    value: Option<String>,
    /// What to find, as JSON; what was set where absent.
    expect: Option<String>,
}

/// Sets each field of the file to a value of its own and looks for it in the data. The route wants
/// no authentication.
///
/// # Panics
///
/// With every field that is not carried, or where the file cannot be read.
pub fn assert_carried<A: Adapter>(file: impl AsRef<Path>) {
    assert_carried_as::<A>(file, |_| {});
}

/// The same for an adapter that wants more than a body: `prepare` has the last word on each call,
/// as to sign its body.
///
/// # Panics
///
/// As [`assert_carried`].
pub fn assert_carried_as<A: Adapter>(file: impl AsRef<Path>, prepare: impl Fn(&mut Script)) {
    let text = std::fs::read_to_string(file).expect("the file of fields can be read");
    let file: FieldsToml = toml::from_str(&text).expect("the file of fields is as documented");
    assert!(!file.fields.is_empty(), "no fields");
    let lost: Vec<String> = file
        .fields
        .iter()
        .enumerate()
        .filter_map(|(index, field)| carry::<A>(&file.bodies, field, index, &prepare).err())
        .collect();
    assert!(lost.is_empty(), "\n{}", lost.join("\n"));
}

fn carry<A: Adapter>(
    bodies: &BTreeMap<String, String>,
    field: &Field,
    index: usize,
    prepare: &impl Fn(&mut Script),
) -> Result<(), String> {
    let wrong = |what: String| format!("{} → {}: {what}", field.from, field.to);
    let json =
        |text: &str| serde_json::from_str::<Value>(text).map_err(|error| wrong(error.to_string()));
    let body = field.body.as_ref().map_or_else(|| bodies.values().next(), |name| bodies.get(name));
    let body = json(body.ok_or_else(|| wrong("no such body".to_owned()))?)?;
    let value =
        field.value.as_deref().map_or_else(|| Ok(Value::from(format!("value-{index}"))), json)?;
    let expected = field.expect.as_deref().map_or_else(|| Ok(value.clone()), json)?;
    if field.to.split('.').next() == Some("original") {
        return Err(wrong("`original` does not count".to_owned()));
    }

    let mut changed = body.clone();
    let slot = changed.pointer_mut(&pointer(&field.from));
    *slot.ok_or_else(|| wrong("the body has no such field".to_owned()))? = value;
    let data_of = |body| data_of::<A>(body, prepare).map_err(wrong);
    let (before, after) = (data_of(&body)?, data_of(&changed)?);
    let (before, after) = (before.pointer(&pointer(&field.to)), after.pointer(&pointer(&field.to)));
    if before == Some(&expected) {
        return Err(wrong("the value is not unique".to_owned()));
    }
    if after == Some(&expected) {
        Ok(())
    } else {
        Err(wrong(format!("expected {expected}, got {}", after.unwrap_or(&Value::Null))))
    }
}

fn pointer(dotted: &str) -> String {
    format!("/{}", dotted.replace('.', "/"))
}

fn data_of<A: Adapter>(body: &Value, prepare: &impl Fn(&mut Script)) -> Result<Value, String> {
    let mut script = Script {
        request: Request { body: body.to_string().into_bytes(), ..Request::default() },
        auth_none: true,
        ..Script::default()
    };
    prepare(&mut script);
    let run = receive::<A>(&script).map_err(|found| found.join(", "))?;
    let outcome = run.end.map_err(|rejection| rejection.to_string())?;
    let event = outcome.events.first().ok_or("no event")?;
    serde_json::from_str(&event.data).map_err(|error| error.to_string())
}
