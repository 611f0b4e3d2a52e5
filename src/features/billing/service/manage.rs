//! Portal, invoices, cancellation and resumption of a running subscription.

use serde_json::Value;

use super::super::model::{Canceled, Invoice, PortalSession, Resumed};
use super::super::redirects;
use super::super::state::State;
use super::super::subscription::{self, is_running, is_set_to_cancel};
use super::customers;
use crate::app::App;
use crate::features::subscriptions::model::{Plan, Status, Told};
use crate::features::subscriptions::service as subscriptions;
use crate::platform::actor::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::providers::payments::stripe::{Config, Operation, Reply, StripeError, read};

/// Number of subscriptions that are looked at, newest first.
const SUBSCRIPTIONS: i64 = 10;

/// Opens the billing portal. 400 if the user never bought anything.
pub async fn portal(app: &App, user: &CurrentUser, return_url: &str) -> Result<PortalSession> {
    let state = app.state::<State>();
    redirects::check(&state.redirect_hosts, [("return_url", return_url)])?;
    let operation = state.operation()?;
    let made = match customers::of(app, &user.id).await?.stripe_customer_id {
        Some(customer) => of_customer(app, &user.id, &customer, operation.create_portal(&customer, return_url).await).await?,
        None => None,
    };
    let made = made.ok_or_else(|| Error::BadRequest("You have no billing account yet".to_owned()))?;
    let url = read::text(&made, "url").ok_or_else(|| StripeError::invalid("the portal has no URL"))?;
    Ok(PortalSession { url: url.to_owned() })
}

/// The user's invoices, newest first; none without Stripe or without a billing account.
pub async fn invoices(app: &App, user: &CurrentUser, limit: i64) -> Result<Vec<Invoice>> {
    let Ok(operation) = app.state::<State>().operation() else { return Ok(Vec::new()) };
    let Some(customer) = customers::of(app, &user.id).await?.stripe_customer_id else { return Ok(Vec::new()) };
    let invoices = of_customer(app, &user.id, &customer, operation.invoices(&customer, limit).await).await?;
    Ok(invoices.unwrap_or_default().iter().map(Invoice::of).collect())
}

/// Ends the first running subscription with its period, or now. 400 if none is running.
pub async fn cancel(app: &App, user: &CurrentUser, immediate: bool) -> Result<Canceled> {
    let operation = app.state::<State>().operation()?;
    let found = first(app, &operation, &user.id, is_running).await?;
    let found = found.ok_or_else(|| Error::BadRequest("You have no active subscription".to_owned()))?;
    let id = read::text(&found, "id").unwrap_or_default();
    let changed = if immediate {
        match operation.cancel_subscription(id).await {
            // The answer of an earlier attempt was lost: Stripe does not find a subscription to cancel that has ended.
            Err(error) if error.is_missing() => operation.subscription(id).await,
            other => other,
        }
    } else {
        operation.set_cancel_at_period_end(id, true).await
    };
    let changed = changed?;
    apply(app, &user.id, &changed).await?;
    let ended = !is_running(&changed.object);
    Ok(Canceled {
        message: if ended { "The subscription has ended" } else { "The subscription ends with its period" },
        cancel_at_period_end: !ended && is_set_to_cancel(&changed.object),
        current_period_end: subscription::period_end(&changed.object),
    })
}

/// Resumes the first running subscription that is set to cancel. 400 if there is none.
pub async fn resume(app: &App, user: &CurrentUser) -> Result<Resumed> {
    let operation = app.state::<State>().operation()?;
    let found = first(app, &operation, &user.id, |subscription| is_running(subscription) && is_set_to_cancel(subscription)).await?;
    let found = found.ok_or_else(|| Error::BadRequest("You have no subscription that is set to cancel".to_owned()))?;
    let id = read::text(&found, "id").unwrap_or_default();
    let mut changed = clear_mark(&operation, id, &found).await?;
    // One request may change only one of the two marks. Clearing the flag clears the time that followed from it.
    if is_set_to_cancel(&changed.object) {
        changed = clear_mark(&operation, id, &changed.object).await?;
    }
    apply(app, &user.id, &changed).await?;
    let snapshot = subscription::snapshot(app.settings::<Config>(), &changed.object);
    let (status, plan) = snapshot.map_or((None, None), |snapshot| (snapshot.status, snapshot.plan));
    Ok(Resumed { message: "The subscription goes on", status: status.unwrap_or(Status::Active), plan: plan.unwrap_or(Plan::Pro) })
}

async fn clear_mark(operation: &Operation<'_>, id: &str, subscription: &Value) -> Result<Reply, StripeError> {
    if subscription["cancel_at_period_end"] == true {
        operation.set_cancel_at_period_end(id, false).await
    } else {
        operation.clear_cancel_at(id).await
    }
}

/// The user's first subscription at Stripe of which this is true, newest first.
async fn first(app: &App, operation: &Operation<'_>, user: &UserId, fits: impl Fn(&Value) -> bool) -> Result<Option<Value>> {
    let Some(customer) = customers::of(app, user).await?.stripe_customer_id else { return Ok(None) };
    let all = of_customer(app, user, &customer, operation.subscriptions(&customer, SUBSCRIPTIONS).await).await?;
    Ok(all.unwrap_or_default().into_iter().find(fits))
}

/// Applies an answer at once, so that the state is right before the event comes.
async fn apply(app: &App, user: &UserId, reply: &Reply) -> Result<()> {
    let Some(snapshot) = subscription::snapshot(app.settings::<Config>(), &reply.object) else { return Ok(()) };
    // Events have Stripe's time, which ours may differ from.
    let told = Told { at: reply.at.unwrap_or_else(|| app.clock.now()), rank: subscription::UPDATED, current: true };
    crate::transaction!(app.db, |tx| { subscriptions::apply(app, tx, user, &snapshot, told, false).await })?;
    Ok(())
}

/// The answer of a call that names the user's customer. A customer that Stripe no longer has is forgotten: `None`.
async fn of_customer<T>(app: &App, user: &UserId, customer: &str, answer: Result<T, StripeError>) -> Result<Option<T>> {
    let answer = customers::unless_gone(answer)?;
    if answer.is_none() {
        customers::forget(app, user, customer).await?;
    }
    Ok(answer)
}
