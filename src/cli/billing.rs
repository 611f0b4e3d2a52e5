//! `omnistack billing sync`: compares a user's subscriptions with their vendors, and corrects what differs.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args as Arguments, Subcommand};

use super::setup;
use crate::features::subscriptions::model::Status;
use crate::features::subscriptions::service;
use crate::features::users::service::operator;
use crate::platform::output;

#[derive(Arguments)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare a user's subscriptions with their vendors, and correct what differs.
    Sync {
        /// The user's e-mail address or id.
        user: String,
    },
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let app = setup::app().await?;
    let Command::Sync { user } = &args.command;
    let id = operator::find(&app, user).await?.with_context(|| format!("no user has the address or id {user}"))?;
    let differences = service::sync(&app, &id).await.map_err(setup::explained)?;
    for difference in &differences {
        output::line(format_args!(
            "{} {}: was {}, is {}",
            difference.vendor.name(),
            difference.external_id,
            difference.before.map_or("unknown", Status::name),
            difference.after.name()
        ))?;
    }
    let status = service::stored(&app, &id).await?;
    let state = status.status.map_or("no subscription", Status::name);
    output::line(format_args!("{} corrected; the plan is {} ({state})", differences.len(), status.plan.name()))?;
    app.close().await;
    Ok(ExitCode::SUCCESS)
}
