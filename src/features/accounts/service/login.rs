//! Login: password verification that takes the same time for every address.

use super::events::count_event;
use super::guesses::{Guess, Origin};
use super::sessions;
use crate::app::App;
use crate::features::accounts::config::Settings;
use crate::features::accounts::model::{AuthSession, Device, Login};
use crate::features::accounts::{rules, store};
use crate::features::users::service::accounts as users;
use crate::platform::auth::passwords::Verdict;
use crate::platform::error::{Error, Result};
use crate::platform::telemetry::auth_events::AuthEvent;
use crate::platform::text::fold_email;

/// The same message for every cause, because a difference would reveal which addresses have an account.
const WRONG: Error = Error::Unauthenticated("Invalid email or password");

/// Verifies the password and opens a session.
pub async fn login(app: &App, body: Login, device: Device) -> Result<AuthSession> {
    if rules::attempt(&body.password).is_none() {
        return Err(rules::too_long("password"));
    }
    let email = fold_email(&body.email);
    let user = users::by_email(app, &email).await?;
    let known = match &user {
        Some(user) => store::credentials(&app.db, &user.id).await?,
        None => None,
    };
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let guess = Guess::new(app, &email, device.address, Origin::Login(user.as_ref().map(|user| &user.id)));
    let Some(Verdict::Right { renewed }) = guess.verify(&body.password, hash.clone()).await? else { return Err(WRONG) };
    let (Some(user), Some(known), Some(hash)) = (user, known, hash) else { return Err(WRONG) };
    if !user.is_active {
        app.metrics.auth_failures.with_label_values(&["inactive_user"]).inc();
        AuthEvent::of_user("login", &user.id).detail("inactive_user").refused();
        return Err(Error::Forbidden("Account is deactivated"));
    }
    if app.settings::<Settings>().require_verified_email && known.email_verified_at.is_none() {
        AuthEvent::of_user("login", &user.id).detail("unverified_email").refused();
        return Err(Error::Forbidden("The e-mail address is not verified yet"));
    }
    let id = user.id.clone();
    let session = sessions::open(app, user, sessions::Proof { hash, renewed }, device).await?.ok_or(WRONG)?;
    count_event(app, "login");
    AuthEvent::of_user("login", &id).succeeded();
    Ok(session)
}
