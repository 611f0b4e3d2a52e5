//! WebSocket tickets: browsers cannot send an `Authorization` header with a WebSocket handshake, and tokens in URLs end up in
//! logs. A ticket opens one connection, expires within seconds and works on any instance.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use crate::app::App;
use crate::features::accounts::model::WsTicket;
use crate::features::accounts::store;
use crate::features::accounts::tokens::at_rest;
use crate::platform::actor::CurrentUser;
use crate::platform::auth::Claims;
use crate::platform::crypto;
use crate::platform::error::Result;

const LIFE: TimeDelta = TimeDelta::seconds(30);

/// Creates a ticket for the caller.
pub async fn issue_ticket(app: &App, user: &CurrentUser) -> Result<WsTicket> {
    let ticket = URL_SAFE_NO_PAD.encode(crypto::random::<32>()?);
    let claims = serde_json::to_string(&*user.claims).map_err(anyhow::Error::new)?;
    store::insert_ticket(&app.db, &at_rest(&ticket), &user.id, &claims, app.clock.now() + LIFE).await?;
    Ok(WsTicket { ticket, expires_in: LIFE.num_seconds() })
}

/// Consumes a ticket and returns the claims it was created from. The caller must still check that the user is active and the
/// session open, as for a token.
pub async fn redeem_ticket(app: &App, ticket: &str) -> Result<Option<Arc<Claims>>> {
    let Some(claims) = store::take_ticket(&app.db, &at_rest(ticket), app.clock.now()).await? else { return Ok(None) };
    let claims: Claims = serde_json::from_str(&claims).map_err(anyhow::Error::new)?;
    Ok((claims.expires_at > app.clock.now().timestamp()).then(|| Arc::new(claims)))
}
