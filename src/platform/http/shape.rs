//! Validation by the OpenAPI schema: a request is validated against the schema that the document shows, so a bound is written
//! once (`#[schema(max_length = 255)]`) and the document cannot promise what the code does not check. Every problem of a
//! request is reported, not only the first.
//!
//! Supported: the types, `minimum`, `maximum`, `minLength`, `maxLength` (in code points), `minItems`,
//! `maxItems`, `enum`, `format: uri` (absolute http or https), `format: email`, and the pattern `\S` (not only white space);
//! `format: password` has no rule. Anything else in a schema is a programming error that [`Shape::of_body`] reports.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use serde_json::{Map, Value};
use utoipa::openapi::Required;
use utoipa::openapi::path::ParameterIn;
use utoipa::{IntoParams, ToSchema};

use crate::platform::error::FieldError;
use crate::platform::text::{fold_email, is_email, is_web_url};

/// Validation rules for a JSON value.
#[derive(Debug, Clone)]
pub enum Shape {
    Any,
    Nullable(Box<Shape>),
    Object(Vec<(String, Shape, bool)>),
    List { items: Box<Shape>, min: usize, max: usize },
    Text { min: usize, max: usize, web_url: bool, email: bool, not_blank: bool },
    OneOf(Vec<String>),
    Integer { min: i64, max: i64 },
    Number { min: f64, max: f64 },
    Boolean,
}

static SHAPES: LazyLock<RwLock<HashMap<TypeId, Arc<Shape>>>> = LazyLock::new(RwLock::default);

/// Returns the cached shape of `T`; builds it on first use.
fn cached<T: 'static>(make: impl FnOnce() -> Result<Shape, String>) -> Result<Arc<Shape>, String> {
    let id = TypeId::of::<T>();
    if let Some(shape) = SHAPES.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return Ok(shape.clone());
    }
    let shape = Arc::new(make()?);
    SHAPES.write().unwrap_or_else(PoisonError::into_inner).insert(id, shape.clone());
    Ok(shape)
}

