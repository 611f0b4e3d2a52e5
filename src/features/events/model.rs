//! Parameters of a stream, and its tickets.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Parameters of a stream.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamParams {
    /// A stream ticket, for clients that cannot send an `Authorization` header.
    #[param(required = false, value_type = String)]
    pub ticket: Option<String>,
    /// The last id that the client has seen, for a new `EventSource`. The header `Last-Event-ID` counts before it.
    #[param(required = false, value_type = String)]
    pub last_event_id: Option<String>,
}

/// A ticket for `GET /app/events`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"ticket": "kq3Zb8n0Yy2bVvXc1m", "expires_in": 86400}))]
pub struct EventStreamTicket {
    pub ticket: String,
    /// Seconds.
    pub expires_in: i64,
}

/// An event of a stream, for the OpenAPI document; `frames.rs` writes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct StreamEvent {
    /// `ready` or `resync` at the start, then `update` and `notification`.
    event: String,
    /// Where the client can resume.
    id: String,
    /// JSON. `update`: `resource`, `action` (`created`, `updated`, `deleted`), `resource_id`, and `data`, the resource, unless it is
    /// deleted. `notification`: `title`, `body`, `data` with its `kind` and `details`.
    data: String,
}
