//! Customers at Stripe: made on demand, once even if requests race, and made anew if Stripe no longer has them.

use super::super::store;
use crate::app::App;
use crate::features::users::service::vendors::{self, Column, UserVendors};
use crate::platform::crypto;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::{PathId, UserId};
use crate::providers::payments::stripe::{NewCustomer, Operation, StripeError, read};

/// The user's accounts at vendors.
pub async fn of(app: &App, user: &UserId) -> Result<UserVendors> {
    vendors::of(&app.db, user).await?.ok_or_else(|| user.not_found())
}

/// The user's customer at Stripe; made if there is none.
///
/// Requests that race use the same idempotency key, so that Stripe makes one customer and answers all of them with it.
pub async fn ensure(app: &App, operation: &Operation<'_>, user: &UserId) -> Result<String> {
    let found = of(app, user).await?;
    if let Some(customer) = found.stripe_customer_id {
        return Ok(customer);
    }
    let attempt = store::attempt(&app.db, user).await?;
    let new = NewCustomer { user_id: user.as_str(), email: &found.email, name: found.full_name.as_deref() };
    let key = key("customer", &[new.user_id, new.email, new.name.unwrap_or_default(), &attempt.to_string()]);
    let customer = operation.create_customer(&new, &key).await?;
    let made = read::text(&customer, "id").ok_or_else(|| StripeError::invalid("the customer has no id"))?;
    crate::transaction!(app.db, |tx| {
        let found = vendors::lock(app, tx, user).await?.ok_or_else(|| user.not_found())?;
        // An event or another instance may have been faster.
        if let Some(customer) = found.stripe_customer_id {
            return Ok(customer);
        }
        if !vendors::set(app, tx, user, Column::StripeCustomer, Some(made)).await? {
            return Err(anyhow::anyhow!("the customer that Stripe made belongs to another user").into());
        }
        Ok(made.to_owned())
    })
}

/// Forgets a customer that Stripe no longer has.
pub async fn forget(app: &App, user: &UserId, customer: &str) -> Result<()> {
    tracing::warn!(user_id = %user, "Stripe no longer has the customer of this user");
    crate::transaction!(app.db, |tx| { forget_in(app, tx, user, customer).await })
}

/// As [`forget`], in the caller's transaction. Does nothing if the user has another customer.
pub async fn forget_in(app: &App, tx: &mut Tx, user: &UserId, customer: &str) -> Result<()> {
    let found = vendors::lock(app, tx, user).await?;
    if found.and_then(|found| found.stripe_customer_id).as_deref() != Some(customer) {
        return Ok(());
    }
    vendors::set(app, tx, user, Column::StripeCustomer, None).await?;
    store::count_attempt(tx, user, app.clock.now()).await?;
    Ok(())
}

/// Links a customer to the user, unless the user has one already.
pub async fn link_in(app: &App, tx: &mut Tx, user: &UserId, customer: &str) -> Result<()> {
    let has_one = vendors::lock(app, tx, user).await?.is_none_or(|found| found.stripe_customer_id.is_some());
    if !has_one && !vendors::set(app, tx, user, Column::StripeCustomer, Some(customer)).await? {
        tracing::warn!(user_id = %user, "the Stripe customer of an event belongs to another user");
    }
    Ok(())
}

/// The answer of a call that names a customer; `None` if Stripe no longer has that customer.
pub fn unless_gone<T>(answer: Result<T, StripeError>) -> Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_customer_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An idempotency key: the same for the same parameters.
pub fn key(purpose: &str, parameters: &[&str]) -> String {
    let parts: Vec<&[u8]> = parameters.iter().map(|part| part.as_bytes()).collect();
    format!("omnistack-{purpose}-{}", crypto::hex(&crypto::hash(&parts)[..16]))
}
