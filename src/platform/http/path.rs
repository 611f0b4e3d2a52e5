//! Path parameters. Text that is not a valid id cannot name a record, so the response is 404 instead of 422.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use crate::platform::error::Error;
use crate::platform::id::PathId;

/// The first parameter of the route's template, percent-decoded.
pub struct PathParam(pub String);

/// The first parameter of the route's template as an id; 404 if the text is not a valid id.
pub struct Path<T>(pub T);

impl<S: Send + Sync> FromRequestParts<S> for PathParam {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        // Fails where the decoded bytes are not UTF-8, which none of our identifiers is.
        let Ok(params) = RawPathParams::from_request_parts(parts, state).await else { return Ok(Self(String::new())) };
        Ok(Self(params.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default()))
    }
}

impl<S: Send + Sync, T: PathId> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let PathParam(text) = PathParam::from_request_parts(parts, state).await?;
        T::parse(&text).map(Self).ok_or_else(|| Error::not_found(T::RESOURCE, text))
    }
}
