//! Reads members of Stripe's objects. A member that is missing, null or of another type is `None`, never an error.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Text that is not empty.
pub fn text<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object[name].as_str().filter(|text| !text.is_empty())
}

/// The id of another object: the id itself, or the object if it was expanded.
pub fn reference<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    text(object, name).or_else(|| text(&object[name], "id"))
}

/// A time in Unix seconds.
pub fn time(object: &Value, name: &str) -> Option<DateTime<Utc>> {
    object[name].as_i64().and_then(|seconds| DateTime::from_timestamp(seconds, 0))
}

/// A quantity, which Stripe may write with a fraction. What is beyond a whole number is cut off.
pub fn quantity(object: &Value, name: &str) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a value that is too large becomes the largest one")]
    let whole = |value: f64| value as i64;
    object[name].as_i64().or_else(|| object[name].as_f64().map(whole))
}

/// The objects of a list.
pub fn list(object: &Value) -> &[Value] {
    object["data"].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_of_other_types_are_none() {
        let object = json!({"empty": "", "number": 5, "null": null, "a": "cus_1", "b": {"id": "cus_2"}, "c": {"id": 3}, "huge": i64::MAX});
        assert_eq!((text(&object, "empty"), text(&object, "number"), text(&object, "absent")), (None, None, None));
        assert_eq!((reference(&object, "a"), reference(&object, "b")), (Some("cus_1"), Some("cus_2")));
        assert_eq!((reference(&object, "c"), reference(&object, "null")), (None, None));
        assert_eq!((time(&object, "huge"), time(&object, "a")), (None, None));
        assert_eq!(time(&object, "number").map(|time| time.timestamp()), Some(5));
        assert_eq!((quantity(&object, "number"), quantity(&object, "a")), (Some(5), None));
        assert_eq!(quantity(&json!({"value": 15.0}), "value"), Some(15));
        assert!(list(&object).is_empty() && list(&json!([1])).is_empty() && list(&json!({"data": [1]})).len() == 1);
    }
}
