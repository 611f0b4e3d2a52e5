//! SQL of `data_exports`.

use chrono::{DateTime, Utc};

use crate::app::jobs::JobId;
use crate::platform::db::{Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// A data export: the place of its document, which is there once `bytes` is set.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Export {
    pub job_id: JobId,
    pub object_key: String,
    /// Size of the document.
    pub bytes: Option<i64>,
    pub expires_at: DateTime<Utc>,
}

/// The columns of an [`Export`].
const EXPORT: &str = "job_id, object_key, bytes, expires_at";

/// Reserves the place of a job's document before it is written, so that no object is ever without a row. Returns the row of an
/// earlier run of the same job, if there was one.
pub async fn reserve(
    on: impl Into<Executor<'_>>,
    job: JobId,
    user: &UserId,
    object_key: &str,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> sqlx::Result<Export> {
    let reserve = query(
        on,
        sql!(
            "INSERT INTO data_exports (job_id, user_id, object_key, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (job_id) DO UPDATE
             SET expires_at = CASE WHEN data_exports.bytes IS NULL THEN excluded.expires_at ELSE data_exports.expires_at END
             RETURNING ",
            EXPORT
        ),
    );
    reserve.bind(job).bind(user).bind(object_key).bind(now).bind(expires_at).fetch_one().await
}

/// Marks the document as stored; returns `false` if the row is gone, because its user was erased.
pub async fn set_stored(on: impl Into<Executor<'_>>, job: JobId, bytes: i64) -> sqlx::Result<bool> {
    let set = query(on, sql!("UPDATE data_exports SET bytes = $2 WHERE job_id = $1"));
    Ok(set.bind(job).bind(bytes).execute().await? == 1)
}

/// Lets all stored exports of a user but the newest ones expire.
pub async fn expire_surplus(on: impl Into<Executor<'_>>, user: &UserId, keep: i64, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let expire = query(
        on,
        sql!(
            "UPDATE data_exports SET expires_at = $2 WHERE user_id = $1 AND bytes IS NOT NULL AND expires_at > $2 AND job_id NOT IN (
                SELECT job_id FROM data_exports WHERE user_id = $1 AND bytes IS NOT NULL ORDER BY job_id DESC LIMIT $3)"
        ),
    );
    expire.bind(user).bind(now).bind(keep).execute().await
}

/// Returns the user's export of this job, if its document is stored and has not expired.
pub async fn stored(on: impl Into<Executor<'_>>, job: JobId, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<Option<Export>> {
    let stored = query(
        on,
        sql!("SELECT ", EXPORT, " FROM data_exports WHERE job_id = $1 AND user_id = $2 AND bytes IS NOT NULL AND expires_at > $3"),
    );
    stored.bind(job).bind(user).bind(now).fetch_optional().await
}

/// Returns expired exports, the oldest ones first.
pub async fn expired(on: impl Into<Executor<'_>>, now: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<Export>> {
    let expired = query(on, sql!("SELECT ", EXPORT, " FROM data_exports WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"));
    expired.bind(now).bind(limit).fetch_all().await
}

pub async fn delete(on: impl Into<Executor<'_>>, job: JobId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM data_exports WHERE job_id = $1")).bind(job).execute().await
}

/// Removes every row of a user; returns the keys of the objects.
pub async fn take_all(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<Vec<String>> {
    let take = query(on, sql!("DELETE FROM data_exports WHERE user_id = $1 RETURNING object_key"));
    let rows: Vec<(String,)> = take.bind(user).fetch_all().await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}
