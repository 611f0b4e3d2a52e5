//! JSON values that are stored.

use serde_json::Value;

/// Removes U+0000 from all texts, because Postgres cannot store it.
pub fn storable(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', "")),
        Value::Array(items) => Value::Array(items.into_iter().map(storable).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name.replace('\0', ""), storable(value))).collect())
        }
        other => other,
    }
}
