//! What the command line and the first start do: accounts with passwords that nobody chose, and tokens to try things with.

use std::net::{IpAddr, Ipv4Addr};

use super::{end_access, rules, sessions, store, users};
use crate::app::App;
use crate::features::accounts::model::Device;
use crate::features::accounts::tokens;
use crate::features::users::model::{User, UserRead};
use crate::features::users::service::accounts::Newcomer;
use crate::platform::auth::Role;
use crate::platform::error::{Error, Result};
use crate::platform::text::{fold_email, is_email};

/// A user made by an operator, whose address needs no proof. `None` where the address is taken.
pub async fn create(app: &App, email: &str, role: Role, password: &str, greet: bool) -> Result<Option<User>> {
    let email = fold_email(email);
    let hash = app.passwords.hash(checked(app, &email, password)?).await?;
    let (now, newcomer) = (app.clock.now(), Newcomer { email, full_name: None, role, logs_in: false });
    let mut tx = app.db.begin().await?;
    let Some(user) = users::create(&mut tx, newcomer, now).await? else { return Ok(None) };
    store::set_password(&mut tx, user.id.clone(), hash, Some(now), now).await?;
    if greet && is_email(&user.email) {
        users::welcome(app, &mut tx, &user.id).await?;
    }
    tx.commit().await?;
    tracing::info!(action = "user.create", target_id = user.id.as_str(), "user created by an operator");
    Ok(Some(user))
}

/// Gives a user another password, and ends their sessions. Whoever does it tells them.
pub async fn set_password(app: &App, user: UserRead, password: &str) -> Result<()> {
    let hash = app.passwords.hash(checked(app, &user.email, password)?).await?;
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    users::lock(app, &mut tx, &user.id).await?.ok_or_else(|| Error::not_found("User", user.id.as_str()))?;
    store::set_password(&mut tx, user.id.clone(), hash, Some(now), now).await?;
    end_access(app, &mut tx, &user.id, "password_changed").await?;
    Ok(tx.commit().await?)
}

fn checked(app: &App, email: &str, password: &str) -> Result<String> {
    let normal = rules::check("password", password)?;
    rules::check_against("password", &normal, &[email, &app.config.core.project_name])?;
    Ok(normal)
}

pub fn random_password() -> Result<String> {
    Ok(tokens::random_password()?)
}

/// An access token in a new session of an active user; `None` where they are not.
pub async fn token(app: &App, user: &User) -> Result<Option<String>> {
    let now = app.clock.now();
    let device = Device { address: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: Some("omnistack token".to_owned()) };
    let mut tx = app.db.begin().await?;
    if users::lock(app, &mut tx, &user.id).await?.is_none_or(|user| !user.is_active) {
        return Ok(None);
    }
    let row = sessions::insert(app, &mut tx, &user.id, device, now).await?;
    tx.commit().await?;
    sessions::access_token(app, row.id, user.id.as_str(), &user.email, now).map(Some)
}
