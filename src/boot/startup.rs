//! Startup steps shared by server and worker: the database is reachable and up to date.

use std::time::Duration;

use anyhow::Context;

use crate::app::{App, migrate};
use crate::platform::db::{Db, pooler_remedy};

/// Maximum time to wait for the database.
const DATABASE_WAIT: Duration = Duration::from_secs(10);

/// Waits for the database and applies pending migrations.
pub async fn prepare(app: &App) -> anyhow::Result<()> {
    wait_for(&app.db).await?;
    if let Some(encoding) = app.db.foreign_encoding().await? {
        anyhow::bail!(
            "the database's encoding is {encoding}, and must be UTF8: create it with \
             `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`, and copy the data with pg_dump"
        );
    }
    let url = app.config.database.url.as_ref().context("DATABASE_URL is not set")?;
    if app.config.database.run_migrations {
        let report = migrate::run(&app.db, url, &app.features, false).await?;
        for step in report.applied {
            tracing::info!(migration = step, "migration applied");
        }
        for remark in report.remarks {
            tracing::warn!("{remark}");
        }
    } else if !migrate::is_current(&app.db).await? {
        anyhow::bail!("migrations are pending and RUN_MIGRATIONS is false: run `omnistack migrate` first");
    }
    Ok(())
}

async fn wait_for(db: &Db) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + DATABASE_WAIT;
    loop {
        match db.ping().await {
            Ok(()) => return Ok(()),
            Err(error) if let Some(remedy) = pooler_remedy(&error) => return Err(error).context(remedy),
            Err(error) if tokio::time::Instant::now() < deadline => {
                tracing::warn!(cause = %error, "the database does not answer yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error).context("the database does not answer: check DATABASE_URL and that it runs"),
        }
    }
}
