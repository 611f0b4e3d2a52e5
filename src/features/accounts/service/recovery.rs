//! Address verification, password reset and password change.

use chrono::{DateTime, Utc};

use super::login::{forget_guesses, guess};
use super::sessions;
use crate::app::App;
use crate::app::jobs::New;
use crate::features::accounts::jobs::{AccountEmail, SendAccountEmail};
use crate::features::accounts::model::{ChangePassword, Device, ResetPassword, SessionId};
use crate::features::accounts::state::State;
use crate::features::accounts::tokens::{self, Purpose};
use crate::features::accounts::{rules, store};
use crate::features::users::model::UserRead;
use crate::features::users::service::accounts as users;
use crate::platform::actor::CurrentUser;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::id::UserId;
use crate::platform::text::fold_email;

fn bad_token() -> Error {
    Error::BadRequest("The link is invalid, was used already, or has expired".to_owned())
}

/// Verifies an address with the single-use token of a mail.
pub async fn verify_email(app: &App, token: &str) -> Result<()> {
    let (now, hash) = (app.clock.now(), tokens::at_rest(token));
    let user = store::token_owner(&app.db, &hash, Purpose::VerifyEmail, now).await?.ok_or_else(bad_token)?;
    crate::transaction!(app.db, |tx| {
        if !store::use_token(&mut *tx, &hash, Purpose::VerifyEmail, now).await? {
            return Err(bad_token());
        }
        verified(app, tx, &user, now).await
    })?;
    tracing::info!(user_id = user.as_str(), "e-mail address verified");
    Ok(())
}

/// Marks the address as verified and enqueues the welcome mail if it was not verified before.
async fn verified(app: &App, tx: &mut Tx, user: &UserId, now: DateTime<Utc>) -> Result<()> {
    if store::verify_email(&mut *tx, user, now).await? {
        users::welcome(app, tx, user).await?;
    }
    Ok(())
}

pub async fn resend_verification(app: &App, email: &str) -> Result<()> {
    SendAccountEmail { mail: AccountEmail::VerifyEmail, email: fold_email(email) }.enqueue(app).await
}

/// Enqueues the reset mail without looking the account up, so that the response does not reveal whether an account exists.
pub async fn forgot_password(app: &App, email: &str) -> Result<()> {
    SendAccountEmail { mail: AccountEmail::ResetPassword, email: fold_email(email) }.enqueue(app).await
}

/// Sets a new password with the token of a mail. A rejected password does not consume the token.
pub async fn reset_password(app: &App, body: &ResetPassword, device: &Device) -> Result<()> {
    let password = rules::check("password", &body.password)?;
    let hash = tokens::at_rest(&body.token);
    let owner = store::token_owner(&app.db, &hash, Purpose::ResetPassword, app.clock.now()).await?.ok_or_else(bad_token)?;
    let user = users::active(app, &owner).await?.ok_or_else(bad_token)?;
    rules::check_against("password", &password, &[&user.email, &app.config.core.project_name])?;
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
    forget_guesses(app, &user.email, device.address).await;
    tracing::info!(user_id = user.id.as_str(), "password reset");
    Ok(())
}

/// Changes the password after verifying the current one, and ends every session except the caller's.
pub async fn change_password(app: &App, user: &CurrentUser, body: &ChangePassword, device: &Device) -> Result<()> {
    let password = rules::check("new_password", &body.new_password)?;
    let gone = || Error::Unauthenticated("Invalid token");
    let me = users::active(app, &user.id).await?.ok_or_else(gone)?;
    rules::check_against("new_password", &password, &[&me.email, &app.config.core.project_name])?;
    let wrong = || Error::BadRequest("The current password is wrong".to_owned());
    let known = store::credentials(&app.db, &user.id).await?.map(|known| known.password_hash);
    if guess(app, &me.email, device.address, &body.current_password, known.clone()).await?.is_none() {
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
    tracing::info!(user_id = user.id.as_str(), "password changed");
    Ok(())
}

/// Runs after every password change: ends all other sessions, revokes reset links and notifies the owner by mail.
async fn changed(app: &App, tx: &mut Tx, user: &UserRead, but: Option<SessionId>) -> Result<()> {
    sessions::end_all(app, tx, &user.id, but, "password_changed").await?;
    store::end_tokens(&mut *tx, &user.id, Purpose::ResetPassword, "", app.clock.now()).await?;
    let mail = SendAccountEmail { mail: AccountEmail::PasswordChanged, email: user.email.clone() };
    let new = New { owner_id: Some(user.id.clone()), ..New::default() };
    app.jobs.enqueue(tx, &mail, new).await?;
    Ok(())
}
