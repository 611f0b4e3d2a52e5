//! `omnistack seed`: people and data to build a front end against. May be run again: what is there stays, but for the
//! passwords, which are set anew so that what it prints is true.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args as Arguments;

use crate::app::App;
use crate::features::accounts;
use crate::features::users::model::User;
use crate::features::users::service::by_hand::{find_or_create, promote};
use crate::platform::auth::{Provider, Role};

const PEOPLE: [(&str, Role); 2] = [("demo@example.com", Role::User), ("admin@example.com", Role::Admin)];

#[derive(Arguments)]
pub struct Args {
    /// The password of both accounts; made up where it is not given.
    #[arg(long)]
    password: Option<String>,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let app = super::app().await?;
    ensure!(!app.config.core.environment.is_production(), "refused in production: these accounts are for development");
    super::bring_up_to_date(&app).await?;
    let local = app.config.auth.provider == Provider::Local;
    let password = match &args.password {
        Some(password) => password.clone(),
        None => accounts::service::by_hand::random_password()?,
    };
    for (email, role) in PEOPLE {
        let user = person(&app, email, role, local.then_some(password.as_str())).await?;
        println!("{} ({}), {}", user.email, user.id.as_str(), serde_json::to_value(user.role)?.as_str().unwrap_or_default());
        for feature in &app.features {
            if let Some(made) = (feature.seed)(&app, user.id.as_str()).await? {
                println!("  {made}");
            }
        }
    }
    if local {
        println!("password of both: {password}");
    }
    app.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn person(app: &App, email: &str, role: Role, password: Option<&str>) -> anyhow::Result<User> {
    if let Some(password) = password
        && let Some(user) = accounts::service::by_hand::create(app, email, role, password, false).await.map_err(super::explained)?
    {
        return Ok(user);
    }
    let user = find_or_create(app, email, role).await?;
    if let Some(password) = password {
        accounts::service::by_hand::set_password(app, user.clone().into(), password).await.map_err(super::explained)?;
    }
    if user.role == role { Ok(user) } else { promote(app, email, role).await?.context("the user has gone") }
}
