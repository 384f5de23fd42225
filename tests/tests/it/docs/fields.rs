//! A JSON Schema as rows of a table.

use serde_json::Value;

/// Deepest nesting that is shown: schemas may refer to themselves.
const DEPTH_MAX: usize = 8;

/// One value that an object of the schema may have.
pub(super) struct Field {
    /// Dotted; `[]` stands for each item of a list, `*` for a name of the operator's choice.
    pub(super) path: String,
    pub(super) kind: String,
    pub(super) required: bool,
    /// JSON.
    pub(super) default: Option<String>,
    pub(super) meaning: String,
}

/// Every value that an object of this schema may have, depth first.
pub(super) fn fields(schema: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    push(schema, schema, "", 0, &mut fields);
    fields
}

fn push(root: &Value, schema: &Value, prefix: &str, depth: usize, fields: &mut Vec<Field>) {
    let schema = resolved(root, schema);
    if depth > DEPTH_MAX {
        return;
    }
    if let Some(items) = schema.get("items") {
        push(root, items, &format!("{prefix}[]"), depth + 1, fields);
    }
    if let Some(named @ Value::Object(_)) = schema.get("additionalProperties") {
        push(root, named, &format!("{prefix}.*"), depth + 1, fields);
    }
    for variant in variants(root, schema) {
        push(root, variant, prefix, depth + 1, fields);
    }
    let required: Vec<&str> = texts(schema.get("required"));
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if fields.iter().any(|field| field.path == path) {
            continue;
        }
        fields.push(Field {
            kind: kind(root, property),
            required: required.contains(&name.as_str()),
            default: default(root, property),
            meaning: meaning(root, property),
            path: path.clone(),
        });
        push(root, property, &path, depth + 1, fields);
    }
}

/// What a reference stands for.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
    name.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The schemas of which one holds, without that of `null`; none where there is no choice.
fn variants<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    let of = |name: &str| schema.get(name).and_then(Value::as_array);
    let variants = of("anyOf").or_else(|| of("oneOf")).into_iter().flatten();
    variants.map(|each| resolved(root, each)).filter(|each| each["type"] != "null").collect()
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolved(root, schema);
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> =
            words.iter().filter(|word| !word.is_null()).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    let mut kinds: Vec<String> = match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        several => texts(several).into_iter().map(str::to_owned).collect(),
    };
    kinds.retain(|kind| kind != "null");
    for name in &mut kinds {
        if name == "array"
            && let Some(items) = schema.get("items")
        {
            *name = format!("list of {}", kind(root, items));
        }
        if name == "object"
            && let Some(named @ Value::Object(_)) = schema.get("additionalProperties")
        {
            *name = format!("{} by name", kind(root, named));
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && name == "string"
        {
            *name = format!("string, {format}");
        }
    }
    kinds.extend(variants(root, schema).into_iter().map(|variant| kind(root, variant)));
    kinds.dedup();
    if kinds.is_empty() { "any".to_owned() } else { kinds.join(" or ") }
}

fn default(root: &Value, schema: &Value) -> Option<String> {
    let own = schema.get("default").or_else(|| resolved(root, schema).get("default"));
    own.filter(|default| !default.is_null()).map(Value::to_string)
}

/// Its own words, else those of what it refers to, with what is said of each word it may be.
fn meaning(root: &Value, schema: &Value) -> String {
    let described = |schema: &Value| {
        schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let own = described(schema);
    let mut meaning = if own.is_empty() { described(resolved(root, schema)) } else { own };
    let mut inner = resolved(root, schema);
    if let [only] = variants(root, inner).as_slice() {
        if meaning.is_empty() {
            meaning = described(only);
        }
        inner = *only;
    }
    for variant in variants(root, inner) {
        let said = described(variant);
        if let (Some(word), false) = (variant.get("const"), said.is_empty()) {
            meaning.push_str(&format!(" `{word}`: {said}"));
        }
    }
    meaning.trim().to_owned()
}
