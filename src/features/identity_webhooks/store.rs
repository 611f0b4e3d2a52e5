//! SQL of `identity_profiles`.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::model::ToldProfile;
use crate::platform::db::{Db, Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// What was told of a user so far.
#[derive(Debug, sqlx::FromRow)]
pub struct Known {
    pub told_at: Option<DateTime<Utc>>,
    pub is_deleted: bool,
    pub waiting: Option<Json<ToldProfile>>,
    pub welcome_due: bool,
}

/// Returns what is known of the user, and locks it until the transaction ends. Made if it is absent, so that concurrent events
/// of one user wait for each other.
pub async fn lock(on: impl Into<Executor<'_>>, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<Known> {
    let lock = query(
        on,
        sql!(
            "INSERT INTO identity_profiles (user_id, created_at, updated_at) VALUES ($1, $2, $2)
             ON CONFLICT (user_id) DO UPDATE SET updated_at = excluded.updated_at
             RETURNING told_at, is_deleted, waiting, welcome_due"
        ),
    );
    lock.bind(user).bind(now).fetch_one().await
}

pub async fn save(on: impl Into<Executor<'_>>, user: &UserId, known: &Known) -> sqlx::Result<()> {
    let save =
        query(on, sql!("UPDATE identity_profiles SET told_at = $2, is_deleted = $3, waiting = $4, welcome_due = $5 WHERE user_id = $1"));
    save.bind(user).bind(known.told_at).bind(known.is_deleted).bind(&known.waiting).bind(known.welcome_due).execute().await?;
    Ok(())
}

/// Removes profiles that waited since before this time, at most `limit`.
pub async fn sweep(db: &Db, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let sweep = query(
        db,
        sql!(
            "DELETE FROM identity_profiles WHERE user_id IN
             (SELECT user_id FROM identity_profiles WHERE waiting IS NOT NULL AND updated_at < $1 LIMIT $2)"
        ),
    );
    sweep.bind(before).bind(limit).execute().await
}

pub async fn erase(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM identity_profiles WHERE user_id = $1")).bind(user).execute().await
}
