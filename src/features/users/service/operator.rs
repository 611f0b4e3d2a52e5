//! User operations of the command line, and lookup of users by id or address.

use super::welcome::{insert_and_welcome, welcome_of};
use super::{admin, get};
use crate::app::App;
use crate::features::users::model::{UpdateUser, User};
use crate::features::users::store::{self, NewUser};
use crate::platform::actor::Actor;
use crate::platform::auth::{Provider, Role};
use crate::platform::email_address::EmailAddress;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::platform::text::fold_email;

/// Gives a user a role. `None` if no user has that id or address.
pub async fn promote(app: &App, id_or_email: &str, role: Role) -> Result<Option<User>> {
    change(app, id_or_email, UpdateUser { role: Some(role), ..UpdateUser::default() }).await
}

/// Activates or deactivates a user. `None` if no user has that id or address.
pub async fn set_active(app: &App, id_or_email: &str, active: bool) -> Result<Option<User>> {
    change(app, id_or_email, UpdateUser { is_active: Some(active), ..UpdateUser::default() }).await
}

async fn change(app: &App, id_or_email: &str, change: UpdateUser) -> Result<Option<User>> {
    let Some(id) = find(app, id_or_email).await? else { return Ok(None) };
    admin::update(app, &Actor::operator(), &id, change).await.map(Some)
}

/// Returns whether no active user has an administrator's role. Roles that only a token gives are not known here.
pub async fn lacks_admin(app: &App) -> Result<bool> {
    Ok(!store::any_admin(&app.db, None).await?)
}

/// Returns the user with this address; creates the user if none exists.
pub async fn find_or_create(app: &App, email: &str, role: Role) -> Result<User> {
    let email = mail_address(email)?;
    let user = NewUser {
        id: UserId::new_v7(),
        email: email.clone(),
        full_name: None,
        avatar_url: None,
        role,
        last_login_at: None,
        login_count: 0,
    };
    // With the local provider, the welcome mail is sent after the address is verified.
    let welcome = (app.config.auth.provider != Provider::Local).then(|| welcome_of(&email, None));
    insert_and_welcome(app, &user, welcome, app.clock.now()).await?;
    let id = store::id_of_email(&app.db, &email).await?.ok_or_else(|| anyhow::anyhow!("the user was neither found nor made"))?;
    get(app, &id).await
}

/// Normalizes the address of a user to be created; an error unless mail can be sent to it.
pub fn mail_address(email: &str) -> Result<String> {
    let refused = || Error::invalid("email", "format", "Must be an e-mail address");
    EmailAddress::parse(email.trim()).map(|address| fold_email(address.as_str())).ok_or_else(refused)
}

/// Returns the id of the user with exactly this id, else of the user with this address.
///
/// 400 for a text that is one user's id and another one's address: some issuers let users choose their address, so it must not
/// decide whom a command means.
pub async fn find(app: &App, id_or_email: &str) -> Result<Option<UserId>> {
    let by_email = store::id_of_email(&app.db, &fold_email(id_or_email)).await?;
    let Some(id) = UserId::parse(id_or_email) else { return Ok(by_email) };
    let Some(user) = store::by_id(&app.db, &id).await? else { return Ok(by_email) };
    match by_email {
        Some(other) if other != id => Err(Error::BadRequest(format!(
            "{id_or_email} is the id of one user ({}) and the address of another one ({other}): use what stands in brackets",
            user.email
        ))),
        _ => Ok(Some(id)),
    }
}
