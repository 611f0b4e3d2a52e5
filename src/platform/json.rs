//! JSON values that are stored.

use serde_json::Value;

/// What stands for a character that cannot be stored.
pub const REPLACEMENT: &str = "\u{FFFD}";

/// Replaces U+0000 by U+FFFD in all texts, because Postgres cannot store it. Not removed: a text without it could be a valid one,
/// such as another user's id.
pub fn storable(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains('\0') => Value::String(text.replace('\0', REPLACEMENT)),
        Value::Array(items) => Value::Array(items.into_iter().map(storable).collect()),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, value)| (name.replace('\0', REPLACEMENT), storable(value))).collect())
        }
        other => other,
    }
}
