//! Database migrations: applies each one once, in order, with any number of instances at once. Starts from an empty database
//! or, on Postgres, from that of the service we take over.

#[cfg(feature = "postgres")]
mod postgres;
mod report;
mod store;
#[cfg(feature = "postgres")]
mod takeover;

pub use report::{Migration, Report};

#[cfg(feature = "sqlite")]
use std::path::PathBuf;

#[cfg(feature = "sqlite")]
use anyhow::Context;
use sqlx::migrate::Migrator;

use report::{pending, states};

use super::feature::Feature;
#[cfg(feature = "sqlite")]
use crate::platform::db::SqliteUrl;
use crate::platform::db::{DatabaseUrl, Db, Pools};
#[cfg(feature = "sqlite")]
use crate::platform::private_files;

#[cfg(feature = "postgres")]
static POSTGRES: Migrator = Migrator { locking: false, ..sqlx::migrate!("migrations/postgres") };
#[cfg(feature = "sqlite")]
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

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
    Ok(states(migrator(db), &store::applied_versions(db).await?))
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
