//! `omnistack users create|list|promote|deactivate|activate|erase`: manages users without a front end, on any database, also
//! that of a running service.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args as Arguments, Subcommand};

use super::{secret, setup};
use crate::app::App;
use crate::features::users::model::User;
use crate::features::users::service::{self, operator};
use crate::features::{accounts, privacy};
use crate::platform::actor::Actor;
use crate::platform::auth::{Provider, Role};
use crate::platform::config::Choice;
use crate::platform::output;

/// Page size of the user list.
const PAGE: i64 = 100;

#[derive(Arguments)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an account; its password is asked for, or made up and printed once where nobody can be asked. If it cannot be printed,
    /// no account is made.
    Create {
        /// The e-mail address.
        email: String,
        /// `user`, `admin` or `superadmin`.
        #[arg(long, value_parser = role, default_value = "user")]
        role: Role,
    },
    /// List users, newest first.
    List {
        /// Users to leave out at the start.
        #[arg(long, default_value_t = 0)]
        skip: u32,
    },
    /// Give a user another role.
    Promote {
        /// The user's e-mail address or id.
        user: String,
        /// `user`, `admin` or `superadmin`.
        #[arg(long, value_parser = role)]
        role: Role,
    },
    /// Lock a user out, and end all their sessions.
    Deactivate {
        /// The user's e-mail address or id.
        user: String,
    },
    /// Let a deactivated user in again.
    Activate {
        /// The user's e-mail address or id.
        user: String,
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
    let app = setup::app().await?;
    match &args.command {
        Command::Create { email, role } => create(&app, email, *role).await?,
        Command::List { skip } => list(&app, *skip).await?,
        Command::Promote { user, role } => changed(&app, operator::promote(&app, user, *role).await?, user).await?,
        Command::Deactivate { user } => changed(&app, operator::set_active(&app, user, false).await?, user).await?,
        Command::Activate { user } => changed(&app, operator::set_active(&app, user, true).await?, user).await?,
        Command::Erase { user, yes: _ } => {
            let id = operator::find(&app, user).await?.with_context(|| nobody(user))?;
            let rows = privacy::service::erase(&app, &Actor::operator(), &id).await?;
            output::line(format_args!("{} is erased: {rows} rows", id.as_str()))?;
            warn_without_admin(&app).await?;
        }
    }
    app.close().await;
    Ok(ExitCode::SUCCESS)
}

fn nobody(user: &str) -> String {
    format!("no user has the address or id {user}")
}

async fn changed(app: &App, user: Option<User>, wanted: &str) -> anyhow::Result<()> {
    output::line(line(&user.with_context(|| nobody(wanted))?)?)?;
    warn_without_admin(app).await
}

/// An operator may take away the last administrator, because they can make another one at any time: they are only told.
async fn warn_without_admin(app: &App) -> anyhow::Result<()> {
    if operator::lacks_admin(app).await? {
        output::line(
            "warning: no active user has an administrator's role. Only tokens of the issuer can still give it, or `omnistack users promote`",
        )?;
    }
    Ok(())
}

fn line(user: &User) -> anyhow::Result<String> {
    let role = serde_json::to_value(user.role)?;
    let state = if user.is_active { "active" } else { "deactivated" };
    Ok(format!("{} ({}) is {}, {state}", user.email, user.id.as_str(), role.as_str().unwrap_or_default()))
}

async fn create(app: &App, email: &str, role: Role) -> anyhow::Result<()> {
    ensure!(
        app.config.auth.provider == Provider::Local,
        "accounts are made at the issuer (AUTH_PROVIDER={}); its users appear here at their first request",
        app.config.auth.provider.name()
    );
    setup::bring_up_to_date(app).await?;
    let asked = secret::can_ask().then(|| secret::ask_twice("Password")).transpose()?;
    let password = match &asked {
        Some(password) => password.clone(),
        None => accounts::service::operator::random_password()?,
    };
    let mut show = |user: &User| {
        output::line(line(user)?)?;
        if asked.is_none() { output::line(format_args!("password: {password}")) } else { Ok(()) }
    };
    let user = accounts::service::operator::create(app, email, role, &password, true, &mut show).await.map_err(setup::explained)?;
    user.with_context(|| format!("{email} has an account already"))?;
    Ok(())
}

async fn list(app: &App, skip: u32) -> anyhow::Result<()> {
    let (users, total) = service::list(None).rows(&app.db, PAGE, skip.into()).await?;
    for user in &users {
        output::line(line(user)?)?;
    }
    let shown = i64::from(skip) + i64::try_from(users.len())?;
    if shown < total {
        output::line(format_args!("… {} more: `omnistack users list --skip {shown}`", total - shown))?;
    }
    Ok(())
}
