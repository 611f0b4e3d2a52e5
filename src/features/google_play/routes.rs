//! `/app/billing/iap/google` and the webhook of Google Play.

use axum::extract::State;
use http::HeaderMap;
use utoipa_axum::routes;

use super::model::LinkGooglePurchase;
use super::notifications::Notifications;
use super::service;
use crate::app::App;
use crate::features::subscriptions::VENDOR_DEADLINE;
use crate::features::subscriptions::model::BillingStatus;
use crate::features::webhooks::{self, Received};
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Endpoints, Json, Policy, RawBody};

pub fn endpoints() -> Endpoints<App> {
    Endpoints::new()
        .add(Policy::user().deadline(VENDOR_DEADLINE), routes!(link))
        .add(webhooks::POLICY.deadline(VENDOR_DEADLINE), routes!(receive))
}

/// Link a Google Play purchase
///
/// The app calls this after a purchase, and after restoring purchases. The purchase is verified with Google. 400 if it cannot be
/// verified, has expired, or is not of this product; 404 if the user is being erased; 409 if it belongs to another user.
#[utoipa::path(post, path = "/billing/iap/google", operation_id = "linkGooglePurchase", tag = "billing",
    request_body = LinkGooglePurchase,
    responses((status = 200, body = BillingStatus), (status = 400), (status = 404), (status = 409), (status = 502), (status = 503)))]
async fn link(State(app): State<App>, user: CurrentUser, Json(request): Json<LinkGooglePurchase>) -> Result<Json<BillingStatus>> {
    Ok(Json(service::link(&app, &user.id, &request).await?))
}

/// Receive Google Play's notifications
///
/// Real-time developer notifications, pushed by Pub/Sub with an OIDC token.
#[utoipa::path(post, path = "/webhooks/google", operation_id = "receiveGoogleEvent", tag = "webhooks",
    request_body(content = String, content_type = "application/octet-stream",
        example = json!("{\"message\": {\"data\": \"eyJ2ZXJzaW9uIjoiMS4wIiwi…\", \"messageId\": \"1\", …}, \"subscription\": \"…\"}")),
    responses((status = 200, body = Received), (status = 400), (status = 401), (status = 409), (status = 503)))]
async fn receive(State(app): State<App>, headers: HeaderMap, body: RawBody) -> Result<Json<Received>> {
    webhooks::service::receive(&app, &Notifications, &headers, body).await
}
