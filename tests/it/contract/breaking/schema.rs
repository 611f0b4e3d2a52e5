//! Breaking changes of a schema, by the direction in which it is used.

use serde_json::{Value, json};

use super::{Comparison, Direction, members, merged, resolve, text};

/// Bounds that narrow what is allowed when they rise, and those that do when they fall.
const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];
const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];

/// The alternatives of a schema, each of one type, and whether it allows null.
fn variants(document: &Value, schema: &Value) -> (Vec<Value>, bool) {
    let schema = merged(document, schema);
    let (mut found, mut null) = (Vec::new(), false);
    if let Some(parts) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
        for part in parts {
            let (more, or_null) = variants(document, part);
            found.extend(more);
            null |= or_null;
        }
        return (found, null);
    }
    match &schema["type"] {
        Value::Array(types) => {
            for name in types {
                if name == "null" {
                    null = true;
                } else {
                    let mut one = schema.clone();
                    one["type"] = name.clone();
                    found.push(one);
                }
            }
        }
        Value::String(name) if name == "null" => null = true,
        _ => found.push(schema),
    }
    (found, null)
}

/// The values that a schema is limited to.
fn values(schema: &Value) -> Option<Vec<Value>> {
    let single = schema.get("const").map(|value| vec![value.clone()]);
    single.or_else(|| Some(schema["enum"].as_array()?.iter().filter(|value| !value.is_null()).cloned().collect()))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

impl Comparison<'_> {
    /// Compares two schemas of one place.
    pub(super) fn compare(&mut self, what: &str, old: &Value, new: &Value, direction: Direction) {
        let pair = (old.to_string(), new.to_string(), direction);
        if pair.0.contains("\"$ref\"") && !self.seen.insert(pair) {
            return;
        }
        let ((old, old_null), (new, new_null)) = (variants(self.old, old), variants(self.new, new));
        match direction {
            Direction::Request if old_null && !new_null => self.report(what, "refuses null now"),
            Direction::Response if new_null && !old_null => self.report(what, "can be null now"),
            _ => {}
        }
        if let ([old], [new]) = (old.as_slice(), new.as_slice()) {
            return self.compare_one(what, old, new, direction);
        }
        let (narrow, wide) = if direction == Direction::Request { (&old, &new) } else { (&new, &old) };
        for (n, variant) in narrow.iter().enumerate() {
            let fits = |other: &Value| match direction {
                Direction::Request => self.has_no_break(variant, other, direction),
                Direction::Response => self.has_no_break(other, variant, direction),
            };
            if !wide.iter().any(fits) {
                let change = if direction == Direction::Request { "is refused now" } else { "is new" };
                self.report(what, &format!("(alternative {}) {change}", n + 1));
            }
        }
    }

    fn has_no_break(&self, old: &Value, new: &Value, direction: Direction) -> bool {
        let mut trial = Comparison { old: self.old, new: self.new, found: Vec::new(), seen: self.seen.clone() };
        trial.compare_one("", old, new, direction);
        trial.found.is_empty()
    }

    /// Compares two schemas of one type each.
    fn compare_one(&mut self, what: &str, old: &Value, new: &Value, direction: Direction) {
        if !self.compare_types(what, text(old, "type"), text(new, "type"), direction) {
            return;
        }
        self.compare_values(what, old, new, direction);
        self.compare_formats(what, old, new, direction);
        if direction == Direction::Request {
            self.compare_bounds(what, old, new);
        }
        self.compare_members(what, old, new, direction);
        if let (Some(old), Some(new)) = (old.get("items"), new.get("items")) {
            self.compare(&format!("{what}[]"), old, new, direction);
        }
        match (old.get("additionalProperties"), new.get("additionalProperties")) {
            (Some(old), Some(new)) if old.is_object() && new.is_object() => self.compare(&format!("{what}.*"), old, new, direction),
            (old, Some(Value::Bool(false))) if direction == Direction::Request && old != Some(&json!(false)) => {
                self.report(what, "refuses unknown members now");
            }
            _ => {}
        }
    }

    /// Returns whether the types are compatible. A schema without a type allows all.
    fn compare_types(&mut self, what: &str, old: &str, new: &str, direction: Direction) -> bool {
        let (narrow, wide) = if direction == Direction::Request { (old, new) } else { (new, old) };
        let compatible = narrow == wide || wide.is_empty() || (narrow, wide) == ("integer", "number");
        if !compatible {
            let name = |name: &str| if name.is_empty() { "any".to_owned() } else { name.to_owned() };
            self.report(what, &format!("was of type {}, now {}", name(old), name(new)));
        }
        compatible
    }

    fn compare_values(&mut self, what: &str, old: &Value, new: &Value, direction: Direction) {
        match (direction, values(old), values(new)) {
            (Direction::Request, None, Some(_)) => self.report(what, "takes certain values only now"),
            (Direction::Response, Some(_), None) => self.report(what, "can be any value now"),
            (Direction::Request, Some(old), Some(new)) => {
                for value in old.iter().filter(|value| !new.contains(value)) {
                    self.report(what, &format!("refuses {value} now"));
                }
            }
            (Direction::Response, Some(old), Some(new)) => {
                for value in new.iter().filter(|value| !old.contains(value)) {
                    self.report(what, &format!("can be {value} now"));
                }
            }
            (_, None, _) | (_, _, None) => {}
        }
    }

    fn compare_formats(&mut self, what: &str, old: &Value, new: &Value, direction: Direction) {
        let (old, new) = (text(old, "format"), text(new, "format"));
        // The side that writes loses what it may write, or the side that reads loses what it relied on.
        let relied = if direction == Direction::Request { new } else { old };
        if old != new && !relied.is_empty() {
            self.report(what, &format!("was of format {old:?}, now {new:?}"));
        }
    }

    fn compare_bounds(&mut self, what: &str, old: &Value, new: &Value) {
        let number = |schema: &Value, bound: &str| schema.get(bound).and_then(Value::as_f64);
        for (bounds, narrows) in [(LOWER, (|old, new| new > old) as fn(f64, f64) -> bool), (UPPER, |old, new| new < old)] {
            for bound in bounds {
                if let Some(limit) = number(new, bound)
                    && number(old, bound).is_none_or(|old| narrows(old, limit))
                {
                    self.report(what, &format!("has a narrower {bound} now"));
                }
            }
        }
        if new.get("pattern").is_some() && old.get("pattern") != new.get("pattern") {
            self.report(what, "has another pattern now");
        }
    }

    fn compare_members(&mut self, what: &str, old: &Value, new: &Value, direction: Direction) {
        let (old_required, new_required) = (names(&old["required"]), names(&new["required"]));
        for (name, schema) in members(&old["properties"]) {
            let what = format!("{what}.{name}");
            let Some(other) = new["properties"].get(name) else {
                self.report(&what, "was removed");
                continue;
            };
            let was_and_is = (old_required.contains(&name.as_str()), new_required.contains(&name.as_str()));
            match (direction, was_and_is) {
                (Direction::Request, (false, true)) => self.report(&what, "is required now"),
                (Direction::Response, (true, false)) => self.report(&what, "can be absent now"),
                _ => {}
            }
            self.compare(&what, schema, other, direction);
        }
        let is_new = |name: &&&str| old["properties"].get(**name).is_none() && !old_required.contains(*name);
        if direction == Direction::Request {
            for name in new_required.iter().filter(is_new) {
                self.report(&format!("{what}.{name}"), "is new and required");
            }
        }
    }
}

#[test]
fn alternatives_of_a_schema_are_the_same_in_any_spelling() {
    let document = json!({"components": {"schemas": {"Role": {"type": "string"}}}});
    let role = json!({"$ref": "#/components/schemas/Role"});
    for nullable in
        [json!({"type": ["string", "null"]}), json!({"oneOf": [{"type": "null"}, role]}), json!({"anyOf": [role, {"type": "null"}]})]
    {
        assert_eq!(variants(&document, &nullable), (vec![json!({"type": "string"})], true));
    }
    assert_eq!(variants(&document, &role), (vec![json!({"type": "string"})], false));
    assert_eq!(resolve(&document, &role), &json!({"type": "string"}));
}
