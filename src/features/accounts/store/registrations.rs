//! SQL of `registrations`: further registrations of an unverified address.

use chrono::{DateTime, Utc};

use crate::features::accounts::model::{NewRegistration, RegistrationId};
use crate::platform::db::{Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// A registration whose link was used.
#[derive(sqlx::FromRow)]
pub struct Confirmed {
    pub password_hash: String,
    pub full_name: Option<String>,
}

/// Marks the address as registered again.
pub async fn mark(on: impl Into<Executor<'_>>, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<()> {
    query(on, sql!("UPDATE credentials SET registered_again_at = $2 WHERE user_id = $1")).bind(user).bind(now).execute().await?;
    Ok(())
}

pub async fn insert(on: impl Into<Executor<'_>>, new: &NewRegistration) -> sqlx::Result<()> {
    let insert = query(
        on,
        sql!(
            "INSERT INTO registrations (id, user_id, password_hash, full_name, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)"
        ),
    );
    let insert = insert.bind(new.id).bind(&new.user_id).bind(&new.password_hash).bind(&new.full_name);
    insert.bind(new.created_at).bind(new.expires_at).execute().await?;
    Ok(())
}

/// Returns the number of registrations since a moment.
pub async fn count_since(on: impl Into<Executor<'_>>, user: &UserId, since: DateTime<Utc>) -> sqlx::Result<i64> {
    let (count,) = query(on, sql!("SELECT COUNT(*) FROM registrations WHERE user_id = $1 AND created_at > $2"))
        .bind(user)
        .bind(since)
        .fetch_one::<(i64,)>()
        .await?;
    Ok(count)
}

/// Removes all but the newest registrations of a user.
pub async fn keep_newest(on: impl Into<Executor<'_>>, user: &UserId, keep: i64) -> sqlx::Result<()> {
    let remove = query(
        on,
        sql!(
            "DELETE FROM registrations WHERE user_id = $1
             AND id NOT IN (SELECT id FROM registrations WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)"
        ),
    );
    remove.bind(user).bind(keep).execute().await?;
    Ok(())
}

/// Returns whether the registration was kept and still waits.
pub async fn waits(on: impl Into<Executor<'_>>, id: RegistrationId, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let waits = query(on, sql!("SELECT COUNT(*) FROM registrations WHERE id = $1 AND expires_at > $2"));
    let (count,): (i64,) = waits.bind(id).bind(now).fetch_one().await?;
    Ok(count > 0)
}

/// Stores the token of the mail; returns whether the registration still waits for it.
pub async fn set_token(on: impl Into<Executor<'_>>, id: RegistrationId, hash: &str, now: DateTime<Utc>) -> sqlx::Result<bool> {
    let set = query(on, sql!("UPDATE registrations SET token_hash = $2 WHERE id = $1 AND expires_at > $3"));
    Ok(set.bind(id).bind(hash).bind(now).execute().await? == 1)
}

/// Returns the owner of a mailed token.
pub async fn token_owner(on: impl Into<Executor<'_>>, hash: &str, now: DateTime<Utc>) -> sqlx::Result<Option<UserId>> {
    let owner = query(on, sql!("SELECT user_id FROM registrations WHERE token_hash = $1 AND expires_at > $2"));
    let row: Option<(UserId,)> = owner.bind(hash).bind(now).fetch_optional().await?;
    Ok(row.map(|(user,)| user))
}

/// Removes and returns the registration of a mailed token.
pub async fn take(on: impl Into<Executor<'_>>, hash: &str, now: DateTime<Utc>) -> sqlx::Result<Option<Confirmed>> {
    let take = query(on, sql!("DELETE FROM registrations WHERE token_hash = $1 AND expires_at > $2 RETURNING password_hash, full_name"));
    let taken: Vec<Confirmed> = take.bind(hash).bind(now).fetch_all().await?;
    Ok(taken.into_iter().next())
}

/// Removes every registration of a user.
pub async fn end_all(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<()> {
    query(on, sql!("DELETE FROM registrations WHERE user_id = $1")).bind(user).execute().await?;
    Ok(())
}

/// Returns the times of a user's registrations that wait for verification.
pub async fn waiting_since(on: impl Into<Executor<'_>>, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<Vec<DateTime<Utc>>> {
    let rows = query(on, sql!("SELECT created_at FROM registrations WHERE user_id = $1 AND expires_at > $2 ORDER BY created_at"));
    let rows: Vec<(DateTime<Utc>,)> = rows.bind(user).bind(now).fetch_all().await?;
    Ok(rows.into_iter().map(|(at,)| at).collect())
}
