//! Stream tickets: a browser's `EventSource` cannot send an `Authorization` header, and repeats its URL at each reconnect. A ticket
//! can therefore be used again and again, and is good for nothing but event streams.
//!
//! It is the sealed claims of the access token that it was made from: nothing is stored, any instance can open it, and an URL in
//! a proxy's log tells nothing of the user.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::App;
use crate::features::events::model::EventStreamTicket;
use crate::platform::actor::CurrentUser;
use crate::platform::auth::{Claims, Provider, Refusal};
use crate::platform::config::Choice;
use crate::platform::crypto::KeyRing;
use crate::platform::error::Result;

const PURPOSE: &str = "event-stream-ticket";
/// Life of a ticket in seconds.
const LIFE: i64 = 24 * 3600;
/// Longer than a ticket can be.
const MAX_LENGTH: usize = 4096;

/// Creates a ticket for the caller. With own accounts it lives as long as the session, otherwise as long as the token: no more
/// than a day.
pub fn issue(app: &App, user: &CurrentUser) -> Result<EventStreamTicket> {
    let now = app.clock.now().timestamp();
    let expires_at = match app.config.auth.provider {
        Provider::Local => now + LIFE,
        _ => user.claims.expires_at.min(now + LIFE),
    };
    let claims = Claims { full_name: None, avatar_url: None, expires_at, ..(*user.claims).clone() };
    let claims = serde_json::to_vec(&claims).map_err(anyhow::Error::new)?;
    let ticket = URL_SAFE_NO_PAD.encode(ring(app).seal(context(app), &claims)?);
    Ok(EventStreamTicket { ticket, expires_in: (expires_at - now).max(0) })
}

/// Returns the claims of a ticket. The caller must still check that the user is active and the session open, as for a token.
pub fn open(app: &App, ticket: &str) -> Result<Arc<Claims>, Refusal> {
    const INVALID: Refusal = Refusal::Invalid("not a stream ticket");
    if ticket.len() > MAX_LENGTH {
        return Err(INVALID);
    }
    let sealed = URL_SAFE_NO_PAD.decode(ticket).map_err(|_| INVALID)?;
    let claims = ring(app).open(context(app), &sealed).ok_or(INVALID)?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| INVALID)?;
    if claims.expires_at > app.clock.now().timestamp() { Ok(Arc::new(claims)) } else { Err(Refusal::Expired) }
}

fn ring(app: &App) -> KeyRing {
    app.keys.ring(PURPOSE)
}

/// A ticket of another provider's user is none of this one's: it names no session that could be checked.
fn context(app: &App) -> &'static [u8] {
    app.config.auth.provider.name().as_bytes()
}
