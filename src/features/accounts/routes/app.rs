//! `/app/auth…` and `/app/ws/ticket`.

use axum::extract::State;
use http::StatusCode;
use utoipa_axum::routes;

use super::local;
use crate::app::{App, Routes};
use crate::features::accounts::model::{ChangePassword, Device, Sessions, WsTicket};
use crate::features::accounts::service;
use crate::features::users::extract::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, PathParam};

pub fn app() -> Routes {
    Routes::new()
        .add_with(local(), routes!(change_password))
        .add_with(local(), routes!(sessions))
        .add_with(local(), routes!(end_session))
        .add_with(local(), routes!(logout_all))
        .add(routes!(ws_ticket))
}

/// Change the own password.
///
/// Ends every other session. 400 where the current password is wrong.
#[utoipa::path(post, path = "/auth/change-password", operation_id = "changePassword", tag = "auth", request_body = ChangePassword,
    responses((status = 204)))]
async fn change_password(
    State(app): State<App>,
    user: CurrentUser,
    device: Device,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode> {
    service::change_password(&app, &user, &body, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where you are logged in, the last used session first.
#[utoipa::path(get, path = "/auth/sessions", operation_id = "listSessions", tag = "auth", responses((status = 200, body = Sessions)))]
async fn sessions(State(app): State<App>, user: CurrentUser) -> Result<Json<Sessions>> {
    Ok(Json(service::list(&app, &user).await?))
}

/// End one of your sessions.
#[utoipa::path(delete, path = "/auth/sessions/{session_id}", operation_id = "endSession", tag = "auth", params(("session_id" = String, Path)),
    responses((status = 204)))]
async fn end_session(State(app): State<App>, user: CurrentUser, PathParam(id): PathParam) -> Result<StatusCode> {
    service::end_session(&app, &user, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Log out everywhere, here too.
#[utoipa::path(post, path = "/auth/logout-all", operation_id = "logoutAll", tag = "auth", responses((status = 204)))]
async fn logout_all(State(app): State<App>, user: CurrentUser) -> Result<StatusCode> {
    service::log_out_everywhere(&app, &user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A ticket to open a WebSocket with, so that no token stands in an address.
///
/// Worth one connection within 30 seconds.
#[utoipa::path(post, path = "/ws/ticket", operation_id = "createWsTicket", tag = "auth", responses((status = 200, body = WsTicket)))]
async fn ws_ticket(State(app): State<App>, user: CurrentUser) -> Result<Json<WsTicket>> {
    Ok(Json(service::issue_ticket(&app, &user).await?))
}
