//! `/app/billing/status` and `/admin/users/{user_id}/subscriptions`.

use std::time::Duration;

use axum::extract::State;

use super::model::{BillingStatus, SubscriptionRead};
use super::service;
use crate::app::App;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, Path};
use crate::platform::id::UserId;

/// Time limit of routes that call a payment vendor: that of the call, and five seconds.
pub const VENDOR_DEADLINE: Duration = Duration::from_secs(35);

/// Get the billing status
///
/// Asks Stripe if the user is a customer there, and shows the stored state if Stripe fails.
#[utoipa::path(get, path = "/billing/status", operation_id = "getBillingStatus", tag = "billing", responses((status = 200, body = BillingStatus)))]
pub async fn status(State(app): State<App>, user: CurrentUser) -> Result<Json<BillingStatus>> {
    Ok(Json(service::current(&app, &user.id).await?))
}

/// List a user's subscriptions
///
/// Of all vendors, oldest first.
#[utoipa::path(get, path = "/users/{user_id}/subscriptions", operation_id = "listUserSubscriptions", tag = "admin",
    params(("user_id" = String, Path)), responses((status = 200, body = Vec<SubscriptionRead>)))]
pub async fn of_user(State(app): State<App>, Path(id): Path<UserId>) -> Result<Json<Vec<SubscriptionRead>>> {
    let all = service::of_existing_user(&app, &id).await?;
    Ok(Json(all.into_iter().map(SubscriptionRead::from).collect()))
}
