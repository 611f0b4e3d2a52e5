//! `omnistack migrate [--status|--dry-run]`

use std::process::ExitCode;

use anyhow::Context;
use clap::Args as Arguments;

use super::setup;
use crate::app::migrate;
use crate::features;
use crate::platform::db::Db;
use crate::platform::output;
use crate::platform::telemetry::metrics::Metrics;

#[derive(Arguments)]
pub struct Args {
    /// List every migration and whether it was applied.
    #[arg(long, conflicts_with = "dry_run")]
    status: bool,
    /// Check the database and say what would be done, without doing it.
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Not the whole service: that would create the secret key of a first start.
    let config = setup::load()?.config.database;
    let url = config.url.as_ref().context("DATABASE_URL is not set")?;
    let db = Db::connect(&config, url, &Metrics::default()).await?;
    if args.status {
        for step in migrate::status(&db).await? {
            let state = if step.applied { "applied" } else { "pending" };
            output::line(format_args!("{:04} {:<20} {state}", step.version, step.name))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let report = migrate::run(&db, url, &features::all(), args.dry_run).await?;
    let verb = if args.dry_run { "would apply" } else { "applied" };
    for step in &report.applied {
        output::line(format_args!("{verb} {step}"))?;
    }
    for remark in &report.remarks {
        output::line(remark)?;
    }
    if report.applied.is_empty() {
        output::line("nothing to do: the database is up to date")?;
    }
    db.close().await;
    Ok(ExitCode::SUCCESS)
}
