//! `/admin/webhooks…`, and the policy of the senders' routes.

use axum::extract::State;

use super::model::{EventDetail, EventId, EventRow, Filters};
use super::service;
use crate::app::App;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, ListParams, Page, Path, Policy, Query};
use crate::platform::rate_limit::{Budget, KeyedBy, Rate, Window};

static BUDGET: Budget = Budget {
    name: "webhook",
    variable: "RATE_LIMIT_WEBHOOK",
    help: "Webhooks per address, `<n>/<second|minute|hour|day>`",
    default: Rate { limit: 600, window: Window::MINUTE },
    keyed_by: KeyedBy::Address,
};

/// The policy of a sender's route.
pub const POLICY: Policy = Policy::webhook().budget(&BUDGET);

/// List webhook events
///
/// Newest first.
#[utoipa::path(get, path = "/webhooks", operation_id = "listWebhooks", tag = "admin", params(ListParams, Filters),
    responses((status = 200, body = Page<EventRow>)))]
pub async fn list(
    State(app): State<App>,
    Query(params): Query<ListParams>,
    Query(filters): Query<Filters>,
) -> Result<Json<Page<EventRow>>> {
    Ok(Json(service::list(filters).page(&app.db, &app.cursors, params).await?))
}

/// Get a webhook event
#[utoipa::path(get, path = "/webhooks/{event_id}", operation_id = "getWebhook", tag = "admin", params(("event_id" = String, Path)),
    responses((status = 200, body = EventDetail)))]
pub async fn get(State(app): State<App>, Path(id): Path<EventId>) -> Result<Json<EventDetail>> {
    Ok(Json(service::get(&app, id).await?))
}

/// Handle a webhook event again
///
/// The event is handled at once, from what was stored; the answer shows whether it succeeded. 400 if it is processed already.
#[utoipa::path(post, path = "/webhooks/{event_id}/replay", operation_id = "replayWebhook", tag = "admin",
    params(("event_id" = String, Path)), responses((status = 200, body = EventRow), (status = 400)))]
pub async fn replay(State(app): State<App>, user: CurrentUser, Path(id): Path<EventId>) -> Result<Json<EventRow>> {
    let event = service::replay(&app, id).await?;
    tracing::info!(actor = user.name(), action = "webhook.replay", target_id = %id, status = event.status.name(), "webhook replayed");
    Ok(Json(event))
}
