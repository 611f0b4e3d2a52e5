//! The one error type of requests, named by meaning. It carries what the client is told and, apart from
//! that, what only the log may hold. The body is written in one place: `middleware::errors`.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

/// A request's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request is refused or fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rule of an operation is broken, or the body is no JSON.
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unauthenticated(&'static str),
    #[error("{0}")]
    Forbidden(&'static str),
    /// Absent, deleted, or not the caller's: all the same to the client.
    #[error("{resource} not found")]
    NotFound { resource: &'static str, id: String },
    #[error("Not found")]
    NoRoute,
    #[error("Method not allowed")]
    MethodNotAllowed,
    #[error("{message}")]
    Conflict { message: &'static str, resource: &'static str },
    #[error("Request body too large")]
    TooLarge { limit: usize },
    #[error("Content-Type must be application/json")]
    UnsupportedMediaType,
    #[error("Validation failed")]
    Invalid(Vec<FieldError>),
    #[error("Too many requests")]
    RateLimited { retry_after: u64 },
    /// A dependency is down, a feature is not configured, or there is too much to do. With
    /// `retry_after` (seconds) where a later try may help.
    #[error("{message}")]
    Unavailable { message: &'static str, retry_after: Option<u64> },
    /// An outside service failed, or did not answer in time.
    #[error("{message}")]
    Upstream {
        message: &'static str,
        /// As clients may know it.
        service: &'static str,
        retry_after: Option<u64>,
        /// For the log alone.
        cause: String,
    },
    /// The transaction lost against another one; `db::retry_contended` runs it once more, then it is a 503.
    #[error("Database is temporarily unavailable")]
    Contended,
    #[error("Internal server error")]
    Internal(#[source] anyhow::Error),
}

/// One problem of a request's parameters or body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Dotted path, e.g. `name` or `messages.0.role`; `body` for the whole.
    pub field: String,
    pub message: String,
    /// A stable word for programs: `missing`, `type`, `too_short`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl FieldError {
    pub fn new(field: impl Into<String>, kind: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), kind }
    }
}

impl Error {
    pub fn not_found(resource: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { resource, id: id.into() }
    }

    /// A single invalid field.
    pub fn invalid(field: &str, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, kind, message)])
    }

    /// The database cannot be asked just now.
    pub const fn database_down() -> Self {
        Self::Unavailable { message: "Database is temporarily unavailable", retry_after: Some(1) }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound { .. } | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Upstream { .. } => StatusCode::BAD_GATEWAY,
            Self::Unavailable { .. } | Self::Contended => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code of the envelope.
    pub fn code(&self) -> &'static str {
        CODES.iter().find(|(status, ..)| *status == self.status().as_u16()).map_or("INTERNAL_ERROR", |(_, code, _)| code)
    }

    /// What programs may need beside code and message.
    pub fn details(&self) -> Value {
        match self {
            Self::NotFound { resource, id } => json!({"resource": resource, "id": id}),
            Self::Conflict { resource, .. } => json!({"resource": resource}),
            Self::TooLarge { limit } => json!({"limit": limit}),
            Self::Invalid(errors) => json!({"field": errors.first().map(|e| &e.field), "errors": errors}),
            Self::RateLimited { retry_after } => json!({"retry_after": retry_after}),
            Self::Upstream { service, .. } => json!({"service": service}),
            _ => json!({}),
        }
    }

    /// Seconds for `Retry-After`.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } | Self::Upstream { retry_after, .. } => *retry_after,
            Self::Contended => Some(1),
            _ => None,
        }
    }

    /// The error that a framework's bare status stands for.
    pub fn from_status(status: StatusCode, max_body: usize) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NoRoute,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge { limit: max_body },
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::UNAUTHORIZED => Self::Unauthenticated("Not authenticated"),
            StatusCode::FORBIDDEN => Self::Forbidden("Forbidden"),
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable { message: "Service unavailable", retry_after: Some(1) },
            status if status.is_client_error() => Self::BadRequest("Bad request".to_owned()),
            status => Self::Internal(anyhow::anyhow!("bare answer with status {status}")),
        }
    }
}

/// Every code of the envelope: status, code, when. `docs/errors.md` is made from it.
pub const CODES: &[(u16, &str, &str)] = &[
    (400, "BAD_REQUEST", "the body is not JSON, or a rule of the operation is broken"),
    (401, "AUTHENTICATION_ERROR", "the token is missing, malformed, expired or not acceptable"),
    (403, "AUTHORIZATION_ERROR", "the role is missing, or the account is deactivated"),
    (404, "NOT_FOUND", "no such route, or the record is absent, deleted or not the caller's (`resource`, `id`)"),
    (405, "METHOD_NOT_ALLOWED", "the path exists, the method does not; see the `Allow` header"),
    (409, "CONFLICT", "a unique value is already taken (`resource`)"),
    (413, "PAYLOAD_TOO_LARGE", "the body exceeds `limit` bytes"),
    (415, "UNSUPPORTED_MEDIA_TYPE", "a JSON body was sent without `application/json`"),
    (422, "VALIDATION_ERROR", "a parameter or the body breaks type or bounds (`field`, `errors`)"),
    (429, "RATE_LIMIT_EXCEEDED", "too many requests (`retry_after` in seconds)"),
    (500, "INTERNAL_ERROR", "anything unforeseen; the log has the cause under the request id"),
    (502, "EXTERNAL_SERVICE_ERROR", "an outside service failed or did not answer in time (`service`)"),
    (503, "SERVICE_UNAVAILABLE", "a dependency is down, the request took too long, or there is too much to do"),
];

/// Sets the status and hands the error on; `middleware::errors` writes the body.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self::Internal(error)
    }
}

/// Temporary troubles of the database are 503, as is a write that lost against another one twice;
/// everything else is a fault of ours.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if crate::platform::db::is_contended(&error) {
            Self::Contended
        } else if crate::platform::db::is_temporary(&error) {
            tracing::warn!(error = %error, "database is temporarily unavailable");
            Self::database_down()
        } else {
            Self::Internal(anyhow::Error::new(error).context("database"))
        }
    }
}
