//! `/app/billing…` and the webhook of Stripe.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use utoipa_axum::routes;

use super::model::{CancelQuery, Canceled, CheckoutRequest, CheckoutSession, Invoice, InvoiceQuery, PortalQuery, PortalSession, Resumed};
use super::service;
use super::stripe_events::StripeEvents;
use crate::app::App;
use crate::features::subscriptions::VENDOR_DEADLINE;
use crate::features::webhooks::service as webhooks;
use crate::features::webhooks::{POLICY, Received};
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::idempotency::idempotent_call;
use crate::platform::http::{Endpoints, Json, KeyedJson, Policy, Query, RawBody};

const INVOICES: i64 = 10;

pub fn endpoints() -> Endpoints<App> {
    let calls_stripe = Policy::user().deadline(VENDOR_DEADLINE);
    Endpoints::new()
        .add(calls_stripe, routes!(checkout))
        .add(calls_stripe, routes!(portal))
        .add(calls_stripe, routes!(invoices))
        .add(calls_stripe, routes!(cancel))
        .add(calls_stripe, routes!(resume))
        .add(POLICY.deadline(VENDOR_DEADLINE), routes!(receive))
}

/// Open a checkout
///
/// A page of Stripe on which the user buys a subscription. A checkout that is open for the same price and the same URLs is given
/// again. 400 if the user has a subscription already.
#[utoipa::path(post, path = "/billing/checkout", operation_id = "createCheckout", tag = "billing",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "A repeated request with this key gets the first answer again")),
    request_body = CheckoutRequest, responses((status = 200, body = CheckoutSession), (status = 400), (status = 409), (status = 502), (status = 503)))]
pub async fn checkout(State(app): State<App>, user: CurrentUser, request: KeyedJson<CheckoutRequest>) -> Result<Response> {
    // Boxed: its future is large, and would be part of the task of every connection.
    let work = Box::pin(service::checkout(&app, &user, &request.value));
    idempotent_call(app.answers(), &user.id, request.key, VENDOR_DEADLINE, work).await
}

/// Open the billing portal
///
/// A page of Stripe on which the user changes subscription and means of payment. 400 if the user has no billing account.
#[utoipa::path(get, path = "/billing/portal", operation_id = "getBillingPortal", tag = "billing", params(PortalQuery),
    responses((status = 200, body = PortalSession), (status = 400), (status = 502), (status = 503)))]
pub async fn portal(State(app): State<App>, user: CurrentUser, Query(query): Query<PortalQuery>) -> Result<Json<PortalSession>> {
    Ok(Json(service::portal(&app, &user, &query.return_url).await?))
}

/// List invoices
///
/// Newest first. Empty without a billing account.
#[utoipa::path(get, path = "/billing/invoices", operation_id = "listInvoices", tag = "billing", params(InvoiceQuery),
    responses((status = 200, body = Vec<Invoice>), (status = 502)))]
pub async fn invoices(State(app): State<App>, user: CurrentUser, Query(query): Query<InvoiceQuery>) -> Result<Json<Vec<Invoice>>> {
    Ok(Json(service::invoices(&app, &user, query.limit.unwrap_or(INVOICES)).await?))
}

/// Cancel the subscription
///
/// It ends with the period that is paid, or at once with `immediate`. 400 if no subscription is active.
#[utoipa::path(post, path = "/billing/cancel", operation_id = "cancelSubscription", tag = "billing", params(CancelQuery),
    responses((status = 200, body = Canceled), (status = 400), (status = 502), (status = 503)))]
pub async fn cancel(State(app): State<App>, user: CurrentUser, Query(query): Query<CancelQuery>) -> Result<Json<Canceled>> {
    Ok(Json(service::cancel(&app, &user, query.immediate.unwrap_or(false)).await?))
}

/// Resume the subscription
///
/// A subscription that was set to cancel goes on. 400 if there is none.
#[utoipa::path(post, path = "/billing/resume", operation_id = "resumeSubscription", tag = "billing",
    responses((status = 200, body = Resumed), (status = 400), (status = 502), (status = 503)))]
pub async fn resume(State(app): State<App>, user: CurrentUser) -> Result<Json<Resumed>> {
    Ok(Json(service::resume(&app, &user).await?))
}

/// Receive Stripe's events
///
/// Signed with `Stripe-Signature` over the exact bytes of the body.
#[utoipa::path(post, path = "/webhooks/stripe", operation_id = "receiveStripeEvent", tag = "webhooks",
    request_body(content = String, content_type = "application/octet-stream", example = json!("{\"id\": \"evt_1\", …}")),
    responses((status = 200, body = Received), (status = 400), (status = 409), (status = 503)))]
pub async fn receive(State(app): State<App>, headers: HeaderMap, body: RawBody) -> Result<Json<Received>> {
    webhooks::receive(&app, &StripeEvents, &headers, body).await
}
