//! `/public/webhooks/clerk` and `/public/webhooks/supabase`.

use axum::extract::State;
use http::HeaderMap;

use super::clerk::Clerk;
use super::supabase::Supabase;
use crate::app::App;
use crate::features::webhooks::{Received, service as webhooks};
use crate::platform::error::Result;
use crate::platform::http::{Json, RawBody};

/// Receive Clerk's events
///
/// Signed by Svix: headers `svix-id`, `svix-timestamp` and `svix-signature`. 503 without `CLERK_WEBHOOK_SECRET`.
#[utoipa::path(post, path = "/webhooks/clerk", operation_id = "receiveClerkEvent", tag = "webhooks",
    request_body(content = String, content_type = "application/octet-stream", example = json!("{\"type\": \"user.created\", …}")),
    responses((status = 200, body = Received), (status = 400), (status = 409), (status = 503)))]
pub async fn clerk(State(app): State<App>, headers: HeaderMap, body: RawBody) -> Result<Json<Received>> {
    webhooks::receive(&app, &Clerk, &headers, body).await
}

/// Receive Supabase's events
///
/// A database webhook of the table `auth.users` with the header `Authorization: Bearer <SUPABASE_WEBHOOK_SECRET>`. 503 without
/// that variable.
#[utoipa::path(post, path = "/webhooks/supabase", operation_id = "receiveSupabaseEvent", tag = "webhooks",
    request_body(content = String, content_type = "application/octet-stream", example = json!("{\"type\": \"INSERT\", …}")),
    responses((status = 200, body = Received), (status = 400), (status = 401), (status = 409), (status = 503)))]
pub async fn supabase(State(app): State<App>, headers: HeaderMap, body: RawBody) -> Result<Json<Received>> {
    webhooks::receive(&app, &Supabase, &headers, body).await
}
