use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::Warning;

/// The schema of an event's data: `T`, with the members that [`crate::Event`] adds.
pub(crate) fn event_schema<T: JsonSchema>() -> Schema {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let warning = generator.subschema_for::<Warning>();
    let mut schema = generator.into_root_schema_for::<T>();
    let properties = schema.ensure_object().entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.insert(
            "warnings".to_owned(),
            json!({
                "description": "Doubts about single fields; absent where there are none.",
                "type": "array",
                "items": warning,
            }),
        );
        properties.insert(
            "original".to_owned(),
            json!({ "description": "What the provider sent, unchanged.", "type": "object" }),
        );
    }
    schema
}

/// The schema of what is read from an operator: settings, parameters of views.
pub(crate) fn input_schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>()
}

#[cfg(test)]
pub(crate) fn output_schema<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}
