//! Registering: a user, a password, and one mail that asks whether the address is theirs.

use super::{count_event, rules, sessions, store, users};
use crate::app::App;
use crate::app::jobs::New;
use crate::features::accounts::jobs::{Letter, SendAccountEmail};
use crate::features::accounts::model::{Device, Register, Session};
use crate::features::users::service::accounts::Newcomer;
use crate::platform::auth::Role;
use crate::platform::db::retry_contended;
use crate::platform::error::{Error, Result};
use crate::platform::text::fold_email;

/// What comes of a registration.
pub enum Registered {
    /// The account can be used at once.
    In(Box<Session>),
    /// A mail says how it goes on, whoever has the address.
    ByMail,
}

pub async fn register(app: &App, body: Register, device: Device) -> Result<Registered> {
    let accounts = &app.config.accounts;
    if !accounts.registration_open {
        return Err(Error::Forbidden("Registration is closed"));
    }
    let email = fold_email(&body.email);
    let password = rules::check("password", &body.password)?;
    rules::check_against("password", &password, &[&email, &app.config.core.project_name])?;
    // Before it is known whether the address is free, so that the answer takes the same time.
    let hash = app.passwords.hash(password).await?;
    let newcomer = Newcomer {
        email: email.clone(),
        full_name: body.full_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        role: Role::User,
        logs_in: !accounts.require_verified_email,
    };
    let now = app.clock.now();
    let made = retry_contended(|| async {
        let mut tx = app.db.begin().await?;
        let Some(user) = users::create(&mut tx, newcomer.clone(), now).await? else { return Ok(None) };
        store::set_password(&mut tx, user.id.clone(), hash.clone(), None, now).await?;
        let letter = SendAccountEmail { letter: Letter::VerifyEmail, email: email.clone() };
        let new = New { owner_id: Some(user.id.as_str().to_owned()), ..New::default() };
        app.jobs.enqueue(&mut tx, &letter, new).await?;
        let row = if newcomer.logs_in { Some(sessions::insert(app, &mut tx, &user.id, device.clone(), now).await?) } else { None };
        tx.commit().await?;
        Ok(Some((user, row)))
    })
    .await?;
    match made {
        Some((user, row)) => {
            tracing::info!(user_id = user.id.as_str(), "user registered");
            count_event("signup");
            match row {
                Some(row) => Ok(Registered::In(Box::new(sessions::answer(app, &row, user.into(), now)?))),
                None => Ok(Registered::ByMail),
            }
        }
        None if accounts.require_verified_email => {
            let letter = SendAccountEmail { letter: Letter::EmailTaken, email };
            letter.enqueue(app).await?;
            Ok(Registered::ByMail)
        }
        None => Err(Error::Conflict { message: "This e-mail address is taken", resource: "User" }),
    }
}
