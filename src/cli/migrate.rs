//! `omnistack migrate [--status|--dry-run]`

use std::process::ExitCode;

use anyhow::Context;
use clap::Args as Arguments;

use crate::app::migrate;
use crate::features;

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
    let app = super::app().await?;
    if args.status {
        for step in migrate::status(&app.db).await? {
            println!("{:04} {:<20} {}", step.version, step.name, if step.applied { "applied" } else { "pending" });
        }
        return Ok(ExitCode::SUCCESS);
    }
    let url = app.config.database.url.as_ref().context("DATABASE_URL is not set")?;
    let report = migrate::run(&app.db, url, &features::after_migrations(), args.dry_run).await?;
    let verb = if args.dry_run { "would apply" } else { "applied" };
    for step in &report.applied {
        println!("{verb} {step}");
    }
    for remark in &report.remarks {
        println!("{remark}");
    }
    if report.applied.is_empty() {
        println!("nothing to do: the database is up to date");
    }
    app.db.close().await;
    Ok(ExitCode::SUCCESS)
}
