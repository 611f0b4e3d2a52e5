//! Linking of a purchase to the user who reports it.

use super::apply::{named_user, owner, settle};
use super::ask;
use crate::app::App;
use crate::features::google_play::model::{LinkGooglePurchase, Reading};
use crate::features::subscriptions::model::BillingStatus;
use crate::features::subscriptions::service as subscriptions;
use crate::features::users::service::vendors;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::providers::payments::google::{Purchase, is_purchase_token};

/// Links a purchase to the user, after it was verified with Google.
pub async fn link(app: &App, user: &UserId, request: &LinkGooglePurchase) -> Result<BillingStatus> {
    let purchase_token = request.purchase_token.as_str();
    if !is_purchase_token(purchase_token) {
        return Err(unverifiable());
    }
    let reading = ask(app, purchase_token, None).await?.ok_or_else(unverifiable)?;
    let purchase = reading.purchase.as_ref().ok_or_else(expired)?;
    if !purchase.lines.iter().any(|line| line.product == request.subscription_id) {
        return Err(Error::BadRequest("The purchase is not of this subscription".to_owned()));
    }
    if purchase.has_ended(reading.asked) {
        return Err(expired());
    }
    crate::transaction!(app.db, |tx| {
        claim(app, tx, user, purchase_token, purchase, &reading).await.map_err(Error::contended_if_taken)
    })?;
    subscriptions::stored(app, user).await
}

/// Takes the purchase for the user, unless it belongs to another one.
async fn claim(app: &App, tx: &mut Tx, user: &UserId, purchase_token: &str, purchase: &Purchase, reading: &Reading) -> Result<()> {
    // Locked first: two reports of the same user follow each other.
    vendors::lock(app, tx, user).await?.ok_or_else(|| Error::not_found("User", user.as_str()))?;
    let mine = owner(tx, purchase_token).await?;
    let mut others = vec![mine.clone()];
    if mine.is_none() {
        if let Some(linked) = &purchase.linked {
            others.push(owner(tx, linked).await?);
        }
        others.push(named_user(tx, purchase).await?);
    }
    if others.into_iter().flatten().any(|other| other != *user) {
        return Err(Error::Conflict { message: "The purchase belongs to another user", resource: "Purchase" });
    }
    settle(app, tx, user, purchase_token, reading).await?;
    // Another user may have linked it since: the transaction is run again, and finds that user.
    match owner(tx, purchase_token).await? {
        Some(other) if other != *user => Err(Error::Contended),
        _ => Ok(()),
    }
}

fn unverifiable() -> Error {
    Error::BadRequest("Google Play does not know this purchase".to_owned())
}

fn expired() -> Error {
    Error::BadRequest("The purchase has expired".to_owned())
}
