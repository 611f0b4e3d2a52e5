//! SQL of `login_failures`: the failed log-ins of each account. Columns of one row form a [`Failures`].

use chrono::{DateTime, Utc};

use crate::features::accounts::failures::Failures;
use crate::platform::db::{Db, Executor, Tx, query};
use crate::sql;

const COLUMNS: &str = "failed_at, waits, wait_until, alerted_at";

pub async fn get(on: impl Into<Executor<'_>>, account: &str) -> sqlx::Result<Option<Failures>> {
    query(on, sql!("SELECT ", COLUMNS, " FROM login_failures WHERE account = $1")).bind(account).fetch_optional().await
}

/// Returns the row, made if there is none, and locks it until the transaction ends.
pub async fn lock(db: &Db, tx: &mut Tx, account: &str, expires_at: DateTime<Utc>) -> sqlx::Result<Failures> {
    query(&mut *tx, sql!("INSERT INTO login_failures (account, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING"))
        .bind(account)
        .bind(expires_at)
        .execute()
        .await?;
    // SQLite has no FOR UPDATE: a write transaction locks the whole database.
    let text = db.pick(
        sql!(pg: "SELECT ", COLUMNS, " FROM login_failures WHERE account = $1 FOR UPDATE"),
        sql!(lite: "SELECT ", COLUMNS, " FROM login_failures WHERE account = $1"),
    );
    // A reset may have removed the row in between: then there is nothing to count.
    Ok(query(tx, text).bind(account).fetch_optional().await?.unwrap_or_default())
}

pub async fn update(on: impl Into<Executor<'_>>, account: &str, failures: &Failures, expires_at: DateTime<Utc>) -> sqlx::Result<()> {
    let update = query(
        on,
        sql!("UPDATE login_failures SET failed_at = $2, waits = $3, wait_until = $4, alerted_at = $5, expires_at = $6 WHERE account = $1"),
    );
    let update = update.bind(account).bind(&failures.failed_at).bind(failures.waits).bind(failures.wait_until);
    update.bind(failures.alerted_at).bind(expires_at).execute().await?;
    Ok(())
}

pub async fn forget(on: impl Into<Executor<'_>>, account: &str) -> sqlx::Result<u64> {
    query(on, sql!("DELETE FROM login_failures WHERE account = $1")).bind(account).execute().await
}
