//! JSON bodies: read under the route's limit, parsed, held against their schema, and only then given to a handler.

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::idempotency;
use super::shape::Shape;
use crate::platform::error::{Error, Result};

/// Bytes that the route's body may have; put there by the gate.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// A JSON request body, or a JSON answer.
pub struct Json<T>(pub T);

/// A JSON request body together with the request's `Idempotency-Key`, for requests that create.
pub struct KeyedJson<T> {
    pub value: T,
    pub key: Option<idempotency::Key>,
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned + ToSchema + 'static> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        check_content_type(&request)?;
        let (parts, body) = request.into_parts();
        parse(&read(&parts, body).await?).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + ToSchema + 'static> FromRequest<S> for KeyedJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        check_content_type(&request)?;
        let (parts, body) = request.into_parts();
        let bytes = read(&parts, body).await?;
        let value = parse(&bytes)?;
        Ok(Self { value, key: idempotency::Key::read(&parts, &bytes)? })
    }
}

/// `application/json` or any `…+json`, with or without parameters. A request that neither has a body nor
/// claims a type is not of the wrong type: what it lacks is the body.
fn check_content_type(request: &Request) -> Result<()> {
    let headers = request.headers();
    if !headers.contains_key(header::CONTENT_TYPE) && request.body().is_end_stream() {
        return Err(Error::invalid("body", "missing", "A JSON body is required"));
    }
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    if json { Ok(()) } else { Err(Error::UnsupportedMediaType) }
}

/// The whole body, as long as it keeps within the route's limit.
async fn read(parts: &Parts, body: Body) -> Result<Bytes> {
    let limit = parts.extensions.get::<BodyLimit>().map_or(0, |limit| limit.0);
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge { limit }),
        Err(_) => Err(Error::BadRequest("The request body could not be read".to_owned())),
    }
}

fn parse<T: DeserializeOwned + ToSchema + 'static>(bytes: &[u8]) -> Result<T> {
    let value = serde_json::from_slice(bytes).map_err(|_| Error::BadRequest("The request body is not valid JSON".to_owned()))?;
    let shape = Shape::of_body::<T>().map_err(|reason| anyhow::anyhow!("schema of a body: {reason}"))?;
    let mut problems = Vec::new();
    shape.check(&value, "", &mut problems);
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    // The schema knows everything that serde asks for; a difference between them is still the body's fault to the client.
    serde_json::from_value(value).map_err(|_| Error::invalid("body", "type", "The body is not as it must be"))
}

/// For members of a PATCH body that may be cleared: absent is `None`, `null` is `Some(None)`.
/// Use with `#[serde(default, deserialize_with = "present")]`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
