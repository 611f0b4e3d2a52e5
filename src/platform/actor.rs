//! The acting party of an operation: the caller of a request, or an operator on the command line. Passed to every service
//! function that changes data, so that logs and the audit log record who acted, on whose behalf, from which address and in
//! which request.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::auth::{Claims, Role};
use super::error::Error;
use super::id::UserId;

/// The acting party of an operation, for authorization, logs and the audit log.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The user; `None` for an operator on the command line.
    pub user: Option<UserId>,
    /// The higher of the role in the users row and the role in the token.
    pub role: Role,
    /// The role in the token alone. It does not count where users change their own row.
    pub token_role: Role,
    /// The administrator who impersonates the user.
    pub impersonator: Option<UserId>,
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
    /// The session of the service's own accounts that the request belongs to.
    pub session: Option<Arc<str>>,
}

impl Actor {
    /// An operator on the command line, who may do everything.
    pub fn operator() -> Self {
        Self {
            user: None,
            role: Role::Superadmin,
            token_role: Role::User,
            impersonator: None,
            address: None,
            request_id: None,
            session: None,
        }
    }

    /// Whether the actor is this user.
    pub fn is(&self, user: &UserId) -> bool {
        self.user.as_ref() == Some(user)
    }

    /// The user on whose account this counts: nobody's if an administrator acts in the user's name.
    pub fn account(&self) -> Option<&UserId> {
        self.user.as_ref().filter(|_| self.impersonator.is_none())
    }

    /// The name of the actor in logs: the user's id, or `operator`.
    pub fn name(&self) -> &str {
        self.user.as_ref().map_or("operator", UserId::as_str)
    }
}

/// Extractor for the active user of a guarded route. Dereferences to the user's [`Actor`].
#[derive(Debug, Clone)]
pub struct CurrentUser {
    pub id: UserId,
    pub claims: Arc<Claims>,
    pub actor: Actor,
}

impl Deref for CurrentUser {
    type Target = Actor;

    fn deref(&self) -> &Actor {
        &self.actor
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        // Missing only on an unguarded route, where the handler then rejects every request.
        parts.extensions.get::<Self>().cloned().ok_or(Error::Unauthenticated("Not authenticated"))
    }
}
