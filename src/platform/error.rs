//! The error type of requests. Each variant holds the message for the client and, separately, details for the log.
//! `middleware::errors` writes the response body.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

/// The result of a request.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request is refused or fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule of the operation is violated, or the body is not JSON.
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Unauthenticated(&'static str),
    #[error("{0}")]
    Forbidden(&'static str),
    /// The quota of the user's plan is used up.
    #[error("Plan limit exceeded")]
    PlanLimit {
        feature: &'static str,
        limit: i64,
        used: i64,
        /// `None` for quotas that do not reset.
        resets_at: Option<DateTime<Utc>>,
    },
    /// Absent, deleted, or not the caller's: the response is the same for all three.
    #[error("{resource} not found")]
    NotFound { resource: &'static str, id: String },
    #[error("Not found")]
    NoRoute,
    #[error("Method not allowed")]
    MethodNotAllowed,
    #[error("{message}")]
    Conflict {
        message: &'static str,
        /// Empty if the conflict is about no record.
        resource: &'static str,
    },
    /// A request with the same `Idempotency-Key` is running.
    #[error("The same request is running: repeat it in a moment")]
    InProgress,
    #[error("Request body too large")]
    TooLarge { limit: usize },
    #[error("Content-Type must be application/json")]
    UnsupportedMediaType,
    /// The request has a `Content-Encoding`.
    #[error("Content-Encoding is not supported: send the body uncompressed")]
    UnsupportedCoding,
    #[error("Range not satisfiable")]
    RangeNotSatisfiable,
    #[error("Validation failed")]
    Invalid(Vec<FieldError>),
    #[error("Too many requests")]
    RateLimited { retry_after: u64 },
    /// A dependency is down, a feature is not configured, or the server is overloaded. `retry_after` (seconds) is set where a
    /// later try may succeed.
    #[error("{message}")]
    Unavailable { message: &'static str, retry_after: Option<u64> },
    /// An external service failed or timed out.
    #[error("{message}")]
    Upstream {
        message: &'static str,
        /// Name of the service as clients may see it.
        service: &'static str,
        /// Machine-readable reason, where clients can act on it.
        reason: Option<&'static str>,
        retry_after: Option<u64>,
        /// For the log only.
        cause: String,
    },
    /// The transaction lost to a concurrent one. `transaction!` retries it once; after that it is a 503.
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
    /// Machine-readable code: `missing`, `type`, `too_short`, …
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl FieldError {
    pub fn new(field: impl Into<String>, kind: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), kind }
    }
}

/// A code of the error envelope. Each kind of error has its own code; several codes may share a status.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    pub status: StatusCode,
    pub name: &'static str,
    /// When it is returned, and which details it has.
    pub when: &'static str,
}

macro_rules! codes {
    ($($name:ident = $status:ident: $when:literal;)*) => {
        $(const $name: Code = Code { status: StatusCode::$status, name: stringify!($name), when: $when };)*
        /// Every code of the envelope. `docs/errors.md` is made from it.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    BAD_REQUEST = BAD_REQUEST: "the body is not JSON, or a rule of the operation is broken";
    AUTHENTICATION_ERROR = UNAUTHORIZED: "the token is missing, malformed, expired or not acceptable";
    AUTHORIZATION_ERROR = FORBIDDEN: "the role is missing, or the account is deactivated";
    PLAN_LIMIT_EXCEEDED = FORBIDDEN: "the quota of the plan is used up (`feature`, `limit`, `used`, `resets_at`)";
    NOT_FOUND = NOT_FOUND: "no such route, or the record is absent, deleted or not the caller's (`resource`, `id`)";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED: "the path exists, the method does not; see the `Allow` header";
    CONFLICT = CONFLICT: "a unique value is already taken, or the same action is running (`resource`)";
    PAYLOAD_TOO_LARGE = PAYLOAD_TOO_LARGE: "the body exceeds `limit` bytes";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE: "a JSON body was sent without `application/json`, or a body is compressed";
    RANGE_NOT_SATISFIABLE = RANGE_NOT_SATISFIABLE: "the requested range lies outside of the file; see the `Content-Range` header";
    VALIDATION_ERROR = UNPROCESSABLE_ENTITY: "a parameter or the body breaks type or bounds (`field`, `errors`)";
    RATE_LIMIT_EXCEEDED = TOO_MANY_REQUESTS: "too many requests (`retry_after` in seconds)";
    INTERNAL_ERROR = INTERNAL_SERVER_ERROR: "anything unforeseen; the log has the cause under the request id";
    EXTERNAL_SERVICE_ERROR = BAD_GATEWAY: "an outside service failed or did not answer in time (`service`; AI: `reason`)";
    SERVICE_UNAVAILABLE = SERVICE_UNAVAILABLE: "a dependency is down, the request took too long, or the server is overloaded";
}

impl Error {
    pub fn not_found(resource: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { resource, id: id.into() }
    }

    /// A single invalid field.
    pub fn invalid(field: &str, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, kind, message)])
    }

    /// The database is temporarily unreachable.
    pub const fn database_down() -> Self {
        Self::Unavailable { message: "Database is temporarily unavailable", retry_after: Some(1) }
    }

    /// A unique value that another transaction took in the meantime is a lost race: run again, the transaction finds that value.
    pub fn contended_if_taken(self) -> Self {
        match self {
            Self::Internal(cause) if is_taken(&cause) => Self::Contended,
            other => other,
        }
    }

    /// The code of the envelope, with its status.
    pub fn code(&self) -> &'static Code {
        match self {
            Self::BadRequest(_) => &BAD_REQUEST,
            Self::Unauthenticated(_) => &AUTHENTICATION_ERROR,
            Self::Forbidden(_) => &AUTHORIZATION_ERROR,
            Self::PlanLimit { .. } => &PLAN_LIMIT_EXCEEDED,
            Self::NotFound { .. } | Self::NoRoute => &NOT_FOUND,
            Self::MethodNotAllowed => &METHOD_NOT_ALLOWED,
            Self::Conflict { .. } | Self::InProgress => &CONFLICT,
            Self::TooLarge { .. } => &PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedCoding => &UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => &RANGE_NOT_SATISFIABLE,
            Self::Invalid(_) => &VALIDATION_ERROR,
            Self::RateLimited { .. } => &RATE_LIMIT_EXCEEDED,
            Self::Upstream { .. } => &EXTERNAL_SERVICE_ERROR,
            Self::Unavailable { .. } | Self::Contended => &SERVICE_UNAVAILABLE,
            Self::Internal(_) => &INTERNAL_ERROR,
        }
    }

    pub fn status(&self) -> StatusCode {
        self.code().status
    }

    /// The members of the envelope's `details`.
    pub fn details(&self) -> Value {
        match self {
            Self::PlanLimit { feature, limit, used, resets_at } => {
                json!({"feature": feature, "limit": limit, "used": used, "resets_at": resets_at})
            }
            Self::NotFound { resource, id } => json!({"resource": resource, "id": id}),
            Self::Conflict { resource, .. } if !resource.is_empty() => json!({"resource": resource}),
            Self::TooLarge { limit } => json!({"limit": limit}),
            Self::Invalid(errors) => json!({"field": errors.first().map(|e| &e.field), "errors": errors}),
            Self::RateLimited { retry_after } => json!({"retry_after": retry_after}),
            Self::Upstream { service, reason: Some(reason), .. } => json!({"service": service, "reason": reason}),
            Self::Upstream { service, .. } => json!({"service": service}),
            _ => json!({}),
        }
    }

    /// Seconds for `Retry-After`.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } | Self::Upstream { retry_after, .. } => *retry_after,
            Self::Contended | Self::InProgress => Some(1),
            _ => None,
        }
    }

    /// Converts the status of a framework's own error response.
    pub fn from_status(status: StatusCode, max_body: usize) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NoRoute,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge { limit: max_body },
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::RANGE_NOT_SATISFIABLE => Self::RangeNotSatisfiable,
            StatusCode::UNAUTHORIZED => Self::Unauthenticated("Not authenticated"),
            StatusCode::FORBIDDEN => Self::Forbidden("Forbidden"),
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable { message: "Service unavailable", retry_after: Some(1) },
            status if status.is_client_error() => Self::BadRequest("Bad request".to_owned()),
            status => Self::Internal(anyhow::anyhow!("bare answer with status {status}")),
        }
    }
}

/// Sets the status and passes the error on; `middleware::errors` writes the body.
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

fn is_taken(cause: &anyhow::Error) -> bool {
    let database = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    database.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// Temporary database failures become 503, as does a write that lost to another transaction twice; every other error becomes
/// an internal error.
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
