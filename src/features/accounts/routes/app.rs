//! `/app/auth…` and `/app/ws/ticket`.

use axum::extract::State;
use http::StatusCode;

use crate::app::App;
use crate::features::accounts::model::{ChangePassword, Device, SessionId, SessionList, WsTicket};
use crate::features::accounts::service;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, Path};

/// Change your password
///
/// Ends every other session. 400 if the current password is wrong.
#[utoipa::path(post, path = "/auth/change-password", operation_id = "changePassword", tag = "auth", request_body = ChangePassword,
    responses((status = 204)))]
pub async fn change_password(
    State(app): State<App>,
    user: CurrentUser,
    device: Device,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode> {
    service::change_password(&app, &user, &body, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List sessions
///
/// Most recently used first.
#[utoipa::path(get, path = "/auth/sessions", operation_id = "listSessions", tag = "auth", responses((status = 200, body = SessionList)))]
pub async fn sessions(State(app): State<App>, user: CurrentUser) -> Result<Json<SessionList>> {
    Ok(Json(service::list(&app, &user).await?))
}

/// End a session
#[utoipa::path(delete, path = "/auth/sessions/{session_id}", operation_id = "endSession", tag = "auth", params(("session_id" = String, Path)),
    responses((status = 204)))]
pub async fn end_session(State(app): State<App>, user: CurrentUser, Path(id): Path<SessionId>) -> Result<StatusCode> {
    service::end_session(&app, &user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Log out everywhere
///
/// Ends every session, this one too.
#[utoipa::path(post, path = "/auth/logout-all", operation_id = "logoutAll", tag = "auth", responses((status = 204)))]
pub async fn logout_all(State(app): State<App>, user: CurrentUser) -> Result<StatusCode> {
    service::log_out_everywhere(&app, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Create a WebSocket ticket
///
/// Opens one connection within 30 seconds, so that no token stands in a URL.
#[utoipa::path(post, path = "/ws/ticket", operation_id = "createWsTicket", tag = "auth", responses((status = 200, body = WsTicket)))]
pub async fn ws_ticket(State(app): State<App>, user: CurrentUser) -> Result<Json<WsTicket>> {
    Ok(Json(service::issue_ticket(&app, &user).await?))
}
