//! Checkout of a subscription.

use serde_json::Value;

use super::super::model::{CheckoutRequest, CheckoutSession, Interval};
use super::super::redirects;
use super::super::state::{NOT_CONFIGURED, State};
use super::customers;
use crate::app::App;
use crate::features::subscriptions::model::{Status, Subscription, Vendor};
use crate::features::subscriptions::service as subscriptions;
use crate::platform::actor::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::providers::payments::stripe::{Config, NewCheckout, Operation, StripeError, read};

/// Number of subscriptions that are looked at for a running one.
const SUBSCRIPTIONS: i64 = 100;

/// Opens a checkout page, or returns the one that is open for the same price. 400 if the user has a subscription already.
pub async fn checkout(app: &App, user: &CurrentUser, request: &CheckoutRequest) -> Result<CheckoutSession> {
    let state = app.state::<State>();
    redirects::check(&state.redirect_hosts, [("success_url", &request.success_url), ("cancel_url", &request.cancel_url)])?;
    let operation = state.operation()?;
    let config = app.settings::<Config>();
    let price = match request.plan {
        Interval::Monthly => config.price_monthly.as_deref(),
        Interval::Yearly => config.price_yearly.as_deref(),
    };
    let price = price.ok_or(NOT_CONFIGURED)?;
    refuse_if_bought_elsewhere(app, &user.id).await?;
    // Again with a new customer if Stripe no longer has the known one.
    for _ in 0..2 {
        let customer = customers::ensure(app, &operation, &user.id).await?;
        let (success_url, cancel_url) = (request.success_url.as_str(), request.cancel_url.as_str());
        let new = NewCheckout { customer: &customer, user_id: user.id.as_str(), price, success_url, cancel_url };
        if let Some(session) = open(&operation, &new).await? {
            return Ok(session);
        }
        customers::forget(app, &user.id, &customer).await?;
    }
    Err(StripeError::invalid("the customer that was just made is missing").into())
}

/// 400 if a subscription of an app store is running, because the user would pay twice.
async fn refuse_if_bought_elsewhere(app: &App, user: &UserId) -> Result<()> {
    let rows = subscriptions::of_user(app, user).await?;
    let is_running = |row: &&Subscription| row.vendor != Vendor::Stripe && row.superseded_by.is_none() && row.status != Status::Canceled;
    match rows.iter().find(is_running) {
        Some(_) => Err(Error::BadRequest("You have a subscription of an app store: change it there".to_owned())),
        None => Ok(()),
    }
}

/// `None` if Stripe no longer has the customer.
async fn open(operation: &Operation<'_>, new: &NewCheckout<'_>) -> Result<Option<CheckoutSession>> {
    let Some(all) = customers::unless_gone(operation.subscriptions(new.customer, SUBSCRIPTIONS).await)? else { return Ok(None) };
    if all.iter().any(refuses_another) {
        return Err(Error::BadRequest("You have a subscription already: change it in the billing portal".to_owned()));
    }
    let Some(checkouts) = customers::unless_gone(operation.checkouts(new.customer).await)? else { return Ok(None) };
    if let Some(session) = checkouts.iter().filter(|checkout| is_open_for(checkout, new)).find_map(session) {
        return Ok(Some(session));
    }
    // The newest checkout belongs to the key: requests that race get the same new one, and a completed one is not given again.
    let newest = checkouts.first().and_then(|checkout| read::text(checkout, "id")).unwrap_or_default();
    let parameters = [new.user_id, new.customer, new.price, new.success_url, new.cancel_url, newest];
    let made = operation.create_checkout(new, &customers::key("checkout", &parameters)).await;
    let Some(made) = customers::unless_gone(made)? else { return Ok(None) };
    Ok(Some(session(&made).ok_or_else(|| StripeError::invalid("the checkout has no id or no URL"))?))
}

/// Whether a subscription in this state keeps its customer from buying another one. The portal mends those that are not paid.
fn refuses_another(subscription: &Value) -> bool {
    let status = read::text(subscription, "status").unwrap_or_default();
    matches!(status, "active" | "trialing" | "past_due" | "unpaid" | "incomplete" | "paused")
}

/// Whether this is an open checkout of the same price that leads back to the same pages.
fn is_open_for(checkout: &Value, new: &NewCheckout<'_>) -> bool {
    let is = |name: &str, value: &str| read::text(checkout, name) == Some(value);
    let lines = read::list(&checkout["line_items"]);
    is("status", "open")
        && is("mode", "subscription")
        && is("success_url", new.success_url)
        && is("cancel_url", new.cancel_url)
        && matches!(lines, [line] if read::reference(line, "price") == Some(new.price))
}

fn session(checkout: &Value) -> Option<CheckoutSession> {
    let text = |name: &str| read::text(checkout, name).map(str::to_owned);
    Some(CheckoutSession { session_id: text("id")?, url: text("url")? })
}
