//! Address verification, password reset and password change.

use chrono::{DateTime, Utc};

use super::guesses::{self, Guess, Origin};
use super::{end_access, sessions};
use crate::app::App;
use crate::app::jobs::New;
use crate::features::accounts::jobs::{AccountEmail, SendAccountEmail};
use crate::features::accounts::model::{ChangePassword, Device, ResetPassword, SessionId};
use crate::features::accounts::rules;
use crate::features::accounts::state::State;
use crate::features::accounts::store::{self, registrations};
use crate::features::accounts::tokens::{self, Purpose};
use crate::features::users::model::UserRead;
use crate::features::users::service::accounts as users;
use crate::platform::actor::CurrentUser;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::platform::telemetry::auth_events::AuthEvent;
use crate::platform::text::fold_email;

fn bad_token() -> Error {
    Error::BadRequest("The link is invalid, was used already, or has expired".to_owned())
}

/// Verifies an address with the single-use token of a mail. The registration that the mail was sent for gives the account its
/// password and name; every other one ends.
pub async fn verify_email(app: &App, token: &str) -> Result<()> {
    let (now, hash) = (app.clock.now(), tokens::at_rest(token));
    let own = store::token_owner(&app.db, &hash, Purpose::VerifyEmail, now).await?;
    let is_own = own.is_some();
    let owner = match own {
        Some(owner) => Some(owner),
        None => registrations::token_owner(&app.db, &hash, now).await?,
    };
    let owner = owner.ok_or_else(bad_token)?;
    crate::transaction!(app.db, |tx| {
        // Of two links that are used at once, the first one decides.
        if users::lock(app, tx, &owner).await?.is_none_or(|user| !user.is_active) {
            return Err(bad_token());
        }
        if is_own {
            if !store::use_token(&mut *tx, &hash, Purpose::VerifyEmail, now).await? {
                return Err(bad_token());
            }
        } else {
            let confirmed = registrations::take(&mut *tx, &hash, now).await?.ok_or_else(bad_token)?;
            store::set_password(&mut *tx, &owner, &confirmed.password_hash, None, now).await?;
            users::rename(&mut *tx, &owner, confirmed.full_name, now).await?;
            // Sessions of the first registration, where it was made before verification was required.
            end_access(app, tx, &owner, "registered_again").await?;
        }
        verified(app, tx, &owner, now).await
    })?;
    AuthEvent::of_user("verify_email", &owner).detail(if is_own { "own_link" } else { "registered_again" }).succeeded();
    Ok(())
}

/// Marks the address as verified, ends its further registrations, and enqueues the welcome mail if it was not verified before.
async fn verified(app: &App, tx: &mut Tx, user: &UserId, now: DateTime<Utc>) -> Result<()> {
    registrations::end_all(&mut *tx, user).await?;
    if store::verify_email(&mut *tx, user, now).await? {
        users::welcome(app, tx, user).await?;
    }
    Ok(())
}

/// Enqueues a verification mail. If the address was registered more than once, the mail has a reset link instead: it must not
/// lead the owner to another person's password.
pub async fn resend_verification(app: &App, email: &str) -> Result<()> {
    let mail = SendAccountEmail { resend: true, ..SendAccountEmail::new(AccountEmail::VerifyEmail, &fold_email(email)) };
    mail.enqueue(app, &app.db).await
}

/// Enqueues the reset mail without looking the account up, so that the response does not reveal whether an account exists.
pub async fn forgot_password(app: &App, email: &str) -> Result<()> {
    let email = fold_email(email);
    SendAccountEmail::new(AccountEmail::ResetPassword, &email).enqueue(app, &app.db).await?;
    AuthEvent::of_address("password_reset_request", &app.keys, &email).succeeded();
    Ok(())
}

/// Sets a new password with the token of a mail. A rejected password does not consume the token.
pub async fn reset_password(app: &App, body: &ResetPassword, device: &Device) -> Result<()> {
    let hash = tokens::at_rest(&body.token);
    let owner = store::token_owner(&app.db, &hash, Purpose::ResetPassword, app.clock.now()).await?.ok_or_else(bad_token)?;
    let user = users::active(app, &owner).await?.ok_or_else(bad_token)?;
    let name = user.full_name.as_deref().unwrap_or_default();
    let password = rules::check(app, "password", &body.password, &[&user.email, name]).await?;
    let new = app.state::<State>().passwords.hash(password).await?;
    let now = app.clock.now();
    crate::transaction!(app.db, |tx| {
        if users::lock(app, tx, &user.id).await?.is_none_or(|user| !user.is_active) {
            return Err(bad_token());
        }
        if !store::use_token(&mut *tx, &hash, Purpose::ResetPassword, now).await? {
            return Err(bad_token());
        }
        store::set_password(&mut *tx, &user.id, &new, None, now).await?;
        // Receiving the mail proves ownership of the address.
        verified(app, tx, &user.id, now).await?;
        changed(app, tx, &user, None).await
    })?;
    guesses::forget(app, &user.email, device.address).await?;
    AuthEvent::of_user("password_reset", &user.id).succeeded();
    Ok(())
}

/// Changes the password after verifying the current one, and ends every session except the caller's.
pub async fn change_password(app: &App, user: &CurrentUser, body: &ChangePassword, device: &Device) -> Result<()> {
    let gone = || Error::Unauthenticated("Invalid token");
    let me = users::active(app, &user.id).await?.ok_or_else(gone)?;
    let name = me.full_name.as_deref().unwrap_or_default();
    let password = rules::check(app, "new_password", &body.new_password, &[&me.email, name]).await?;
    let wrong = || Error::BadRequest("The current password is wrong".to_owned());
    let known = store::credentials(&app.db, &user.id).await?.map(|known| known.password_hash);
    let origin = Origin::Session(user.session.as_deref().unwrap_or_default());
    if Guess::new(app, &me.email, device.address, origin).verify(&body.current_password, known.clone()).await?.is_none() {
        return Err(wrong());
    }
    let new = app.state::<State>().passwords.hash(password).await?;
    let now = app.clock.now();
    crate::transaction!(app.db, |tx| {
        users::lock(app, tx, &user.id).await?.ok_or_else(gone)?;
        let present = store::credentials(&mut *tx, &user.id).await?.map(|present| present.password_hash);
        if present != known {
            return Err(wrong());
        }
        store::set_password(&mut *tx, &user.id, &new, None, now).await?;
        changed(app, tx, &me, sessions::current(user)).await
    })?;
    AuthEvent::of_user("password_change", &user.id).succeeded();
    Ok(())
}

/// Runs after every password change: ends all other sessions, revokes reset links and notifies the owner by mail.
async fn changed(app: &App, tx: &mut Tx, user: &UserRead, but: Option<SessionId>) -> Result<()> {
    sessions::end_all(app, tx, &user.id, but, "password_changed").await?;
    store::end_tokens(&mut *tx, &user.id, Purpose::ResetPassword, "", app.clock.now()).await?;
    let mail = SendAccountEmail::new(AccountEmail::PasswordChanged, &user.email);
    let new = New { owner_id: Some(user.id.clone()), ..New::default() };
    app.jobs.enqueue(tx, &mail, new).await?;
    Ok(())
}
