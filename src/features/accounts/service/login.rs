//! Login: password verification that takes the same time for every address, with a limit on wrong guesses.

use std::net::IpAddr;

use super::events::count_event;
use super::sessions;
use crate::app::App;
use crate::features::accounts::config::Settings;
use crate::features::accounts::model::{AuthSession, Device, Login};
use crate::features::accounts::state::State;
use crate::features::accounts::{rules, store};
use crate::features::users::service::accounts as users;
use crate::platform::auth::passwords::Verdict;
use crate::platform::crypto;
use crate::platform::error::{Error, Result};
use crate::platform::rate_limit::{Caller, Decision, KeyedBy, Limit, Rate, Window, network};
use crate::platform::text::fold_email;

/// The same message for every cause, because a difference would reveal which addresses have an account.
const WRONG: Error = Error::Unauthenticated("Invalid email or password");

/// Limit of wrong passwords per account and client address.
const GUESSES: Limit = Limit { name: "guess", rate: Rate { limit: 10, window: Window::QUARTER_HOUR }, keyed_by: KeyedBy::Address };

/// Returns the rate-limit key of guesses for an e-mail address (folded) from a client's network.
fn attempt(email: &str, client: IpAddr) -> Caller {
    Caller::Hashed(crypto::hash(&[fold_email(email).as_bytes(), network(client).to_string().as_bytes()]))
}

/// Resets the guess counter for a client that has proved ownership of the account by other means.
pub(super) async fn forget_guesses(app: &App, email: &str, client: IpAddr) {
    app.limiter.forget(&GUESSES, &attempt(email, client)).await;
}

/// Verifies the password and opens a session.
pub async fn login(app: &App, body: Login, device: Device) -> Result<AuthSession> {
    let email = fold_email(&body.email);
    let user = users::by_email(app, &email).await?;
    let known = match &user {
        Some(user) => store::credentials(&app.db, &user.id).await?,
        None => None,
    };
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let verdict = guess(app, &email, device.address, &body.password, hash.clone()).await?;
    let Some(Verdict::Right { renewed }) = verdict else { return Err(WRONG) };
    let (Some(user), Some(known), Some(hash)) = (user, known, hash) else { return Err(WRONG) };
    if !user.is_active {
        app.metrics.auth_failures.with_label_values(&["inactive_user"]).inc();
        return Err(Error::Forbidden("Account is deactivated"));
    }
    if app.settings::<Settings>().require_verified_email && known.email_verified_at.is_none() {
        return Err(Error::Forbidden("The e-mail address is not verified yet"));
    }
    let session = sessions::open(app, user, sessions::Proof { hash, renewed }, device).await?.ok_or(WRONG)?;
    count_event(app, "login");
    Ok(session)
}

/// Verifies a password within the limit of guesses; `None` if it is wrong.
///
/// Only failures are counted, so concurrent log-ins with the right password are not rejected. The count is checked again after
/// the verification, so that concurrent guesses gain nothing over sequential ones.
pub(super) async fn guess(app: &App, email: &str, from: IpAddr, password: &str, hash: Option<String>) -> Result<Option<Verdict>> {
    let (attempt, passwords) = (attempt(email, from), &app.state::<State>().passwords);
    refuse(app, app.limiter.peek(&GUESSES, &attempt, app.clock.now()).await)?;
    let verdict = match rules::attempt(password) {
        Some(password) => passwords.verify(password, hash).await?,
        // No account has a password this long. Verified anyway, so that the response takes the same time.
        None => passwords.verify(String::new(), None).await?,
    };
    if let Verdict::Right { .. } = verdict {
        refuse(app, app.limiter.peek(&GUESSES, &attempt, app.clock.now()).await)?;
        return Ok(Some(verdict));
    }
    app.metrics.auth_failures.with_label_values(&["invalid_credentials"]).inc();
    count_event(app, "failed");
    refuse(app, app.limiter.hit(&GUESSES, &attempt, app.clock.now()).await)?;
    Ok(None)
}

fn refuse(app: &App, decision: Decision) -> Result<()> {
    if decision.allowed {
        return Ok(());
    }
    app.metrics.auth_failures.with_label_values(&["rate_limited"]).inc();
    Err(Error::RateLimited { retry_after: decision.retry_after })
}
