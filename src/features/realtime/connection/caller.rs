//! Who connects: the credentials of the upgrade request, and the time for which they are valid.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::HeaderValue;

use crate::app::App;
use crate::features::accounts::service::redeem_ticket;
use crate::features::realtime::outbox::End;
use crate::features::users;
use crate::platform::actor::CurrentUser;
use crate::platform::auth::{Claims, Provider, Refusal};
use crate::platform::error::Error;
use crate::platform::http::RequestContext;

/// Credentials as a client offers them.
pub enum Offered {
    Token(String),
    Ticket(String),
    Header(Option<HeaderValue>),
}

/// A verified, active user.
pub struct Caller {
    pub user: CurrentUser,
    /// When the connection ends; `None` if with the user's session.
    pub expires: Option<DateTime<Utc>>,
}

/// Verifies the credentials of a new connection.
pub async fn authenticate(app: &App, context: &Arc<RequestContext>, offered: Offered) -> Result<Caller, End> {
    let by_ticket = matches!(offered, Offered::Ticket(_));
    let claims = match offered {
        Offered::Token(token) => by_token(app, &token).await?,
        Offered::Header(header) => {
            let presented = app.verifier.present_header(header.as_ref());
            app.verifier.identify(presented).await.map_err(|refusal| refused(app, &refusal))?
        }
        Offered::Ticket(ticket) => {
            let claims = redeem_ticket(app, &ticket).await.map_err(|error| ended_by(&error))?;
            claims.ok_or_else(|| refused(app, &Refusal::Invalid("unknown ticket")))?
        }
    };
    context.set_user_id(&claims.subject);
    let with_session = by_ticket && app.config.auth.provider == Provider::Local && claims.session.is_some();
    let expires = (!with_session).then(|| expiry(&claims));
    Ok(Caller { user: admit(app, claims, context).await?, expires })
}

/// Verifies a token.
pub async fn by_token(app: &App, token: &str) -> Result<Arc<Claims>, End> {
    app.verifier.verify(token).await.map_err(|refusal| refused(app, &refusal))
}

/// Checks that the user is active and their session open; the first request of a user creates them.
async fn admit(app: &App, claims: Arc<Claims>, context: &RequestContext) -> Result<CurrentUser, End> {
    let (user, _) = users::service::admit(app, claims, context).await.map_err(|error| ended_by(&error))?;
    Ok(user)
}

/// Checks the same of a user who is connected; one who was removed meanwhile is not made anew.
pub async fn readmit(app: &App, claims: Arc<Claims>, context: &RequestContext) -> Result<CurrentUser, End> {
    users::service::readmit(app, claims, context).await.map_err(|error| ended_by(&error))
}

fn refused(app: &App, refusal: &Refusal) -> End {
    app.metrics.auth_failures.with_label_values(&[refusal.reason()]).inc();
    match refusal {
        Refusal::NoKeys => End::Unavailable,
        Refusal::Missing | Refusal::Expired | Refusal::Invalid(_) | Refusal::NotConfigured => End::Unauthorized,
    }
}

/// What an error says of the user: they may not connect, or it cannot be told at the moment.
fn ended_by(error: &Error) -> End {
    match error {
        Error::Unauthenticated(_) | Error::Forbidden(_) | Error::Conflict { .. } => End::Unauthorized,
        _ => End::Unavailable,
    }
}

/// When a token ends.
pub fn expiry(claims: &Claims) -> DateTime<Utc> {
    DateTime::from_timestamp(claims.expires_at, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
