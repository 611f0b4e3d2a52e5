//! Rows of `webhook_events` and their API views.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::sender::Answer;
use crate::platform::http::list::{Listed, SortKey};
use crate::platform::id::{Id, Resource};

pub type EventId = Id<EventRow>;

impl Resource for EventRow {
    const NAME: &'static str = "Webhook event";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = WebhookStatus)]
pub enum EventStatus {
    Pending,
    Processing,
    Processed,
    Failed,
}

impl EventStatus {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Processed => "processed",
            Self::Failed => "failed",
        }
    }
}

/// A received event.
#[derive(Debug, Clone, Serialize, sqlx::FromRow, ToSchema)]
#[schema(as = WebhookEvent, example = json!({
    "id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "provider": "stripe", "event_type": "customer.subscription.updated",
    "idempotency_key": "evt_1PxExample", "status": "processed", "attempts": 1, "error_message": null,
    "created_at": "2026-01-10T12:00:00.123456Z", "processed_at": "2026-01-10T12:00:00.123456Z"
}))]
pub struct EventRow {
    #[schema(value_type = String)]
    pub id: EventId,
    pub provider: String,
    /// The provider's own name of the type.
    pub event_type: String,
    /// The provider's id of the event.
    pub idempotency_key: String,
    pub status: EventStatus,
    pub attempts: i32,
    /// Why the last attempt failed.
    pub error_message: Option<String>,
    pub created_at: DateTime<Utc>,
    pub processed_at: Option<DateTime<Utc>>,
}

impl Listed for EventRow {
    fn sort_key(&self) -> SortKey {
        SortKey::Time(self.created_at)
    }

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// An event with its payload.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEventDetail)]
pub struct EventDetail {
    #[serde(flatten)]
    pub event: EventRow,
    /// The provider's own time of the event.
    pub occurred_at: Option<DateTime<Utc>>,
    /// What the provider sent; secrets and signed tokens are masked.
    #[schema(value_type = Object)]
    pub payload: Value,
}

/// The answer to a sender.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookReceived, example = json!({"status": "processed"}))]
pub struct Received {
    pub status: Answer,
}

/// Filters of the list of events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filters {
    /// Only events of this provider.
    #[param(max_length = 64, required = false, value_type = String)]
    pub provider: Option<String>,
    /// Only events of this status.
    #[param(inline, required = false, value_type = EventStatus)]
    pub status: Option<EventStatus>,
    /// Only events of this type.
    #[param(max_length = 255, required = false, value_type = String)]
    pub event_type: Option<String>,
}
