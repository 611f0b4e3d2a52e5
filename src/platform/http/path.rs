//! The last segment of a path as the caller wrote it. Never refused: what names nothing is simply not
//! found by whoever looks it up.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use crate::platform::error::Error;

/// The one parameter of the route's template, percent-decoded.
pub struct PathParam(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathParam {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        // Fails where the decoded bytes are no UTF-8, which no identifier of ours is.
        let Ok(params) = RawPathParams::from_request_parts(parts, state).await else { return Ok(Self(String::new())) };
        Ok(Self(params.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default()))
    }
}
