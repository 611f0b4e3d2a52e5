//! `omnistack users promote <address> --role <role>` and `omnistack users erase <address or id> --yes`

use std::process::ExitCode;

use clap::{Args as Arguments, Subcommand};

use crate::features::privacy;
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
    /// Remove a user and everything that is kept of them. There is no way back.
    Erase {
        /// The user's e-mail address or id.
        user: String,
        /// Yes, do it.
        #[arg(long, required = true)]
        yes: bool,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "must be user, admin or superadmin".to_owned())
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let app = super::app().await?;
    match &args.command {
        Command::Promote { email, role } => {
            let Some(user) = service::promote(&app, email, *role).await? else { anyhow::bail!("no user has the address {email}") };
            println!("{} ({}) is now {}", user.email, user.id.as_str(), serde_json::to_value(user.role)?.as_str().unwrap_or_default());
        }
        Command::Erase { user, yes: _ } => {
            let Some(id) = service::find(&app, user).await? else { anyhow::bail!("no user has the address or id {user}") };
            let rows = privacy::service::erase(&app, id.as_str()).await?;
            println!("{} is erased: {rows} rows", id.as_str());
        }
    }
    app.db.close().await;
    Ok(ExitCode::SUCCESS)
}
