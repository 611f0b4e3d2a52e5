//! `/app/ws` and `/app/ws/status`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Uri, header};
use url::form_urlencoded;

use super::config::Settings;
use super::connection::{self, Offered};
use super::model::SocketStatus;
use super::service;
use crate::app::App;
use crate::platform::actor::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::http::websocket::{Limits, Upgrade};
use crate::platform::http::{Json, RequestContext};
use crate::platform::middleware::cors::Cors;
use crate::platform::middleware::csrf;

/// Open a WebSocket
///
/// Credentials: `token` (an access token), `ticket` (from `POST /app/ws/ticket`), or an `Authorization: Bearer` header. Without valid
/// ones the socket is opened and closed with code 1008; a request that is no handshake gets 401 or 400. 403 for pages of other origins than `BACKEND_CORS_ORIGINS` and our own.
/// The frames are described in `docs/realtime.md`.
#[utoipa::path(get, path = "/ws", operation_id = "openWebSocket", tag = "realtime",
    params(("token" = Option<String>, Query, description = "An access token"), ("ticket" = Option<String>, Query, description = "A one-use ticket")),
    responses((status = 101, description = "A WebSocket"), (status = 400), (status = 401), (status = 403)))]
pub async fn open(State(app): State<App>, Extension(context): Extension<Arc<RequestContext>>, mut request: Request) -> Result<Response> {
    if !is_allowed_origin(&app, request.headers()) {
        return Err(Error::Forbidden("Pages of this origin may not open a WebSocket"));
    }
    let offered = offered(request.uri(), request.headers());
    let upgrade = match Upgrade::read(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refused) if connection::is_authentic(&app, &context, offered).await => return Err(refused),
        Err(_) => return Err(Error::Unauthenticated("Not authenticated")),
    };
    let settings = app.settings::<Settings>();
    // The largest frame may follow another one that is not written yet.
    let limits = Limits { message: settings.message_bytes, unwritten: settings.queued_bytes() * 2 };
    Ok(upgrade.accept(limits, move |socket| connection::serve(app, context, offered, socket)))
}

/// Get the state of WebSockets
///
/// Only administrators see who is online.
#[utoipa::path(get, path = "/ws/status", operation_id = "getWebSocketStatus", tag = "realtime", responses((status = 200, body = SocketStatus)))]
pub async fn status(State(app): State<App>, user: CurrentUser) -> Json<SocketStatus> {
    Json(service::status(&app, &user).await)
}

/// Whether the request comes from no page, from one of our own, or from one of an allowed origin.
fn is_allowed_origin(app: &App, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let core = &app.config.core;
    let public = core.public_base_url.as_ref().map(|url| url.origin().ascii_serialization());
    Cors::new(&core.cors_origins).allowed(headers).is_some()
        || headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| csrf::is_origin_of_host(origin, host))
        || public.is_some_and(|public| origin.as_bytes() == public.as_bytes())
}

fn offered(uri: &Uri, headers: &HeaderMap) -> Offered {
    let query = uri.query().unwrap_or_default();
    let find =
        |wanted: &str| form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned());
    match (find("token"), find("ticket")) {
        (Some(token), _) => Offered::Token(token),
        (None, Some(ticket)) => Offered::Ticket(ticket),
        (None, None) => Offered::Header(headers.get(header::AUTHORIZATION).cloned()),
    }
}
