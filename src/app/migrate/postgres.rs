//! Migrations on Postgres: one instance at a time, behind an advisory lock.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use sqlx::migrate::{Migrate, Migrator};
use sqlx::{Connection, PgConnection};
use tokio::time::Instant;

use super::report::{Report, pending, states};
use super::takeover;
use crate::platform::db::MigrationConnection;

/// Key of the advisory lock; an arbitrary number.
const LOCK: i64 = 0x6f6d_6e69_7374_6163;
/// Maximum time to wait for another instance's migrations.
const WAIT: Duration = Duration::from_secs(300);
/// Pause between two attempts to take the lock.
const PAUSE: Duration = Duration::from_millis(200);
/// Time between two log lines while waiting.
const NOTE: Duration = Duration::from_secs(10);

pub async fn run(migrator: &Migrator, on: MigrationConnection, dry_run: bool) -> Result<Report> {
    let MigrationConnection { mut connection, pooled } = on;
    let mut waiting = Waiting::default();
    let report = if pooled {
        // A pooler gives the next transaction another session, so lock and migrations share one.
        loop {
            let mut tx = connection.begin().await?;
            if is_free(&mut tx, "SELECT pg_try_advisory_xact_lock($1)").await? {
                let report = apply(migrator, &mut tx, dry_run).await?;
                // No prepared statement may outlive the transaction.
                tx.clear_cached_statements().await?;
                tx.commit().await?;
                break report;
            }
            tx.rollback().await?;
            waiting.pause().await?;
        }
    } else {
        while !is_free(&mut connection, "SELECT pg_try_advisory_lock($1)").await? {
            waiting.pause().await?;
        }
        apply(migrator, &mut connection, dry_run).await?
    };
    // Releases the lock.
    connection.close().await.ok();
    Ok(report)
}

async fn is_free(connection: &mut PgConnection, lock: &'static str) -> Result<bool> {
    Ok(sqlx::query_scalar(lock).bind(LOCK).persistent(false).fetch_one(connection).await?)
}

async fn apply(migrator: &Migrator, connection: &mut PgConnection, dry_run: bool) -> Result<Report> {
    // Another instance may have been first while this one waited.
    let there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    let applied = if there { connection.list_applied_migrations("_sqlx_migrations").await? } else { Vec::new() };
    let applied: Vec<i64> = applied.into_iter().map(|migration| migration.version).collect();
    let takeover = takeover::inspect(connection).await?;
    if !dry_run {
        migrator.run(&mut *connection).await.context("migration failed")?;
    }
    Ok(Report { applied: pending(&states(migrator, &applied)), remarks: takeover.lines() })
}

/// The time spent on waiting for another instance.
struct Waiting {
    since: Instant,
    noted: Option<Instant>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { since: Instant::now(), noted: None }
    }
}

impl Waiting {
    async fn pause(&mut self) -> Result<()> {
        let waited = self.since.elapsed();
        if waited > WAIT {
            bail!(
                "another process has held the lock for migrations for {} s: see pg_locks for `advisory`, end that session, and start again",
                waited.as_secs()
            );
        }
        if self.noted.is_none_or(|noted| noted.elapsed() >= NOTE) {
            self.noted = Some(Instant::now());
            tracing::info!(waited_s = waited.as_secs(), "waiting for another instance's migrations");
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
