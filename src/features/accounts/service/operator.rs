//! Operations of the command line and the first start: accounts with generated passwords, and access tokens for development.

use std::net::{IpAddr, Ipv4Addr};

use super::{end_access, sessions};
use crate::app::App;
use crate::features::accounts::model::Device;
use crate::features::accounts::state::State;
use crate::features::accounts::{rules, store, tokens};
use crate::features::users::model::{User, UserRead};
use crate::features::users::service::accounts::{self as users, NewAccount};
use crate::features::users::service::operator::mail_address;
use crate::platform::actor::Actor;
use crate::platform::auth::Role;
use crate::platform::error::Result;
use crate::platform::id::PathId;
use crate::platform::telemetry::auth_events::AuthEvent;
use crate::platform::text::is_email;

/// Creates an account with a verified address. `None` if the address is taken. `show` runs before the account exists for good, so
/// that none is made whose password could not be shown.
pub async fn create(
    app: &App,
    email: &str,
    role: Role,
    password: &str,
    greet: bool,
    show: &mut (dyn FnMut(&User) -> anyhow::Result<()> + Send),
) -> Result<Option<User>> {
    let email = mail_address(email)?;
    let hash = app.state::<State>().passwords.hash(rules::check(app, "password", password, &[&email]).await?).await?;
    let (now, account) = (app.clock.now(), NewAccount { email, full_name: None, role, logs_in: false });
    let user = crate::transaction!(app.db, |tx| {
        let Some(user) = users::create(&mut *tx, &account, now).await? else { return Ok(None) };
        store::set_password(&mut *tx, &user.id, &hash, Some(now), now).await?;
        if greet && is_email(&user.email) {
            users::welcome(app, tx, &user.id).await?;
        }
        show(&user)?;
        Ok(Some(user))
    });
    let user = user?;
    if let Some(user) = &user {
        AuthEvent::of_user("user_create", &user.id).by(&Actor::operator()).detail(role.name()).succeeded();
    }
    Ok(user)
}

/// Sets a user's password and ends all their sessions. Sends no mail: the operator passes the password on.
pub async fn set_password(app: &App, user: UserRead, password: &str) -> Result<()> {
    let hash = app.state::<State>().passwords.hash(rules::check(app, "password", password, &[&user.email]).await?).await?;
    let now = app.clock.now();
    crate::transaction!(app.db, |tx| {
        users::lock(app, tx, &user.id).await?.ok_or_else(|| user.id.not_found())?;
        store::set_password(&mut *tx, &user.id, &hash, Some(now), now).await?;
        end_access(app, tx, &user.id, "password_changed").await
    })?;
    AuthEvent::of_user("password_change", &user.id).by(&Actor::operator()).succeeded();
    Ok(())
}

pub fn random_password() -> Result<String> {
    Ok(tokens::random_password()?)
}

/// Returns an access token in a new session of the user; `None` if the user is deactivated.
pub async fn token(app: &App, user: &User) -> Result<Option<String>> {
    let now = app.clock.now();
    let device = Device { address: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: Some("omnistack token".to_owned()) };
    let row = crate::transaction!(app.db, |tx| {
        if users::lock(app, tx, &user.id).await?.is_none_or(|user| !user.is_active) {
            return Ok(None);
        }
        sessions::insert(app, tx, &user.id, &device, now).await.map(Some)
    });
    let Some(row) = row? else { return Ok(None) };
    AuthEvent::of_user("login", &user.id).by(&Actor::operator()).detail("token_command").succeeded();
    sessions::access_token(app, row.id, &user.id, &user.email, now).map(Some)
}
