//! Tickets for the WebSocket: a browser cannot send a header when it opens one, and a token in an address ends up in logs.
//! A ticket is worth one connection within seconds, on whichever instance answers it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use super::store;
use crate::app::App;
use crate::features::accounts::model::WsTicket;
use crate::features::accounts::tokens::at_rest;
use crate::features::users::extract::CurrentUser;
use crate::platform::auth::Claims;
use crate::platform::crypto;
use crate::platform::error::Result;

const LIFE: TimeDelta = TimeDelta::seconds(30);

/// A ticket for the caller, as they are at this moment.
pub async fn issue_ticket(app: &App, user: &CurrentUser) -> Result<WsTicket> {
    let ticket = URL_SAFE_NO_PAD.encode(crypto::random::<32>()?);
    let claims = serde_json::to_string(&*user.claims).map_err(anyhow::Error::new)?;
    store::insert_ticket(&app.db, at_rest(&ticket), user.id.clone(), claims, app.clock.now() + LIFE).await?;
    Ok(WsTicket { ticket, expires_in: LIFE.num_seconds() })
}

/// Uses a ticket up: the claims of whoever it was made for. Whether their user is active, and their session open, is asked
/// anew, as of a token.
pub async fn redeem_ticket(app: &App, ticket: &str) -> Result<Option<Arc<Claims>>> {
    let Some(claims) = store::take_ticket(&app.db, at_rest(ticket), app.clock.now()).await? else { return Ok(None) };
    let claims: Claims = serde_json::from_str(&claims).map_err(anyhow::Error::new)?;
    Ok((claims.expires_at > app.clock.now().timestamp()).then(|| Arc::new(claims)))
}
