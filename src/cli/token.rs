//! `omnistack token --email <address or id>`: prints an access token for development, without a front end.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args as Arguments;

use super::setup;
use crate::app::App;
use crate::features::users::service::operator;
use crate::features::{accounts, users};
use crate::platform::actor::Actor;
use crate::platform::auth::{Provider, Role, own};
use crate::platform::config::Choice;
use crate::platform::output;
use crate::platform::telemetry::auth_events::AuthEvent;

#[derive(Arguments)]
pub struct Args {
    /// The user's e-mail address or id; a user with this address is made if there is none.
    #[arg(long)]
    email: String,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let app = setup::app().await?;
    anyhow::ensure!(!app.config.core.environment.is_production(), "refused in production: tokens come from logging in");
    let local = app.config.auth.provider == Provider::Local;
    anyhow::ensure!(
        local || own::can_mint_for_issuer(&app.config.auth),
        "tokens come from the issuer (AUTH_PROVIDER={}): only it holds the signing key. Log in there, or use AUTH_PROVIDER=local for development",
        app.config.auth.provider.name()
    );
    output::line(token(&app, &args.email, local).await?)?;
    app.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn token(app: &App, email: &str, local: bool) -> anyhow::Result<String> {
    setup::bring_up_to_date(app).await?;
    let user = if let Some(id) = operator::find(app, email).await? {
        users::service::get(app, &id).await?
    } else {
        anyhow::ensure!(email.contains('@'), "no user has this id, and to make one, --email must be an e-mail address");
        operator::find_or_create(app, email, Role::User).await.map_err(setup::explained)?
    };
    if local {
        return accounts::service::operator::token(app, &user).await?.context("the account is deactivated");
    }
    AuthEvent::of_user("login", &user.id).by(&Actor::operator()).detail("token_command").succeeded();
    own::mint_for_issuer(&app.config.auth, &user.id, &user.email, app.clock.now())
}
