//! Request bodies: read under the route's limit. JSON is parsed and validated against its schema before a handler gets it;
//! [`RawBody`] keeps the exact bytes, for signatures over them.

use std::sync::Arc;

use axum::RequestExt;
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

use super::context::RequestContext;
use super::idempotency;
use super::path::Path;
use super::shape::Shape;
use crate::platform::error::{Error, Result};
use crate::platform::id::PathId;

/// A JSON request body, or a JSON response.
pub struct Json<T>(pub T);

/// A JSON request body together with the request's `Idempotency-Key`, for requests that create.
pub struct KeyedJson<T> {
    pub value: T,
    pub key: Option<idempotency::Key>,
}

/// Extractor for the id in the path and a JSON request body. The body is validated first: an invalid body is 422 even if the
/// path holds no valid id.
pub struct JsonAt<I, T>(pub I, pub T);

/// The exact bytes of a request's body.
pub struct RawBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for RawBody {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (parts, body) = request.into_parts();
        read(&parts, body).await.map(Self)
    }
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

impl<S, I, T> FromRequest<S> for JsonAt<I, T>
where
    S: Send + Sync,
    I: PathId + Send + 'static,
    T: DeserializeOwned + ToSchema + 'static,
{
    type Rejection = Error;

    async fn from_request(mut request: Request, state: &S) -> Result<Self> {
        let path = request.extract_parts_with_state::<Path<I>, S>(state).await;
        let Json(value) = Json::from_request(request, state).await?;
        let Path(id) = path?;
        Ok(Self(id, value))
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

/// Accepts `application/json` and any `…+json`, with or without parameters. A request with neither a body nor a content type
/// is reported as lacking the body.
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

/// Reads the whole body; fails above the route's limit.
async fn read(parts: &Parts, body: Body) -> Result<Bytes> {
    let limit = parts.extensions.get::<Arc<RequestContext>>().map_or(0, |context| context.body_limit);
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
    // The schema should cover all that serde requires; if they differ, the client still gets a 422.
    serde_json::from_value(value).map_err(|_| Error::invalid("body", "type", "The body does not match the schema"))
}

/// Deserializes a member of a PATCH body that may be cleared: absent is `None`, `null` is `Some(None)`.
/// Use with `#[serde(default, deserialize_with = "present")]`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
