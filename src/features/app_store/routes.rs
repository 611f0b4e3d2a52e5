//! `/app/billing/iap/apple` and the webhook of the App Store.

use axum::extract::State;
use http::HeaderMap;
use utoipa_axum::routes;

use super::model::LinkApplePurchase;
use super::notices::Notices;
use super::service;
use crate::app::App;
use crate::features::subscriptions::VENDOR_DEADLINE;
use crate::features::subscriptions::model::BillingStatus;
use crate::features::webhooks::service as webhooks;
use crate::features::webhooks::{POLICY, Received};
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Endpoints, Json, Policy, RawBody};

pub fn endpoints() -> Endpoints<App> {
    Endpoints::new().add(Policy::user().deadline(VENDOR_DEADLINE), routes!(link)).add(POLICY.deadline(VENDOR_DEADLINE), routes!(receive))
}

/// Link an App Store purchase
///
/// The app calls this after a purchase, and after restoring purchases. 400 if the transaction is not signed by Apple, is of another
/// app or environment, has expired or was refunded; 409 if it belongs to another user.
#[utoipa::path(post, path = "/billing/iap/apple", operation_id = "linkApplePurchase", tag = "billing",
    request_body = LinkApplePurchase,
    responses((status = 200, body = BillingStatus), (status = 400), (status = 404), (status = 409), (status = 502), (status = 503)))]
async fn link(State(app): State<App>, user: CurrentUser, Json(request): Json<LinkApplePurchase>) -> Result<Json<BillingStatus>> {
    Ok(Json(service::link(&app, &user.id, &request).await?))
}

/// Receive the App Store's notices
///
/// App Store Server Notifications, version 2.
#[utoipa::path(post, path = "/webhooks/apple", operation_id = "receiveAppleEvent", tag = "webhooks",
    request_body(content = String, content_type = "application/octet-stream", example = json!("{\"signedPayload\": \"eyJhbGciOiJFUzI1NiIsIng1YyI6…\"}")),
    responses((status = 200, body = Received), (status = 400), (status = 409), (status = 503)))]
async fn receive(State(app): State<App>, headers: HeaderMap, body: RawBody) -> Result<Json<Received>> {
    webhooks::receive(&app, &Notices, &headers, body).await
}
