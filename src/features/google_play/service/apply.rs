//! What a notification or a reading changes, in the caller's transaction.

use crate::app::App;
use crate::app::jobs::New;
use crate::features::google_play::kinds::Effect;
use crate::features::google_play::model::{AcknowledgeGooglePurchase, ReadGooglePurchase, Reading};
use crate::features::google_play::snapshot;
use crate::features::subscriptions::model::{Subscription, Told as ToldAt, Vendor};
use crate::features::subscriptions::service as subscriptions;
use crate::features::users::service::vendors::{self, Column};
use crate::features::webhooks::Event;
use crate::platform::crypto;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;
use crate::providers::payments::google::{Purchase, State};

/// What the type of a notification says.
pub struct Told {
    /// `None` changes nothing.
    pub effect: Option<Effect>,
    pub product: Option<String>,
}

/// Applies what Google said about a purchase to the subscription of its user. Nothing happens if it has none.
pub async fn apply_reading(app: &App, tx: &mut Tx, purchase_token: &str, reading: &Reading) -> Result<()> {
    match find_user(tx, purchase_token, reading.purchase.as_ref()).await? {
        Some(user) => settle(app, tx, &user, purchase_token, reading).await,
        None => {
            tracing::warn!("a purchase in Google Play belongs to no user: the app has to report it to /app/billing/iap/google");
            Ok(())
        }
    }
}

/// Applies a notification whose purchase could not be read by its type, and enqueues the job that reads it.
pub async fn apply_kind(app: &App, tx: &mut Tx, event: &Event, purchase_token: &str, told: Told) -> Result<()> {
    let user = find_user(tx, purchase_token, None).await?;
    if let (Some(user), Some(effect)) = (&user, told.effect) {
        let before = subscriptions::find(&mut *tx, Vendor::Google, purchase_token).await?;
        let snapshot = snapshot::of_effect(purchase_token, effect, told.product, before.as_ref());
        let at = event.occurred_at.unwrap_or_else(|| app.clock.now());
        subscriptions::apply(app, tx, user, &snapshot, ToldAt { at, rank: effect.rank, current: false }, false).await?;
    }
    let read = ReadGooglePurchase { purchase_token: purchase_token.to_owned() };
    let new = New { dedupe_key: Some(format!("google_read:{}", event.id)), owner_id: user, ..New::default() };
    app.jobs.enqueue(tx, &read, new).await?;
    Ok(())
}

/// The user of a purchase: by its token, by the purchase that it replaced, by the account id that the app gave to it.
pub(super) async fn find_user(tx: &mut Tx, purchase_token: &str, purchase: Option<&Purchase>) -> Result<Option<UserId>> {
    if let Some(user) = owner(tx, purchase_token).await? {
        return Ok(Some(user));
    }
    let Some(purchase) = purchase else { return Ok(None) };
    if let Some(linked) = &purchase.linked
        && let Some(user) = owner(tx, linked).await?
    {
        return Ok(Some(user));
    }
    named_user(tx, purchase).await
}

/// The user who has this purchase.
pub(super) async fn owner(tx: &mut Tx, purchase_token: &str) -> Result<Option<UserId>> {
    match subscriptions::find(&mut *tx, Vendor::Google, purchase_token).await? {
        Some(row) => Ok(Some(row.user_id)),
        None => vendors::find(tx, Column::GooglePurchaseToken, purchase_token).await,
    }
}

/// The user whose id the app gave to the purchase.
pub(super) async fn named_user(tx: &mut Tx, purchase: &Purchase) -> Result<Option<UserId>> {
    let Some(user) = purchase.account.as_deref().and_then(UserId::parse) else { return Ok(None) };
    Ok(vendors::of(tx, &user).await?.map(|user| user.id))
}

/// Applies what Google said to this user's subscription: the replaced purchase ends, the token is kept with the user, and a purchase
/// that is not acknowledged is, because Google would refund it after three days.
pub(super) async fn settle(app: &App, tx: &mut Tx, user: &UserId, purchase_token: &str, reading: &Reading) -> Result<()> {
    let purchase = reading.purchase.as_ref();
    if let Some(purchase) = purchase
        && let Some(linked) = purchase.linked.as_deref().filter(|linked| *linked != purchase_token && purchase.has_begun())
    {
        subscriptions::supersede(app, tx, user, Vendor::Google, linked, purchase_token).await?;
    }
    let before = subscriptions::find(&mut *tx, Vendor::Google, purchase_token).await?;
    let snapshot = snapshot::of_purchase(purchase_token, purchase, before.as_ref(), reading.asked);
    if snapshot.status.is_some() || before.is_some() {
        let told = ToldAt { at: reading.asked, rank: 0, current: true };
        subscriptions::apply(app, tx, user, &snapshot, told, false).await?;
    }
    let Some(purchase) = purchase else { return Ok(()) };
    if let State::Other(state) = &purchase.state {
        tracing::warn!(state, "a purchase in Google Play has a state that this version does not know");
    }
    if !purchase.has_ended(reading.asked) && !before.as_ref().is_some_and(is_superseded) {
        keep_token(app, tx, user, purchase_token).await?;
    }
    if purchase.needs_acknowledgement(reading.asked)
        && let Some(line) = purchase.last_line()
    {
        let job = AcknowledgeGooglePurchase { purchase_token: purchase_token.to_owned(), product: line.product.clone() };
        let key = format!("google_acknowledge:{}", crypto::hex(&crypto::sha256(purchase_token.as_bytes())));
        let new = New { dedupe_key: Some(key), owner_id: Some(user.clone()), ..New::default() };
        app.jobs.enqueue(tx, &job, new).await?;
    }
    Ok(())
}

fn is_superseded(row: &Subscription) -> bool {
    row.superseded_by.is_some()
}

/// Keeps the token of the newest purchase with the user.
async fn keep_token(app: &App, tx: &mut Tx, user: &UserId, purchase_token: &str) -> Result<()> {
    let kept = vendors::of(&mut *tx, user).await?.and_then(|user| user.google_purchase_token);
    if kept.as_deref() != Some(purchase_token) {
        vendors::set(app, tx, user, Column::GooglePurchaseToken, Some(purchase_token)).await?;
    }
    Ok(())
}
