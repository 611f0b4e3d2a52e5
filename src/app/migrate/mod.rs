//! Database migrations: applies each one once, in order, with any number of instances at once. Starts from an empty database
//! or, on Postgres, from that of the service we take over.

#[cfg(feature = "postgres")]
mod takeover;

#[cfg(feature = "sqlite")]
use std::path::PathBuf;

use anyhow::Context;
use sqlx::migrate::{Migrate, Migrator};

use super::feature::Feature;
#[cfg(feature = "sqlite")]
use crate::platform::db::SqliteUrl;
use crate::platform::db::{DatabaseUrl, Db, Pools};

#[cfg(feature = "postgres")]
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
#[cfg(feature = "sqlite")]
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// Key of the advisory lock for migrations on Postgres; an arbitrary number.
#[cfg(feature = "postgres")]
const LOCK: i64 = 0x6f6d_6e69_7374_6163;

/// One migration and whether it was applied.
pub struct Migration {
    pub version: i64,
    pub name: String,
    pub applied: bool,
}

/// Result of a run or a dry run.
#[derive(Default)]
pub struct Report {
    pub applied: Vec<String>,
    /// Notes for the operator about a database that was taken over.
    pub remarks: Vec<String>,
}

/// The migrations of the database's engine.
fn migrator(db: &Db) -> &'static Migrator {
    match &db.pools {
        #[cfg(feature = "postgres")]
        Pools::Postgres(_) => &POSTGRES,
        #[cfg(feature = "sqlite")]
        Pools::Sqlite { .. } => &SQLITE,
    }
}

/// Every migration and its state.
pub async fn status(db: &Db) -> anyhow::Result<Vec<Migration>> {
    let applied = match &db.pools {
        #[cfg(feature = "postgres")]
        Pools::Postgres(pool) => applied_versions(&mut *pool.acquire().await?).await?,
        #[cfg(feature = "sqlite")]
        Pools::Sqlite { read, .. } => applied_versions(&mut *read.acquire().await?).await?,
    };
    Ok(states(migrator(db), &applied))
}

fn states(migrator: &Migrator, applied: &[i64]) -> Vec<Migration> {
    let state = |version, name: &str| Migration { version, name: name.to_owned(), applied: applied.contains(&version) };
    migrator.iter().map(|migration| state(migration.version, &migration.description)).collect()
}

/// Empty where the table of migrations does not exist yet.
async fn applied_versions<C: Migrate>(connection: &mut C) -> anyhow::Result<Vec<i64>> {
    Ok(connection
        .list_applied_migrations("_sqlx_migrations")
        .await
        .map(|list| list.into_iter().map(|m| m.version).collect())
        .unwrap_or_default())
}

/// Whether nothing is left to apply.
pub async fn is_current(db: &Db) -> anyhow::Result<bool> {
    Ok(status(db).await?.iter().all(|step| step.applied))
}

/// Applies pending migrations, then runs the features' `after_migrations`. With `dry_run` it only reports what is pending.
#[cfg_attr(not(feature = "sqlite"), expect(unused_variables, reason = "only SQLite's lock file lies beside the database"))]
pub async fn run<A: Send + Sync + 'static>(
    db: &Db,
    url: &DatabaseUrl,
    features: &[&'static dyn Feature<A>],
    dry_run: bool,
) -> anyhow::Result<Report> {
    let mut report = Report { applied: pending(&status(db).await?), remarks: Vec::new() };
    match &db.pools {
        #[cfg(feature = "postgres")]
        Pools::Postgres(pool) if !report.applied.is_empty() => {
            let mut connection = pool.acquire().await?;
            // Taking over a large table may exceed the time limit of statements.
            sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await?;
            sqlx::query("SELECT pg_advisory_lock($1)").bind(LOCK).execute(&mut *connection).await?;
            let outcome = on_postgres(&mut connection, dry_run).await;
            // Closing the connection releases the lock and resets the setting in any case.
            sqlx::Connection::close(connection.detach()).await.ok();
            report = outcome?;
        }
        #[cfg(feature = "sqlite")]
        Pools::Sqlite { write, .. } if !dry_run && !report.applied.is_empty() => {
            let _lock = lock_file(url).await?;
            // Another instance may have been first while this one waited.
            report.applied = pending(&status(db).await?);
            SQLITE.run(write).await.context("migration failed")?;
        }
        _ => {}
    }
    if !dry_run {
        for feature in features {
            feature.after_migrations(db).await?;
        }
    }
    Ok(report)
}

fn pending(migrations: &[Migration]) -> Vec<String> {
    migrations.iter().filter(|m| !m.applied).map(|m| format!("{:04} {}", m.version, m.name)).collect()
}

#[cfg(feature = "postgres")]
async fn on_postgres(connection: &mut sqlx::PgConnection, dry_run: bool) -> anyhow::Result<Report> {
    // Another instance may have been first while this one waited.
    let applied = pending(&states(&POSTGRES, &applied_versions(connection).await?));
    let takeover = takeover::inspect(connection).await?;
    if !dry_run {
        POSTGRES.run(connection).await.context("migration failed")?;
    }
    Ok(Report { applied, remarks: takeover.lines() })
}

/// SQLite's migrator takes no lock, so `<database>.migrate` is locked exclusively during the run.
#[cfg(feature = "sqlite")]
async fn lock_file(url: &DatabaseUrl) -> anyhow::Result<Option<std::fs::File>> {
    let DatabaseUrl::Sqlite(SqliteUrl::File(path)) = url else { return Ok(None) };
    let mut name = path.clone().into_os_string();
    name.push(".migrate");
    let path = PathBuf::from(name);
    tokio::task::spawn_blocking(move || {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Some(file))
    })
    .await?
}
