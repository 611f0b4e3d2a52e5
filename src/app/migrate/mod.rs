//! Database migrations: applies each one once, in order, with any number of instances at once. Starts from an empty database
//! or, on Postgres, from that of the service we take over.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod takeover;

#[cfg(feature = "sqlite")]
use std::path::PathBuf;

use anyhow::Context;
use sqlx::migrate::Migrator;

use super::feature::Feature;
#[cfg(feature = "sqlite")]
use crate::platform::db::SqliteUrl;
use crate::platform::db::{DatabaseUrl, Db, Pools, query};
#[cfg(feature = "sqlite")]
use crate::platform::private_files;
use crate::sql;

#[cfg(feature = "postgres")]
static POSTGRES: Migrator = Migrator { locking: false, ..sqlx::migrate!("migrations/postgres") };
#[cfg(feature = "sqlite")]
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

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
    Ok(states(migrator(db), &applied_versions(db).await?))
}

fn states(migrator: &Migrator, applied: &[i64]) -> Vec<Migration> {
    let state = |version, name: &str| Migration { version, name: name.to_owned(), applied: applied.contains(&version) };
    migrator.iter().map(|migration| state(migration.version, &migration.description)).collect()
}

/// Empty where the table of migrations does not exist yet.
async fn applied_versions(db: &Db) -> sqlx::Result<Vec<i64>> {
    let there = db.pick(
        sql!(pg: "SELECT CAST(count(*) AS BIGINT) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '_sqlx_migrations'"),
        sql!(lite: "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'"),
    );
    let (there,): (i64,) = query(db, there).fetch_one().await?;
    if there == 0 {
        return Ok(Vec::new());
    }
    let applied: Vec<(i64,)> = query(db, sql!("SELECT version FROM _sqlx_migrations ORDER BY version")).fetch_all().await?;
    Ok(applied.into_iter().map(|(version,)| version).collect())
}

/// Whether nothing is left to apply.
pub async fn is_current(db: &Db) -> anyhow::Result<bool> {
    Ok(status(db).await?.iter().all(|step| step.applied))
}

/// Applies pending migrations, then runs the features' `after_migrations`. With `dry_run` it only reports what is pending.
pub async fn run<A: Send + Sync + 'static>(
    db: &Db,
    url: &DatabaseUrl,
    features: &[&'static dyn Feature<A>],
    dry_run: bool,
) -> anyhow::Result<Report> {
    let mut report = Report { applied: pending(&status(db).await?), remarks: Vec::new() };
    if !report.applied.is_empty() {
        match (&db.pools, url) {
            #[cfg(feature = "postgres")]
            (Pools::Postgres(_), DatabaseUrl::Postgres(url)) => {
                report = postgres::run(&POSTGRES, db.migration_connection(url).await?, dry_run).await?;
            }
            #[cfg(feature = "sqlite")]
            (Pools::Sqlite { write, .. }, DatabaseUrl::Sqlite(url)) if !dry_run => {
                let _lock = lock_file(url).await?;
                // Another instance may have been first while this one waited.
                report.applied = pending(&status(db).await?);
                let mut held = write.acquire().await?;
                SQLITE.run(&mut *held).await.context("migration failed")?;
            }
            _ => {}
        }
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

/// SQLite's migrator takes no lock, so `<database>.migrate` is locked exclusively during the run.
#[cfg(feature = "sqlite")]
async fn lock_file(url: &SqliteUrl) -> anyhow::Result<Option<std::fs::File>> {
    let SqliteUrl::File(path) = url else { return Ok(None) };
    let mut name = path.clone().into_os_string();
    name.push(".migrate");
    let path = PathBuf::from(name);
    tokio::task::spawn_blocking(move || {
        let file = private_files::open_file(&path).with_context(|| format!("cannot open {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Some(file))
    })
    .await?
}
