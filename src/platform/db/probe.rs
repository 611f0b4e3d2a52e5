//! Health checks of the database: connectivity and clock skew.

use super::pool::Db;
use super::query::query;
use crate::platform::clock::Clock;
use crate::sql;

impl Db {
    /// Fails unless the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        let alive: Vec<(i64,)> = query(self, sql!("SELECT CAST(1 AS BIGINT)")).fetch_all().await?;
        if alive.is_empty() { Err(sqlx::Error::RowNotFound) } else { Ok(()) }
    }

    /// Returns the milliseconds by which the service's clock is ahead of the database's.
    pub async fn clock_skew(&self, clock: &Clock) -> sqlx::Result<i64> {
        // SQLite has no clock of its own: it reads the same system clock.
        let text = self.pick(
            sql!(pg: "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
            sql!(lite: "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"),
        );
        let (theirs,): (i64,) = query(self, text).fetch_one().await?;
        Ok(clock.now().timestamp_millis() - theirs)
    }
}
