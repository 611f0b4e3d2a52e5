//! Query parameters, validated against the parameters of the OpenAPI document.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use super::shape::Shape;
use crate::platform::error::{Error, Result};

/// The query parameters that `T` declares. Others are ignored; the last value of a repeated parameter counts.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + IntoParams + 'static> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let shape = Shape::of_query::<T>().map_err(|reason| anyhow::anyhow!("parameters of a query: {reason}"))?;
        let Shape::Object(members) = shape.as_ref() else { return Err(anyhow::anyhow!("parameters are an object").into()) };
        let mut values = Map::new();
        for (name, text) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if let Some((name, shape, _)) = members.iter().find(|(member, ..)| *member == name) {
                values.insert(name.clone(), shape.from_text(&text));
            }
        }
        let values = Value::Object(values);
        let mut problems = Vec::new();
        shape.check(&values, "", &mut problems);
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        serde_json::from_value(values).map(Self).map_err(|_| Error::invalid("query", "type", "The query does not match the schema"))
    }
}
