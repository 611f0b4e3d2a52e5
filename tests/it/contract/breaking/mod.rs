//! Finds the breaking changes from one OpenAPI document to the next: what a client that was written against the first one can
//! no longer send, no longer reads, or has never seen. Additions are no breaks, except new values of what is read: a client may
//! have handled all that there were.

mod planted;
mod schema;

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

/// Who writes what a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Direction {
    /// Clients: the new document must allow all that the old one allowed.
    Request,
    /// The server: the new document must allow no more than the old one did.
    Response,
}

/// Returns one line for each breaking change.
pub fn breaking_changes(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { old, new, found: Vec::new(), seen: HashSet::new() };
    for (path, item) in members(&old["paths"]) {
        match new["paths"].get(path) {
            None => comparison.found.push(format!("{path} was removed")),
            Some(other) => comparison.compare_path(path, item, other),
        }
    }
    comparison.found
}

/// The members of an object; none if it is not one.
fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Whether a member is present and true.
fn is_set(value: &Value, member: &str) -> bool {
    value.get(member) == Some(&Value::Bool(true))
}

struct Comparison<'d> {
    old: &'d Value,
    new: &'d Value,
    found: Vec<String>,
    /// Pairs of schemas with references that were compared: schemas can hold themselves, and many operations share one.
    seen: HashSet<(String, String, Direction)>,
}

impl Comparison<'_> {
    fn report(&mut self, what: &str, change: &str) {
        self.found.push(format!("{what} {change}"));
    }

    fn compare_path(&mut self, path: &str, old: &Value, new: &Value) {
        for (method, operation) in members(old).filter(|(_, operation)| operation.get("responses").is_some()) {
            let what = format!("{} {path}", method.to_uppercase());
            match new.get(method) {
                None => self.report(&what, "was removed"),
                Some(other) => self.compare_operation(&what, operation, other),
            }
        }
    }

    fn compare_operation(&mut self, what: &str, old: &Value, new: &Value) {
        self.compare_security(what, &old["security"], &new["security"]);
        self.compare_parameters(what, &old["parameters"], &new["parameters"]);
        self.compare_body(what, old.get("requestBody"), new.get("requestBody"));
        for (status, response) in members(&old["responses"]) {
            let what = format!("{what} -> {status}");
            match new["responses"].get(status) {
                None => self.report(&what, "was removed"),
                Some(other) => {
                    for (header, _) in members(&response["headers"]) {
                        if other["headers"].get(header).is_none() {
                            self.report(&format!("{what} header {header}"), "was removed");
                        }
                    }
                    self.compare_content(&what, &response["content"], &other["content"], Direction::Response);
                }
            }
        }
    }

    /// Every way to authenticate must stay, and none may become necessary.
    fn compare_security(&mut self, what: &str, old: &Value, new: &Value) {
        let ways = |security: &Value| security.as_array().cloned().unwrap_or_default();
        let (old, new) = (ways(old), ways(new));
        if old.is_empty() && !new.is_empty() {
            self.report(what, "needs a token now");
        } else if !new.is_empty() && old.iter().any(|way| !new.contains(way)) {
            self.report(what, "takes other credentials now");
        }
    }

    fn compare_parameters(&mut self, what: &str, old: &Value, new: &Value) {
        let by_name = |parameters: &Value| -> BTreeMap<String, Value> {
            let key = |parameter: &Value| format!("{}:{}", text(parameter, "in"), text(parameter, "name"));
            parameters.as_array().into_iter().flatten().map(|parameter| (key(parameter), parameter.clone())).collect()
        };
        let (old, new) = (by_name(old), by_name(new));
        for (name, parameter) in &old {
            let what = format!("{what} {name}");
            let Some(other) = new.get(name) else {
                self.report(&what, "was removed");
                continue;
            };
            if !is_set(parameter, "required") && is_set(other, "required") {
                self.report(&what, "is required now");
            }
            self.compare(&what, &parameter["schema"], &other["schema"], Direction::Request);
        }
        for (name, _) in new.iter().filter(|(name, parameter)| !old.contains_key(*name) && is_set(parameter, "required")) {
            self.report(&format!("{what} {name}"), "is new and required");
        }
    }

    fn compare_body(&mut self, what: &str, old: Option<&Value>, new: Option<&Value>) {
        let what = format!("{what} <-");
        match (old, new) {
            (Some(_), None) => self.report(&what, "was removed"),
            (None, Some(new)) if is_set(new, "required") => self.report(&what, "is new and required"),
            (Some(old), Some(new)) => {
                if !is_set(old, "required") && is_set(new, "required") {
                    self.report(&what, "is required now");
                }
                self.compare_content(&what, &old["content"], &new["content"], Direction::Request);
            }
            (None, _) => {}
        }
    }

    fn compare_content(&mut self, what: &str, old: &Value, new: &Value, direction: Direction) {
        for (media_type, content) in members(old) {
            match new.get(media_type) {
                None => self.report(&format!("{what} {media_type}"), "was removed"),
                Some(other) => self.compare(what, &content["schema"], &other["schema"], direction),
            }
        }
    }
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_default()
}

/// Follows references within the document.
fn resolve<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|reference| document.pointer(reference.strip_prefix('#')?));
    target.map_or(schema, |target| resolve(document, target))
}

/// The members of `allOf` as one schema.
fn merged(document: &Value, schema: &Value) -> Value {
    let schema = resolve(document, schema);
    let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
    let mut whole = Map::new();
    for part in parts {
        for (key, value) in members(&merged(document, part)) {
            match (whole.get_mut(key), value) {
                (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
                (Some(Value::Array(known)), Value::Array(more)) => known.extend(more.iter().cloned()),
                _ => drop(whole.insert(key.clone(), value.clone())),
            }
        }
    }
    whole.into()
}
