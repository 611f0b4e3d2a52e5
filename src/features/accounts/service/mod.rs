//! Business rules of accounts: login, sessions, registration, recovery and operator commands.

mod events;
mod guesses;
pub(super) mod links;
mod login;
pub mod operator;
mod recovery;
mod registration;
mod sessions;
mod tickets;

use serde_json::{Map, Value, json};

use super::config::Settings;
use super::model::AuthConfig;
use super::store::{self, login_failures, registrations};
use crate::app::App;
use crate::app::feature::Removed;
use crate::features::users::service::accounts as users;
use crate::platform::auth::Provider;
use crate::platform::config::Choice;
use crate::platform::crypto;
use crate::platform::db::Tx;
use crate::platform::error::Result;
use crate::platform::id::UserId;

pub use login::login;
pub use recovery::{change_password, forgot_password, resend_verification, reset_password, verify_email};
pub use registration::{Registered, register};
pub use sessions::{check_session, end_session, list, log_out, log_out_everywhere, refresh};
pub use tickets::{issue_ticket, redeem_ticket};

pub fn config(app: &App) -> AuthConfig {
    let (local, settings) = (app.config.auth.provider == Provider::Local, app.settings::<Settings>());
    AuthConfig {
        provider: app.config.auth.provider.name(),
        registration_open: local && settings.registration_open,
        email_verification_required: local && settings.require_verified_email,
        password_min_length: settings.password_min,
    }
}

/// Returns the user's sessions for the data export, and the times of further registrations of the address; nothing for users of
/// another issuer. The names of those registrations are left out: another person may have typed them.
pub async fn export(app: &App, id: &UserId) -> Result<Map<String, Value>> {
    let now = app.clock.now();
    let mut document = Map::new();
    let waiting = registrations::waiting_since(&app.db, id, now).await?;
    if !waiting.is_empty() {
        document.insert("registrations".to_owned(), waiting.into_iter().map(|at| json!({"created_at": at})).collect());
    }
    let sessions = store::open_sessions(&app.db, id, now).await?;
    if sessions.is_empty() {
        return Ok(document);
    }
    let sessions: Vec<Value> = sessions
        .into_iter()
        .map(|session| {
            json!({"created_at": session.created_at, "last_used_at": session.last_used_at,
                "ip_address": session.ip_address, "user_agent": session.user_agent})
        })
        .collect();
    document.insert("sessions".to_owned(), Value::Array(sessions));
    Ok(document)
}

/// Ends every session, mailed token and further registration of a user; only the password remains.
pub async fn end_access(app: &App, tx: &mut Tx, id: &UserId, reason: &'static str) -> Result<()> {
    sessions::end_all(app, tx, id, None, reason).await?;
    registrations::end_all(&mut *tx, id).await?;
    Ok(store::end_all_tokens(tx, id, app.clock.now()).await?)
}

pub async fn erase(app: &App, tx: &mut Tx, id: &UserId) -> Result<u64> {
    sessions::end_all(app, tx, id, None, "erased").await?;
    let failures = match users::email(&mut *tx, id).await? {
        Some(email) => login_failures::forget(&mut *tx, &crypto::pseudonym(&app.keys, &email)).await?,
        None => 0,
    };
    Ok(failures + store::erase(tx, id).await?)
}

/// Removes a bounded number of rows that have expired.
pub async fn sweep(app: &App) -> Result<Removed> {
    Ok(Removed::records(store::sweep(&app.db, app.clock.now()).await?))
}
