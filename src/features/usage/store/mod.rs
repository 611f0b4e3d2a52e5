//! SQL that reads usage; `flush` holds that of its additions.

pub mod flush;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::model::UserUsage;
use crate::platform::db::{Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// Maximum number of rows that one sweep removes.
const SWEEP: i64 = 1000;

/// The quantities of a day.
#[derive(Debug, sqlx::FromRow)]
pub struct Day {
    pub metric: String,
    pub quantity: i64,
    pub breakdown: Json<HashMap<String, i64>>,
}

/// The days of a user from the first to before the second instant, of one metric or of all.
pub async fn days(
    on: impl Into<Executor<'_>>,
    user: &UserId,
    metric: Option<&str>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<Day>> {
    let days = query(
        on,
        sql!(
            "SELECT metric, quantity, breakdown FROM usage_records
             WHERE user_id = $1 AND (metric = $2 OR $2 IS NULL) AND period_type = 'daily' AND period_start >= $3 AND period_start < $4"
        ),
    );
    days.bind(user).bind(metric).bind(from).bind(to).fetch_all().await
}

/// As [`days`], for one metric, without breakdowns.
pub async fn quantities(
    on: impl Into<Executor<'_>>,
    user: &UserId,
    metric: &str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<(DateTime<Utc>, i64)>> {
    let quantities = query(
        on,
        sql!(
            "SELECT period_start, quantity FROM usage_records
             WHERE user_id = $1 AND metric = $2 AND period_type = 'daily' AND period_start >= $3 AND period_start < $4"
        ),
    );
    quantities.bind(user).bind(metric).bind(from).bind(to).fetch_all().await
}

/// The sums of a user's days by metric.
pub async fn sums(on: impl Into<Executor<'_>>, user: &UserId, from: DateTime<Utc>, to: DateTime<Utc>) -> sqlx::Result<Vec<(String, i64)>> {
    let sums = query(
        on,
        sql!(
            "SELECT metric, CAST(SUM(quantity) AS BIGINT) FROM usage_records
             WHERE user_id = $1 AND period_type = 'daily' AND period_start >= $2 AND period_start < $3 GROUP BY metric"
        ),
    );
    sums.bind(user).bind(from).bind(to).fetch_all().await
}

/// The users who used most in the month that begins then.
pub async fn top(on: impl Into<Executor<'_>>, metric: &str, month: DateTime<Utc>, limit: i64) -> sqlx::Result<Vec<UserUsage>> {
    let top = query(
        on,
        sql!(
            "SELECT user_id, quantity AS usage FROM usage_records
             WHERE metric = $1 AND period_type = 'monthly' AND period_start = $2 AND quantity > 0
             ORDER BY quantity DESC, user_id LIMIT $3"
        ),
    );
    top.bind(metric).bind(month).bind(limit).fetch_all().await
}

/// Removes a bounded number of rows of periods that ended before.
pub async fn sweep_records(on: impl Into<Executor<'_>>, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let sweep = query(
        on,
        sql!(
            "DELETE FROM usage_records WHERE id IN
             (SELECT id FROM usage_records WHERE period_start < $1 AND period_end <= $1 ORDER BY period_start LIMIT $2)"
        ),
    );
    sweep.bind(before).bind(SWEEP).execute().await
}

/// Removes a bounded number of ids of batches that were stored before.
pub async fn sweep_batches(on: impl Into<Executor<'_>>, before: DateTime<Utc>) -> sqlx::Result<u64> {
    let sweep = query(
        on,
        sql!("DELETE FROM usage_batches WHERE id IN (SELECT id FROM usage_batches WHERE created_at < $1 ORDER BY created_at LIMIT $2)"),
    );
    sweep.bind(before).bind(SWEEP).execute().await
}

/// Removes the warnings of months before this one.
pub async fn sweep_warnings(on: impl Into<Executor<'_>>, month: &str) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM usage_warnings WHERE period < $1")).bind(month).execute().await
}

/// Removes everything of a user.
pub async fn erase(tx: &mut crate::platform::db::Tx, user: &UserId) -> sqlx::Result<u64> {
    let records = query(&mut *tx, sql!("DELETE FROM usage_records WHERE user_id = $1")).bind(user).execute().await?;
    Ok(records + query(tx, sql!("DELETE FROM usage_warnings WHERE user_id = $1")).bind(user).execute().await?)
}