impl Shape {
    /// Returns the shape of a body type. Fails if the schema uses an unsupported keyword.
    pub fn of_body<T: ToSchema + 'static>() -> Result<Arc<Self>, String> {
        cached::<T>(|| {
            let mut named = Vec::new();
            T::schemas(&mut named);
            let named = named.into_iter().map(|(name, schema)| Ok((name, serde_json::to_value(schema).map_err(|e| e.to_string())?)));
            let named = named.collect::<Result<HashMap<_, _>, String>>()?;
            read(&serde_json::to_value(T::schema()).map_err(|e| e.to_string())?, &named)
        })
    }

    /// Returns the shape of query parameters, whose values are all text.
    pub fn of_query<T: IntoParams + 'static>() -> Result<Arc<Self>, String> {
        cached::<T>(|| {
            let members = T::into_params(|| Some(ParameterIn::Query)).into_iter().map(|parameter| {
                let schema = serde_json::to_value(parameter.schema).map_err(|e| e.to_string())?;
                Ok((parameter.name, read(&schema, &HashMap::new())?, parameter.required == Required::True))
            });
            Ok(Self::Object(members.collect::<Result<_, String>>()?))
        })
    }

    /// Appends every mismatch between the value and the shape to `problems`; `field` is the path of the value.
    pub fn check(&self, value: &Value, field: &str, problems: &mut Vec<FieldError>) {
        let mut problem =
            |kind, message: String| problems.push(FieldError::new(if field.is_empty() { "body" } else { field }, kind, message));
        match (self, value) {
            (Self::Any, _) | (Self::Nullable(_), Value::Null) | (Self::Boolean, Value::Bool(_)) => {}
            (Self::Nullable(inner), value) => inner.check(value, field, problems),
            (Self::Object(members), Value::Object(object)) => {
                for (name, shape, required) in members {
                    let path = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                    match object.get(name) {
                        Some(value) => shape.check(value, &path, problems),
                        None if *required => problems.push(FieldError::new(path, "missing", "Field required")),
                        None => {}
                    }
                }
            }
            (Self::List { items, min, max }, Value::Array(list)) => {
                if list.len() < *min {
                    problem("too_short", format!("Must have at least {min} items"));
                } else if list.len() > *max {
                    problem("too_long", format!("Must have at most {max} items"));
                } else {
                    list.iter().enumerate().for_each(|(i, value)| items.check(value, &format!("{field}.{i}"), problems));
                }
            }
            (Self::Text { min, max, web_url, email, not_blank }, Value::String(text)) => {
                let length = text.chars().count();
                if text.contains('\0') {
                    problem("nul", "Must not contain U+0000".to_owned());
                } else if length < *min {
                    problem("too_short", format!("Must have at least {min} characters"));
                } else if length > *max {
                    problem("too_long", format!("Must have at most {max} characters"));
                } else if *not_blank && text.chars().all(char::is_whitespace) {
                    problem("blank", "Must not be blank".to_owned());
                } else if *web_url && !is_web_url(text) {
                    problem("format", "Must be an absolute http or https URL".to_owned());
                } else if *email && !is_email(&fold_email(text)) {
                    problem("format", "Must be an e-mail address".to_owned());
                }
            }
            (Self::OneOf(names), Value::String(text)) if names.contains(text) => {}
            (Self::OneOf(names), _) => problem("enum", format!("Must be one of {}", names.join(", "))),
            (Self::Integer { min, max }, Value::Number(number)) if number.is_i64() || number.is_u64() => {
                // A number that does not fit an `i64` counts as above every maximum.
                let number = number.as_i64().unwrap_or(i64::MAX);
                if number < *min {
                    problem("too_small", format!("Must be at least {min}"));
                } else if number > *max {
                    problem("too_large", format!("Must be at most {max}"));
                }
            }
            (Self::Number { min, max }, Value::Number(number)) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                if !(*min..=*max).contains(&number) {
                    problem(if number < *min { "too_small" } else { "too_large" }, format!("Must be between {min} and {max}"));
                }
            }
            (wanted, _) => problem("type", format!("Must be {}", wanted.name())),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Nullable(inner) => inner.name(),
            Self::Object(_) => "an object",
            Self::List { .. } => "a list",
            Self::Text { .. } | Self::OneOf(_) => "a string",
            Self::Integer { .. } => "an integer",
            Self::Number { .. } => "a number",
            Self::Boolean => "true or false",
        }
    }

    /// Converts the text of a query parameter to the JSON type that the shape expects, if possible.
    pub fn from_text(&self, text: &str) -> Value {
        match self {
            Self::Nullable(inner) => inner.from_text(text),
            Self::Integer { .. } => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
            Self::Number { .. } => text.parse::<f64>().map_or_else(|_| text.into(), Value::from),
            Self::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => true.into(),
                "false" | "0" | "no" | "off" => false.into(),
                _ => text.into(),
            },
            _ => text.into(),
        }
    }
}

