//! SQL of `stripe_customers`.

use chrono::{DateTime, Utc};

use crate::platform::db::{Executor, query};
use crate::platform::id::UserId;
use crate::sql;

/// Number of customers that the user had before; 0 without a row.
pub async fn attempt(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<i64> {
    let row = query(on, sql!("SELECT attempt FROM stripe_customers WHERE user_id = $1")).bind(user);
    Ok(row.fetch_optional::<(i64,)>().await?.map_or(0, |(attempt,)| attempt))
}

/// Counts that the user's customer is gone.
pub async fn count_attempt(on: impl Into<Executor<'_>>, user: &UserId, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let count = query(
        on,
        sql!(
            "INSERT INTO stripe_customers (user_id, attempt, created_at, updated_at) VALUES ($1, 1, $2, $2)
             ON CONFLICT (user_id) DO UPDATE SET attempt = stripe_customers.attempt + 1, updated_at = excluded.updated_at"
        ),
    );
    count.bind(user).bind(now).execute().await
}

pub async fn erase(on: impl Into<Executor<'_>>, user: &UserId) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM stripe_customers WHERE user_id = $1")).bind(user).execute().await
}
