//! Request bodies: read under the route's limit. JSON is parsed and validated against its schema before a handler gets it;
//! [`RawBody`] keeps the exact bytes, for signatures over them; [`StreamBody`] is read in pieces.
//!
//! Bodies are not compressed: limits, signatures and stored files are about the bytes as they were sent. JSON is UTF-8; a
//! byte order mark before it is ignored.

use std::sync::Arc;

use axum::RequestExt;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
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

/// The bytes of a request's body as they arrive. The handler limits their number.
pub struct StreamBody(pub Body);

impl<S: Send + Sync> FromRequest<S> for StreamBody {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        check_content_coding(request.headers())?;
        Ok(Self(request.into_body()))
    }
}

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

/// Refuses compressed bodies.
fn check_content_coding(headers: &HeaderMap) -> Result<()> {
    let is_identity = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    let codings = headers.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let mut codings = codings.flat_map(|codings| codings.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    if codings.all(is_identity) { Ok(()) } else { Err(Error::UnsupportedCoding) }
}

/// Reads the whole body; fails above the route's limit.
async fn read(parts: &Parts, body: Body) -> Result<Bytes> {
    check_content_coding(&parts.headers)?;
    let limit = parts.extensions.get::<Arc<RequestContext>>().map_or(0, |context| context.body_limit);
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge { limit }),
        Err(_) => Err(Error::BadRequest("The request body could not be read".to_owned())),
    }
}

fn parse<T: DeserializeOwned + ToSchema + 'static>(bytes: &[u8]) -> Result<T> {
    // RFC 8259 §8.1 lets a parser ignore the mark, which some editors and libraries write.
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let value = serde_json::from_slice(text).map_err(|_| Error::BadRequest(not_json(text).to_owned()))?;
    let shape = Shape::of_body::<T>().map_err(|reason| anyhow::anyhow!("schema of a body: {reason}"))?;
    let mut problems = Vec::new();
    shape.check(&value, "", &mut problems);
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    // The schema should cover all that serde requires; if they differ, the client still gets a 422.
    serde_json::from_value(value).map_err(|_| Error::invalid("body", "type", "The body does not match the schema"))
}

/// The reason why bytes are not JSON. UTF-16 and UTF-32 are recognized by a byte order mark, which is not UTF-8, or by a zero
/// among the first bytes, because JSON begins with an ASCII character.
fn not_json(bytes: &[u8]) -> &'static str {
    if bytes.iter().take(4).any(|byte| *byte == 0) || std::str::from_utf8(bytes).is_err() {
        "The request body is not UTF-8: send JSON in UTF-8, uncompressed"
    } else {
        "The request body is not valid JSON"
    }
}

/// Deserializes a member of a PATCH body that may be cleared: absent is `None`, `null` is `Some(None)`.
/// Use with `#[serde(default, deserialize_with = "present")]`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
