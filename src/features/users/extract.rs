//! The caller, for handlers of the zones `app` and `admin`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::model::UserId;
use crate::platform::auth::{Claims, Role};
use crate::platform::error::Error;

/// The active user who calls; put into the request by the guard of the zone.
#[derive(Debug, Clone)]
pub struct CurrentUser {
    pub id: UserId,
    /// The higher one of the row's and the token's.
    pub role: Role,
    pub claims: Arc<Claims>,
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        // Absent only where a handler in the zone `public` asks for it, which nobody can satisfy.
        parts.extensions.get::<Self>().cloned().ok_or(Error::Unauthenticated("Not authenticated"))
    }
}
