//! What a statement of Apple changes, in the caller's transaction.

use crate::app::App;
use crate::features::app_store::state::State;
use crate::features::app_store::statement::{Relation, Statement};
use crate::features::app_store::transaction::Transaction;
use crate::features::subscriptions::model::{Subscription, Told, Vendor};
use crate::features::subscriptions::service as subscriptions;
use crate::features::users::service::vendors::{self, Column};
use crate::features::webhooks::{Current, Event, Step};
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;

/// Applies a notice to the subscription of its user. Nothing happens if it has none.
pub async fn apply_notice(app: &App, tx: &mut Tx, event: &Event, read: Option<&Current>) -> Result<Step> {
    let (payload, now) = (&event.payload, app.clock.now());
    let Some(transaction) = Transaction::read(&payload["data"]["signedTransactionInfo"]) else {
        tracing::info!(event_type = event.kind, "a notice of the App Store is about no subscription");
        return Ok(Step::Done);
    };
    let Some(user) = find_user(tx, &transaction).await? else {
        tracing::warn!(
            event_type = event.kind,
            "a purchase in the App Store belongs to no user: the app has to report it to /app/billing/iap/apple"
        );
        return Ok(Step::Done);
    };
    keep_id(app, tx, &user, &transaction.original_id, false).await?;
    let Some(statement) = Statement::of_notice(&event.kind, payload, event.occurred_at.unwrap_or(now), now) else {
        let subtype = payload["subtype"].as_str();
        tracing::info!(event_type = event.kind, subtype, "a notice of the App Store changes nothing");
        return Ok(Step::Done);
    };
    let can_ask = read.is_none() && app.state::<State>().client().is_some();
    // What Apple holds now includes the notice, if it could be read.
    let current = read.and_then(Option::as_ref).and_then(|current| {
        let number = current["status"].as_i64()?;
        Statement::of_answer(number, &current["transaction"], &current["renewal"], now)
    });
    apply(app, tx, &user, &current.unwrap_or(statement), can_ask).await
}

/// Applies a statement to the user's subscription, if it is newer than what is stored. `can_ask`: a tie is decided by reading.
pub(super) async fn apply(app: &App, tx: &mut Tx, user: &UserId, statement: &Statement, can_ask: bool) -> Result<Step> {
    // Locked before the row is read that the statement is compared with.
    if vendors::lock(app, tx, user).await?.is_none() {
        return Ok(Step::Done);
    }
    let original_id = &statement.transaction.original_id;
    let before = own(tx, user, original_id).await?;
    let mut at = statement.at;
    if let Some(row) = &before {
        match statement.relation(row) {
            Relation::Older => return Ok(Step::Done),
            Relation::Tied if can_ask => return Ok(Step::Read),
            Relation::Tied | Relation::Newer => {}
        }
        // A newer period counts also if a notice about an older one was signed later.
        at = at.max(row.event_at);
    }
    let told = Told { at, rank: statement.rank, current: true };
    subscriptions::apply(app, tx, user, &statement.snapshot(), told, false).await?;
    // It applies to a row that was made in the meantime whoever owns it.
    own(tx, user, original_id).await?;
    keep_id(app, tx, user, original_id, statement.is_running()).await?;
    Ok(Step::Done)
}

/// The user's subscription. Fails if another user has linked it since the user was looked up: the transaction is run again, and
/// finds that user.
async fn own(tx: &mut Tx, user: &UserId, original_id: &str) -> Result<Option<Subscription>> {
    match subscriptions::find(tx, Vendor::Apple, original_id).await? {
        Some(row) if row.user_id != *user => Err(Error::Contended),
        row => Ok(row),
    }
}

/// The user of a subscription: its owner, or the one whom the app named at the purchase.
async fn find_user(tx: &mut Tx, transaction: &Transaction) -> Result<Option<UserId>> {
    match owner(tx, &transaction.original_id).await? {
        Some(user) => Ok(Some(user)),
        None => named_user(tx, transaction).await,
    }
}

/// The user who has this subscription.
pub(super) async fn owner(tx: &mut Tx, original_id: &str) -> Result<Option<UserId>> {
    match subscriptions::find(&mut *tx, Vendor::Apple, original_id).await? {
        Some(row) => Ok(Some(row.user_id)),
        None => vendors::find(tx, Column::AppleOriginalTransaction, original_id).await,
    }
}

/// The user whom the app named at the purchase, if there is one.
pub(super) async fn named_user(tx: &mut Tx, transaction: &Transaction) -> Result<Option<UserId>> {
    let Some(user) = transaction.account.as_deref().and_then(UserId::parse) else { return Ok(None) };
    Ok(vendors::of(tx, &user).await?.map(|user| user.id))
}

/// Keeps the subscription's id with the user. Another one gives way if this one runs and that one has ended.
async fn keep_id(app: &App, tx: &mut Tx, user: &UserId, original_id: &str, runs: bool) -> Result<()> {
    let kept = vendors::of(&mut *tx, user).await?.and_then(|user| user.apple_original_transaction_id);
    let gives_way = match kept.as_deref() {
        None => true,
        Some(kept) if kept == original_id || !runs => false,
        // An id without a subscription is known by this column alone.
        Some(kept) => subscriptions::find(&mut *tx, Vendor::Apple, kept).await?.is_some_and(|row| !row.status.is_running()),
    };
    if gives_way && !vendors::set(app, tx, user, Column::AppleOriginalTransaction, Some(original_id)).await? {
        return Err(Error::Contended);
    }
    Ok(())
}
