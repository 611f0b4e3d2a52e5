//! Applies what the identity providers tell, in any order: the newest object of a user counts, and a deletion is final.
//!
//! An event that is older than the newest one changes nothing. An update that comes before its creation waits for it. Events
//! without a time are applied as they come.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use sqlx::types::Json;

use super::model::{Change, Told, ToldProfile};
use super::store::{self, Known};
use crate::app::App;
use crate::app::feature::Removed;
use crate::features::users::service::accounts;
use crate::features::users::service::profile_sync::{self as users, Synced};
use crate::platform::db::Tx;
use crate::platform::error::Result;

/// How long an update waits for the creation of its user. Svix repeats deliveries for about 28 hours.
const WAIT: TimeDelta = TimeDelta::days(7);
/// Maximum number of rows that one sweep removes.
const SWEEP: i64 = 1000;

/// Whether both engines can store the time.
pub fn is_storable(time: &DateTime<Utc>) -> bool {
    (1..=9999).contains(&time.year())
}

/// Applies an event about a user in the caller's transaction.
pub async fn apply(app: &App, tx: &mut Tx, told: Told) -> Result<()> {
    let mut known = store::lock(&mut *tx, &told.user, app.clock.now()).await?;
    if known.is_deleted {
        return Ok(());
    }
    let is_older = told.at.zip(known.told_at).is_some_and(|(at, newest)| at < newest);
    match told.change {
        Change::Deleted => {
            users::deactivate(app, tx, &told.user).await?;
            known = Known { told_at: told.at.max(known.told_at), is_deleted: true, waiting: None, welcome_due: false };
        }
        Change::Created => {
            let profile = match known.waiting.take() {
                Some(Json(newer)) => newer.or(told.profile.clone()),
                None if is_older => {
                    log_older(&told);
                    return Ok(());
                }
                None => told.profile.clone(),
            };
            known.told_at = told.at.max(known.told_at);
            insert(app, tx, &told, profile, &mut known).await?;
        }
        Change::Updated if is_older => {
            log_older(&told);
            return Ok(());
        }
        Change::Updated => {
            known.told_at = told.at.max(known.told_at);
            update(app, tx, &told, &mut known).await?;
        }
    }
    Ok(store::save(tx, &told.user, &known).await?)
}

async fn insert(app: &App, tx: &mut Tx, told: &Told, profile: ToldProfile, known: &mut Known) -> Result<()> {
    let ToldProfile { profile, unconfirmed } = profile;
    // The name is the user's choice, so it is not mailed to an address that may be a stranger's.
    match users::insert(app, tx, &told.user, profile, !unconfirmed).await? {
        Synced::Done => known.welcome_due = unconfirmed,
        Synced::Nothing => {}
        Synced::EmailTaken => {
            tracing::warn!(provider = told.provider, user_id = told.user.as_str(), "user not created: the address belongs to another user");
        }
    }
    Ok(())
}

async fn update(app: &App, tx: &mut Tx, told: &Told, known: &mut Known) -> Result<()> {
    let outcome = users::update(app, tx, &told.user, &told.profile.profile).await?;
    // Without a user the profile waits for the event that inserts it.
    known.waiting = (outcome == Synced::Nothing).then(|| Json(told.profile.clone()));
    match outcome {
        Synced::Done if known.welcome_due && !told.profile.unconfirmed => {
            accounts::welcome(app, tx, &told.user).await?;
            known.welcome_due = false;
        }
        Synced::Done | Synced::Nothing => {}
        Synced::EmailTaken => {
            tracing::warn!(provider = told.provider, user_id = told.user.as_str(), "address not changed: it belongs to another user");
        }
    }
    Ok(())
}

fn log_older(told: &Told) {
    tracing::info!(provider = told.provider, user_id = told.user.as_str(), "older than the newest event of the user: not applied");
}

/// Removes profiles whose user never came.
pub async fn sweep(app: &App) -> Result<Removed> {
    Ok(Removed::records(store::sweep(&app.db, app.clock.now() - WAIT, SWEEP).await?))
}
