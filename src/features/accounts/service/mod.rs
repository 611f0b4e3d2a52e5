//! Rules about accounts: getting in (here), staying in ([`sessions`]), registering, getting back in, and what the command
//! line does.

pub mod by_hand;
mod recovery;
mod registration;
mod sessions;
mod tickets;

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::model::{AuthConfig, Device, Login, Session};
use super::{rules, store};
use crate::app::App;
use crate::app::feature::Removed;
use crate::features::users::model::UserId;
use crate::features::users::service::accounts as users;
use crate::platform::auth::Provider;
use crate::platform::auth::passwords::Verdict;
use crate::platform::config::Choice;
use crate::platform::db::Tx;
use crate::platform::error::{Error, Result};
use crate::platform::rate_limit::{Caller, Decision};
use crate::platform::telemetry::metrics::METRICS;
use crate::platform::text::fold_email;

pub use recovery::{change_password, forgot_password, issue, link, resend_verification, reset_password, verify_email};
pub use registration::{Registered, register};
pub use sessions::{check_session, end_session, list, log_out, log_out_everywhere, refresh};
pub use tickets::{issue_ticket, redeem_ticket};

/// Every cause has the same words, or they would tell who has an account.
const WRONG: Error = Error::Unauthenticated("Invalid email or password");

pub fn config(app: &App) -> AuthConfig {
    let local = app.config.auth.provider == Provider::Local;
    AuthConfig {
        provider: app.config.auth.provider.name(),
        registration_open: local && app.config.accounts.registration_open,
        email_verification_required: local && app.config.accounts.require_verified_email,
        password_min_length: rules::MIN,
    }
}

/// Opens a session for whoever knows the password.
pub async fn login(app: &App, body: Login, device: Device) -> Result<Session> {
    let email = fold_email(&body.email);
    let user = users::by_email(app, &email).await?;
    let known = match &user {
        Some(user) => store::credentials(&app.db, user.id.clone()).await?,
        None => None,
    };
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let verdict = guess(app, &email, device.address, &body.password, hash.clone()).await?;
    let Some(Verdict::Right { renewed }) = verdict else { return Err(WRONG) };
    let (Some(user), Some(known), Some(hash)) = (user, known, hash) else { return Err(WRONG) };
    if !user.is_active {
        METRICS.auth_failures.with_label_values(&["inactive_user"]).inc();
        return Err(Error::Forbidden("Account is deactivated"));
    }
    if app.config.accounts.require_verified_email && known.email_verified_at.is_none() {
        return Err(Error::Forbidden("The e-mail address is not verified yet"));
    }
    let session = sessions::open(app, user, sessions::Proof { hash, renewed }, device).await?;
    count_event("login");
    Ok(session)
}

/// Compares a password as often as the limit of guesses allows; `None` where it is wrong.
///
/// Only failures are counted, so many log-ins at once with the right password are no attack; and the count is looked at
/// once more after the comparison, so that many wrong ones at once learn no more than one after another.
async fn guess(app: &App, email: &str, from: IpAddr, password: &str, hash: Option<String>) -> Result<Option<Verdict>> {
    let attempt = Caller::attempt(email, from);
    refuse(app.limiter.check_guesses(attempt.clone(), app.clock.now()).await)?;
    let verdict = match rules::attempt(password) {
        Some(password) => app.passwords.verify(password, hash).await?,
        // Too long to be anybody's: takes as long as any other.
        None => app.passwords.verify(String::new(), None).await?,
    };
    if let Verdict::Right { .. } = verdict {
        refuse(app.limiter.check_guesses(attempt, app.clock.now()).await)?;
        return Ok(Some(verdict));
    }
    METRICS.auth_failures.with_label_values(&["invalid_credentials"]).inc();
    count_event("failed");
    refuse(app.limiter.count_guess(attempt, app.clock.now()).await)?;
    Ok(None)
}

fn refuse(decision: Decision) -> Result<()> {
    if decision.allowed {
        return Ok(());
    }
    METRICS.auth_failures.with_label_values(&["rate_limited"]).inc();
    Err(Error::RateLimited { retry_after: decision.retry_after })
}

fn count_event(event: &str) {
    METRICS.auth_events.with_label_values(&[event, Provider::Local.name()]).inc();
}

/// Where the user is logged in, for their copy of their data; nothing for users of another issuer.
pub async fn export(app: &App, id: &str) -> Result<Map<String, Value>> {
    let Some(id) = UserId::parse(id) else { return Ok(Map::new()) };
    let sessions = store::open_sessions(&app.db, id, app.clock.now()).await?;
    if sessions.is_empty() {
        return Ok(Map::new());
    }
    let sessions: Vec<Value> = sessions
        .into_iter()
        .map(|session| {
            json!({"created_at": session.created_at, "last_used_at": session.last_used_at,
                "ip_address": session.ip_address, "user_agent": session.user_agent})
        })
        .collect();
    Ok([("sessions".to_owned(), Value::Array(sessions))].into_iter().collect())
}

/// Ends everything that a user could come back with but their password.
pub async fn end_access(app: &App, tx: &mut Tx, id: &UserId, reason: &'static str) -> Result<()> {
    sessions::end_all(app, tx, id, None, reason).await?;
    Ok(store::end_all_tokens(tx, id.clone(), app.clock.now()).await?)
}

pub async fn deactivate(app: &App, tx: &mut Tx, id: &str) -> Result<()> {
    match UserId::parse(id) {
        Some(id) => end_access(app, tx, &id, "deactivated").await,
        None => Ok(()),
    }
}

pub async fn erase(app: &App, tx: &mut Tx, id: &str) -> Result<u64> {
    if let Some(id) = UserId::parse(id) {
        sessions::end_all(app, tx, &id, None, "erased").await?;
    }
    Ok(store::erase(tx, id).await?)
}

/// Removes a bounded number of sessions and tokens that have expired.
pub async fn sweep(app: &App) -> Result<Removed> {
    Ok(Removed { records: store::sweep(&app.db, app.clock.now()).await?, bytes: 0 })
}
