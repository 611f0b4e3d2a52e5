//! Registration: a user, a password, and a mail that asks for proof of the address.

use super::events::count_event;
use super::sessions;
use crate::app::App;
use crate::app::jobs::New;
use crate::features::accounts::config::Settings;
use crate::features::accounts::jobs::{AccountEmail, SendAccountEmail};
use crate::features::accounts::model::{AuthSession, Device, Register};
use crate::features::accounts::state::State;
use crate::features::accounts::{rules, store};
use crate::features::users::service::accounts::{self as users, NewAccount};
use crate::platform::auth::Role;
use crate::platform::error::{Error, Result};
use crate::platform::text::fold_email;

/// The outcome of a registration.
pub enum Registered {
    /// The account can be used immediately; contains its first session.
    In(Box<AuthSession>),
    /// The next step is sent by mail, whether or not the address already had an account.
    ByMail,
}

pub async fn register(app: &App, body: Register, device: Device) -> Result<Registered> {
    let settings = app.settings::<Settings>();
    if !settings.registration_open {
        return Err(Error::Forbidden("Registration is closed"));
    }
    let email = fold_email(&body.email);
    let password = rules::check("password", &body.password)?;
    rules::check_against("password", &password, &[&email, &app.config.core.project_name])?;
    // Hashed before the address is looked up, so that the response time does not reveal whether an account exists.
    let hash = app.state::<State>().passwords.hash(password).await?;
    let account = NewAccount {
        email: email.clone(),
        full_name: body.full_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        role: Role::User,
        logs_in: !settings.require_verified_email,
    };
    let now = app.clock.now();
    let made = crate::transaction!(app.db, |tx| {
        let Some(user) = users::create(&mut *tx, &account, now).await? else { return Ok(None) };
        store::set_password(&mut *tx, &user.id, &hash, None, now).await?;
        let mail = SendAccountEmail { mail: AccountEmail::VerifyEmail, email: email.clone() };
        let new = New { owner_id: Some(user.id.clone()), ..New::default() };
        app.jobs.enqueue(&mut *tx, &mail, new).await?;
        let row = if account.logs_in { Some(sessions::insert(app, tx, &user.id, &device, now).await?) } else { None };
        Ok(Some((user, row)))
    });
    match made? {
        Some((user, row)) => {
            tracing::info!(user_id = user.id.as_str(), "user registered");
            count_event(app, "signup");
            match row {
                Some(row) => Ok(Registered::In(Box::new(sessions::answer(app, &row, user.into(), now)?))),
                None => Ok(Registered::ByMail),
            }
        }
        None if settings.require_verified_email => {
            SendAccountEmail { mail: AccountEmail::EmailTaken, email }.enqueue(app).await?;
            Ok(Registered::ByMail)
        }
        None => Err(Error::Conflict { message: "This e-mail address is taken", resource: "User" }),
    }
}
