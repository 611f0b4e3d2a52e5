//! `omnistack users promote <address> --role <role>`

use std::process::ExitCode;

use clap::{Args as Arguments, Subcommand};

use crate::features::users::service;
use crate::platform::auth::Role;

#[derive(Arguments)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Give a user another role; works on any database, also on a running service's.
    Promote {
        /// The user's e-mail address.
        email: String,
        /// `user`, `admin` or `superadmin`.
        #[arg(long, value_parser = role)]
        role: Role,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "must be user, admin or superadmin".to_owned())
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let app = super::app().await?;
    let Command::Promote { email, role } = &args.command;
    let Some(user) = service::promote(&app, email, *role).await? else { anyhow::bail!("no user has the address {email}") };
    println!("{} ({}) is now {}", user.email, user.id.as_str(), serde_json::to_value(user.role)?.as_str().unwrap_or_default());
    app.db.close().await;
    Ok(ExitCode::SUCCESS)
}
