//! Health checks of the database: connectivity, writes, encoding and clock skew.

use super::pool::Db;
use super::query::query;
use crate::platform::clock::Clock;
use crate::sql;

/// Whether the database can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// It answers, but takes no writes: a read-only server, or a full disk.
    ReadOnly,
    Unreachable,
}

impl Db {
    /// Fails unless the database answers.
    pub async fn ping(&self) -> sqlx::Result<()> {
        let alive: Vec<(i64,)> = query(self, sql!("SELECT CAST(1 AS BIGINT)")).fetch_all().await?;
        if alive.is_empty() { Err(sqlx::Error::RowNotFound) } else { Ok(()) }
    }

    /// Returns whether the database answers and takes writes. Writes only if the last write was refused.
    pub async fn health(&self) -> Health {
        match self.takes_writes().await {
            Ok(true) => Health::Healthy,
            Ok(false) => Health::ReadOnly,
            Err(_) if self.ping().await.is_ok() => Health::ReadOnly,
            Err(_) => Health::Unreachable,
        }
    }

    /// Returns the version number of the server, e.g. `16.4`; of SQLite, the version of the library.
    pub async fn server_version(&self) -> sqlx::Result<String> {
        let text = self.pick(sql!(pg: "SELECT current_setting('server_version')"), sql!(lite: "SELECT sqlite_version()"));
        let (version,): (String,) = query(self, text).fetch_one().await?;
        // Packages add their own: `16.4 (Debian 16.4-1.pgdg120+1)`.
        Ok(version.split_whitespace().next().unwrap_or_default().to_owned())
    }

    async fn takes_writes(&self) -> sqlx::Result<bool> {
        if self.is_postgres() {
            let read_only = sql!(pg: "SELECT current_setting('transaction_read_only')");
            let (read_only,): (String,) = query(self, read_only).fetch_one().await?;
            if read_only == "on" {
                // Sessions keep this setting from their start on, so only a new one sees that the server is the primary again.
                self.distrust();
                return Ok(false);
            }
        }
        if self.stats.refuses_writes() {
            // Needs room on the disk, but leaves nothing behind.
            let probe = self.pick(
                sql!(pg: "CREATE TEMPORARY TABLE probe ON COMMIT DROP AS SELECT repeat('x', 8192) AS filler"),
                sql!(lite: "PRAGMA user_version = 0"),
            );
            query(self, probe).execute().await?;
        } else if !self.is_postgres() {
            self.ping().await?;
        }
        Ok(true)
    }

    /// Returns the server's encoding if it is not UTF-8.
    pub async fn foreign_encoding(&self) -> sqlx::Result<Option<String>> {
        if !self.is_postgres() {
            return Ok(None);
        }
        let (encoding,): (String,) = query(self, sql!(pg: "SELECT current_setting('server_encoding')")).fetch_one().await?;
        Ok((encoding != "UTF8").then_some(encoding))
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
