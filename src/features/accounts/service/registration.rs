//! Registration: a user, a password, and a mail that asks for proof of the address.

use chrono::{DateTime, TimeDelta, Utc};

use super::events::count_event;
use super::sessions;
use crate::app::App;
use crate::app::jobs::New;
use crate::features::accounts::config::Settings;
use crate::features::accounts::jobs::{AccountEmail, SendAccountEmail};
use crate::features::accounts::model::{AuthSession, Device, NewRegistration, Register, RegistrationId};
use crate::features::accounts::rules;
use crate::features::accounts::state::State;
use crate::features::accounts::store::{self, SessionRow, registrations};
use crate::features::accounts::tokens::Purpose;
use crate::features::users::model::User;
use crate::features::users::service::accounts::{self as users, NewAccount};
use crate::platform::auth::Role;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::telemetry::auth_events::AuthEvent;
use crate::platform::text::fold_email;

/// Registrations of one unverified address that are kept within [`BURST_WINDOW`], the first one included: a further one is answered
/// as ever, and forgotten. As many as there are mails for them.
const BURST: i64 = 3;
const BURST_WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Further registrations of one address that are kept, the newest ones.
const KEPT: i64 = 10;

/// The outcome of a registration.
pub enum Registered {
    /// The account can be used immediately; contains its first session.
    In(Box<AuthSession>),
    /// The next step is sent by mail, whether or not the address already had an account.
    ByMail,
}

/// What the transaction of a registration has made.
enum Made {
    User(User, Option<SessionRow>),
    /// The address belongs to a user who has not verified it.
    Again(User),
    Nothing,
}

pub async fn register(app: &App, body: Register, device: Device) -> Result<Registered> {
    let settings = app.settings::<Settings>();
    if !settings.registration_open {
        return Err(Error::Forbidden("Registration is closed"));
    }
    let email = fold_email(&body.email);
    let full_name = body.full_name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let password = rules::check(app, "password", &body.password, &[&email, full_name.as_deref().unwrap_or_default()]).await?;
    // Hashed before the address is looked up, so that the response time does not reveal whether an account exists.
    let hash = app.state::<State>().passwords.hash(password).await?;
    let account = NewAccount { email, full_name, role: Role::User, logs_in: !settings.require_verified_email };
    let now = app.clock.now();
    // One transaction with one mail job, whatever the address: the response takes the same time.
    let made = crate::transaction!(app.db, |tx| {
        if let Some(user) = users::create(&mut *tx, &account, now).await? {
            return register_user(app, tx, user, &account, &hash, &device, now).await;
        }
        if settings.require_verified_email { register_again(app, tx, &account, &hash, now).await } else { Ok(Made::Nothing) }
    });
    match made? {
        Made::User(user, row) => {
            count_event(app, "signup");
            AuthEvent::of_user("register", &user.id).succeeded();
            match row {
                Some(row) => Ok(Registered::In(Box::new(sessions::answer(app, &row, user.into(), now)?))),
                None => Ok(Registered::ByMail),
            }
        }
        Made::Again(user) => {
            AuthEvent::of_user("register", &user.id).detail("registered_again").succeeded();
            Ok(Registered::ByMail)
        }
        Made::Nothing => {
            AuthEvent::of_address("register", &app.keys, &account.email).detail("address_taken").refused();
            if settings.require_verified_email {
                return Ok(Registered::ByMail);
            }
            Err(Error::Conflict { message: "This e-mail address is taken", resource: "User" })
        }
    }
}

async fn register_user(
    app: &App,
    tx: &mut Tx,
    user: User,
    account: &NewAccount,
    hash: &str,
    device: &Device,
    now: DateTime<Utc>,
) -> Result<Made> {
    store::set_password(&mut *tx, &user.id, hash, None, now).await?;
    let new = New { owner_id: Some(user.id.clone()), ..New::default() };
    app.jobs.enqueue(&mut *tx, &SendAccountEmail::new(AccountEmail::VerifyEmail, &account.email), new).await?;
    let row = if account.logs_in { Some(sessions::insert(app, tx, &user.id, device, now).await?) } else { None };
    Ok(Made::User(user, row))
}

/// Registers an address that has a user. If the user has not verified it, the password and name are kept beside the user's own
/// until one of the mailed links is used: an attacker who registers the address of another person cannot make the owner
/// confirm the attacker's password, in whatever order the two register.
async fn register_again(app: &App, tx: &mut Tx, account: &NewAccount, hash: &str, now: DateTime<Utc>) -> Result<Made> {
    let user = users::lock_by_email(app, tx, &account.email).await?;
    let unverified = match &user {
        Some(user) if user.is_active => {
            store::credentials(&mut *tx, &user.id).await?.is_some_and(|known| known.email_verified_at.is_none())
        }
        _ => false,
    };
    let Some(user) = user.filter(|_| unverified) else {
        SendAccountEmail::new(AccountEmail::EmailTaken, &account.email).enqueue(app, tx).await?;
        return Ok(Made::Nothing);
    };
    let new = NewRegistration {
        id: RegistrationId::new(),
        user_id: user.id.clone(),
        password_hash: hash.to_owned(),
        full_name: account.full_name.clone(),
        created_at: now,
        expires_at: now + Purpose::VerifyEmail.life(),
    };
    registrations::mark(&mut *tx, &user.id, now).await?;
    let since = now - BURST_WINDOW;
    let recent = registrations::count_since(&mut *tx, &user.id, since).await? + i64::from(user.created_at > since);
    if recent < BURST {
        registrations::insert(&mut *tx, &new).await?;
        registrations::keep_newest(&mut *tx, &user.id, KEPT).await?;
    }
    // The job sends nothing if the registration was not kept.
    let mail = SendAccountEmail { registration: Some(new.id), ..SendAccountEmail::new(AccountEmail::VerifyEmail, &account.email) };
    app.jobs.enqueue(tx, &mail, New { owner_id: Some(user.id.clone()), ..New::default() }).await?;
    Ok(Made::Again(user))
}
