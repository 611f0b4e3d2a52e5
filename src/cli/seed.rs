//! `omnistack seed`: users and data for front-end development. May be run again: existing data stays, but passwords are
//! reset to those it prints.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args as Arguments;

use super::{secret, setup};
use crate::app::App;
use crate::features::accounts;
use crate::features::users::model::User;
use crate::features::users::service::operator::{find_or_create, promote};
use crate::platform::actor::{Actor, CurrentUser};
use crate::platform::auth::{Claims, Provider, Role};
use crate::platform::output;

const PEOPLE: [(&str, Role); 2] = [("demo@example.com", Role::User), ("admin@example.com", Role::Admin)];

#[derive(Arguments)]
pub struct Args {
    /// Read the password of both accounts at the terminal, or as one line of standard input; otherwise it is made up and printed. It
    /// takes no value: a command line is visible to other users of the machine.
    #[arg(long)]
    password: bool,
    /// A value given to `--password`, which is refused.
    #[arg(hide = true)]
    value: Option<String>,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(args.value.is_none(), "--password takes no value, because {}. Pipe it in, or type it when asked", secret::REFUSED);
    let app = setup::app().await?;
    ensure!(!app.config.core.environment.is_production(), "refused in production: these accounts are for development");
    setup::bring_up_to_date(&app).await?;
    let local = app.config.auth.provider == Provider::Local;
    let password = if args.password { secret::read("Password")? } else { accounts::service::operator::random_password()? };
    if local && !args.password {
        // First, so that no account is made whose password could not be shown.
        output::line(format_args!("password of both: {password}"))?;
    }
    for (email, role) in PEOPLE {
        let user = person(&app, email, role, local.then_some(password.as_str())).await?;
        let role = serde_json::to_value(user.role)?;
        output::line(format_args!("{} ({}), {}", user.email, user.id.as_str(), role.as_str().unwrap_or_default()))?;
        for feature in &app.features {
            if let Some(made) = feature.seed(&app, &as_owner(&user)).await? {
                output::line(format_args!("  {made}"))?;
            }
        }
    }
    app.close().await;
    Ok(ExitCode::SUCCESS)
}

/// The operator acting as the user, whose examples are made.
fn as_owner(user: &User) -> CurrentUser {
    let claims = Claims {
        subject: user.id.clone(),
        email: Some(user.email.clone()),
        full_name: None,
        avatar_url: None,
        role: user.role,
        session: None,
        issued_at: None,
        expires_at: 0,
    };
    CurrentUser { id: user.id.clone(), claims: Arc::new(claims), actor: Actor::operator() }
}

async fn person(app: &App, email: &str, role: Role, password: Option<&str>) -> anyhow::Result<User> {
    if let Some(password) = password
        && let Some(user) =
            accounts::service::operator::create(app, email, role, password, false, &mut |_| Ok(())).await.map_err(setup::explained)?
    {
        return Ok(user);
    }
    let user = find_or_create(app, email, role).await?;
    if let Some(password) = password {
        accounts::service::operator::set_password(app, user.clone().into(), password).await.map_err(setup::explained)?;
    }
    if user.role == role { Ok(user) } else { promote(app, user.id.as_str(), role).await?.context("the user has gone") }
}