/// Reads a JSON schema as utoipa writes it.
fn read(schema: &Value, named: &HashMap<String, Value>) -> Result<Shape, String> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return read(named.get(name).ok_or_else(|| format!("no schema {name}"))?, named);
    }
    if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
        let others: Vec<_> = variants.iter().filter(|variant| variant["type"] != "null").collect();
        let [other] = others.as_slice() else { return Err("oneOf with several shapes".to_owned()) };
        let shape = read(other, named)?;
        return Ok(if others.len() < variants.len() { Shape::Nullable(Box::new(shape)) } else { shape });
    }
    if let Some(types) = schema.get("type").and_then(Value::as_array) {
        let others: Vec<_> = types.iter().filter(|name| **name != "null").collect();
        let [other] = others.as_slice() else { return Err("several types".to_owned()) };
        let mut one = schema.clone();
        one["type"] = (*other).clone();
        return Ok(Shape::Nullable(Box::new(read(&one, named)?)));
    }
    let length = |name: &str, default: usize| {
        schema.get(name).and_then(Value::as_u64).map_or(Ok(default), usize::try_from).map_err(|e| e.to_string())
    };
    match schema.get("type").and_then(Value::as_str) {
        None => Ok(Shape::Any),
        Some("object") => {
            let empty = Map::new();
            let required = schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let members = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
            let members =
                members.iter().map(|(name, schema)| Ok((name.clone(), read(schema, named)?, required.iter().any(|r| r == name.as_str()))));
            Ok(Shape::Object(members.collect::<Result<_, String>>()?))
        }
        Some("array") => {
            let items = Box::new(read(schema.get("items").unwrap_or(&Value::Null), named)?);
            Ok(Shape::List { items, min: length("minItems", 0)?, max: length("maxItems", usize::MAX)? })
        }
        Some("string") => {
            if let Some(names) = schema.get("enum").and_then(Value::as_array) {
                return Ok(Shape::OneOf(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()));
            }
            let not_blank = match schema.get("pattern").and_then(Value::as_str) {
                None => false,
                Some(r"\S") => true,
                Some(other) => return Err(format!("pattern {other}")),
            };
            let has_format = |name: &str| schema.get("format").is_some_and(|format| format == name);
            let (web_url, email) = (has_format("uri"), has_format("email"));
            Ok(Shape::Text { min: length("minLength", 0)?, max: length("maxLength", usize::MAX)?, web_url, email, not_blank })
        }
        Some("integer") => {
            let bound = |name: &str, default: i64| {
                schema.get(name).map_or(Some(default), |v| v.as_i64().or_else(|| v.as_f64().and_then(whole))).ok_or(name.to_owned())
            };
            Ok(Shape::Integer { min: bound("minimum", i64::MIN)?, max: bound("maximum", i64::MAX)? })
        }
        Some("number") => {
            let bound = |name: &str, default| schema.get(name).map_or(Some(default), Value::as_f64).ok_or(name.to_owned());
            Ok(Shape::Number { min: bound("minimum", f64::MIN)?, max: bound("maximum", f64::MAX)? })
        }
        Some("boolean") => Ok(Shape::Boolean),
        Some(other) => Err(format!("type {other}")),
    }
}

/// Converts a bound to an integer, because utoipa writes bounds as floats.
#[expect(clippy::cast_possible_truncation, reason = "only values that an i64 holds exactly are taken")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Message {
        #[schema(min_length = 1, max_length = 5, pattern = r"\S")]
        text: String,
        role: Role,
    }

    #[derive(ToSchema)]
    #[schema(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only its schema is used")]
    enum Role {
        User,
        System,
    }

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Chat {
        #[schema(min_items = 1)]
        messages: Vec<Message>,
        #[schema(minimum = 1, maximum = 10)]
        count: i64,
        #[schema(format = "uri")]
        link: Option<String>,
        role: Option<Role>,
    }

    fn problems(value: &Value) -> Vec<(String, &'static str)> {
        let mut found = Vec::new();
        Shape::of_body::<Chat>().unwrap().check(value, "", &mut found);
        found.into_iter().map(|p| (p.field, p.kind)).collect()
    }

    #[test]
    fn shape_check_reports_every_problem_with_its_path() {
        assert_eq!(problems(&json!({"messages": [{"text": "hi", "role": "user"}], "count": 3, "link": null})), []);
        assert_eq!(
            problems(
                &json!({"messages": [{"text": "🚀🚀🚀🚀🚀🚀", "role": "robot"}, {"text": " \u{3000}"}], "count": 0, "link": "javascript:x", "role": "x"})
            ),
            [
                ("count".to_owned(), "too_small"),
                ("link".to_owned(), "format"),
                ("messages.0.role".to_owned(), "enum"),
                ("messages.0.text".to_owned(), "too_long"),
                ("messages.1.role".to_owned(), "missing"),
                ("messages.1.text".to_owned(), "blank"),
                ("role".to_owned(), "enum"),
            ]
        );
        assert_eq!(problems(&json!([])), [("body".to_owned(), "type")]);
        assert_eq!(problems(&json!({"messages": [], "count": 1.5})), [("count".to_owned(), "type"), ("messages".to_owned(), "too_short")]);
    }
}
