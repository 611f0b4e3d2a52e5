//! What goes by mail and by a change of password: verifying an address, getting back in, and keeping others out.

use chrono::{DateTime, Utc};

use super::{guess, rules, sessions, store, users};
use crate::app::App;
use crate::app::jobs::New;
use crate::features::accounts::jobs::{Letter, SendAccountEmail};
use crate::features::accounts::model::{ChangePassword, Device, ResetPassword, SessionId};
use crate::features::accounts::tokens::{self, Purpose};
use crate::features::users::extract::CurrentUser;
use crate::features::users::model::{User, UserId, UserRead};
use crate::platform::db::{Tx, retry_contended};
use crate::platform::error::{Error, Result};
use crate::platform::rate_limit::Caller;
use crate::platform::text::fold_email;

fn bad_token() -> Error {
    Error::BadRequest("The link is invalid, was used already, or has expired".to_owned())
}

/// Where a link in a mail leads.
pub fn link(app: &App, path: &str) -> String {
    let base = match app.config.link_base() {
        Some(base) => base.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://localhost:{}", app.config.core.port),
    };
    format!("{base}{path}")
}

/// Keeps the token of a mail that is about to be sent, and ends those before it. Not again where it was used, or ended by
/// a later one, in the meantime: then there is nothing left to send.
pub async fn issue(app: &App, user: &User, purpose: Purpose, token: &str) -> Result<bool> {
    let (now, hash) = (app.clock.now(), tokens::at_rest(token));
    retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        if users::lock(app, &mut tx, &user.id).await?.is_none_or(|user| !user.is_active) {
            return Ok(false);
        }
        if !store::insert_token(&mut tx, hash.clone(), user.id.clone(), purpose, now + purpose.life()).await? {
            return Ok(store::token_owner(&mut tx, &hash, purpose, now).await?.is_some());
        }
        store::end_tokens(&mut tx, user.id.clone(), purpose, &hash, now).await?;
        tx.commit().await?;
        Ok(true)
    })
    .await
}

/// Uses up the token of a verification mail.
pub async fn verify_email(app: &App, token: &str) -> Result<()> {
    let (now, hash) = (app.clock.now(), tokens::at_rest(token));
    let user = store::token_owner(&app.db, &hash, Purpose::VerifyEmail, now).await?.ok_or_else(bad_token)?;
    retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        if !store::use_token(&mut tx, &hash, Purpose::VerifyEmail, now).await? {
            return Err(bad_token());
        }
        verified(app, &mut tx, &user, now).await?;
        Ok(tx.commit().await?)
    })
    .await?;
    tracing::info!(user_id = user.as_str(), "e-mail address verified");
    Ok(())
}

/// Marks the address as verified, and greets its owner if it is for the first time.
async fn verified(app: &App, tx: &mut Tx, user: &UserId, now: DateTime<Utc>) -> Result<()> {
    if store::verify_email(&mut *tx, user.clone(), now).await? {
        users::welcome(app, tx, user).await?;
    }
    Ok(())
}

pub async fn resend_verification(app: &App, email: &str) -> Result<()> {
    SendAccountEmail { letter: Letter::VerifyEmail, email: fold_email(email) }.enqueue(app).await
}

/// Does the same for an address that nobody has as for any other: who has it is looked up later, by the job.
pub async fn forgot_password(app: &App, email: &str) -> Result<()> {
    SendAccountEmail { letter: Letter::ResetPassword, email: fold_email(email) }.enqueue(app).await
}

/// Sets a new password by the token of a mail. A password that is refused does not use the token up.
pub async fn reset_password(app: &App, body: &ResetPassword, device: &Device) -> Result<()> {
    let password = rules::check("password", &body.password)?;
    let hash = tokens::at_rest(&body.token);
    let owner = store::token_owner(&app.db, &hash, Purpose::ResetPassword, app.clock.now()).await?.ok_or_else(bad_token)?;
    let user = users::active(app, owner).await?.ok_or_else(bad_token)?;
    rules::check_against("password", &password, &[&user.email, &app.config.core.project_name])?;
    let new = app.passwords.hash(password).await?;
    let now = app.clock.now();
    retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        if users::lock(app, &mut tx, &user.id).await?.is_none_or(|user| !user.is_active) {
            return Err(bad_token());
        }
        if !store::use_token(&mut tx, &hash, Purpose::ResetPassword, now).await? {
            return Err(bad_token());
        }
        store::set_password(&mut tx, user.id.clone(), new.clone(), None, now).await?;
        // Who reads the address's mail has the address.
        verified(app, &mut tx, &user.id, now).await?;
        changed(app, &mut tx, &user, None).await?;
        Ok(tx.commit().await?)
    })
    .await?;
    app.limiter.forget_guesses(Caller::attempt(&user.email, device.address)).await;
    tracing::info!(user_id = user.id.as_str(), "password reset");
    Ok(())
}

/// Sets a new password by the present one, and ends every session but the one that asks.
pub async fn change_password(app: &App, user: &CurrentUser, body: &ChangePassword, device: &Device) -> Result<()> {
    let password = rules::check("new_password", &body.new_password)?;
    let gone = || Error::Unauthenticated("Invalid token");
    let me = users::active(app, user.id.clone()).await?.ok_or_else(gone)?;
    rules::check_against("new_password", &password, &[&me.email, &app.config.core.project_name])?;
    let wrong = || Error::BadRequest("The current password is wrong".to_owned());
    let known = store::credentials(&app.db, user.id.clone()).await?.map(|known| known.password_hash);
    if guess(app, &me.email, device.address, &body.current_password, known.clone()).await?.is_none() {
        return Err(wrong());
    }
    let new = app.passwords.hash(password).await?;
    let now = app.clock.now();
    retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        users::lock(app, &mut tx, &user.id).await?.ok_or_else(gone)?;
        let present = store::credentials(&mut tx, user.id.clone()).await?.map(|present| present.password_hash);
        if present != known {
            return Err(wrong());
        }
        store::set_password(&mut tx, user.id.clone(), new.clone(), None, now).await?;
        changed(app, &mut tx, &me, sessions::current(user)).await?;
        Ok(tx.commit().await?)
    })
    .await?;
    tracing::info!(user_id = user.id.as_str(), "password changed");
    Ok(())
}

/// What every new password brings: all other sessions and links end, and its owner hears of it.
async fn changed(app: &App, tx: &mut Tx, user: &UserRead, but: Option<SessionId>) -> Result<()> {
    sessions::end_all(app, tx, &user.id, but, "password_changed").await?;
    store::end_tokens(&mut *tx, user.id.clone(), Purpose::ResetPassword, "", app.clock.now()).await?;
    let letter = SendAccountEmail { letter: Letter::PasswordChanged, email: user.email.clone() };
    let new = New { owner_id: Some(user.id.as_str().to_owned()), ..New::default() };
    app.jobs.enqueue(tx, &letter, new).await?;
    Ok(())
}
