//! Linking of a purchase to the user who reports it.

use serde_json::Value;

use super::apply::{apply, named_user, owner};
use crate::app::App;
use crate::features::app_store::bundle::check_bundle;
use crate::features::app_store::model::LinkApplePurchase;
use crate::features::app_store::state::State;
use crate::features::app_store::statement::Statement;
use crate::features::app_store::transaction::Transaction;
use crate::features::subscriptions::model::{BillingStatus, Vendor};
use crate::features::subscriptions::service as subscriptions;
use crate::features::users::service::vendors;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::providers::payments::apple::Config;

/// Links a purchase to the user, after its signature was verified.
pub async fn link(app: &App, user: &UserId, request: &LinkApplePurchase) -> Result<BillingStatus> {
    let now = app.clock.now();
    let payload = app.state::<State>().verifier()?.verify(&request.signed_transaction, now).map_err(|why| {
        tracing::info!(why, "a reported transaction is refused");
        Error::BadRequest("The transaction is not signed by the App Store".to_owned())
    })?;
    let (transaction, statement) = checked(app, &payload)?;
    let is_new =
        crate::transaction!(app.db, |tx| { claim(app, tx, user, &transaction, &statement).await.map_err(Error::contended_if_taken) })?;
    if is_new {
        refresh(app, &transaction.original_id).await?;
    }
    subscriptions::stored(app, user).await
}

/// Refuses transactions of other apps and environments, and those that give nothing.
fn checked(app: &App, payload: &Value) -> Result<(Transaction, Statement)> {
    let (config, now) = (app.settings::<Config>(), app.clock.now());
    let refused = |why: &str| Error::BadRequest(why.to_owned());
    check_bundle(config, payload, true)?;
    // Purchases in the sandbox cost nothing.
    if config.environment.is_some_and(|ours| payload["environment"] != ours.name()) {
        return Err(refused("The transaction is of another environment of the App Store"));
    }
    let transaction = Transaction::read(payload).ok_or_else(|| refused("The transaction is not of a subscription"))?;
    if transaction.revoked.is_some() {
        return Err(refused("The purchase was refunded or revoked"));
    }
    let statement = Statement::of_transaction(payload, now).filter(|_| transaction.expires.is_some());
    let statement = statement.ok_or_else(|| refused("The purchase has expired"))?;
    Ok((transaction, statement))
}

/// Takes the purchase for the user, unless it belongs to another one. Returns whether it was nobody's before.
async fn claim(app: &App, tx: &mut Tx, user: &UserId, transaction: &Transaction, statement: &Statement) -> Result<bool> {
    // Locked first: two reports of the same user follow each other.
    vendors::lock(app, tx, user).await?.ok_or_else(|| Error::not_found("User", user.as_str()))?;
    let owner = owner(tx, &transaction.original_id).await?;
    let claims = match &owner {
        Some(owner) => Some(owner.clone()),
        None => named_user(tx, transaction).await?,
    };
    if claims.is_some_and(|other| other != *user) {
        return Err(Error::Conflict { message: "The purchase belongs to another user", resource: "Purchase" });
    }
    apply(app, tx, user, statement, false).await?;
    Ok(owner.is_none())
}

/// Compares a purchase that was linked with what Apple holds: the transaction may have been signed before a refund whose notice
/// found no user. If Apple does not answer, the nightly comparison does it.
async fn refresh(app: &App, original_id: &str) -> Result<()> {
    let Some(row) = subscriptions::find(&app.db, Vendor::Apple, original_id).await? else { return Ok(()) };
    match subscriptions::compare(app, &row).await {
        Err(Error::Upstream { cause, .. }) => {
            tracing::warn!(cause, "a linked purchase could not be compared with the App Store");
            Ok(())
        }
        other => other.map(drop),
    }
}
