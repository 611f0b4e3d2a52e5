//! `/app/users/me`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::app::{App, Routes};
use crate::features::users::extract::CurrentUser;
use crate::features::users::model::{UpdateMe, UserRead};
use crate::features::users::service;
use crate::platform::error::Result;
use crate::platform::http::Json;

pub fn app() -> Routes {
    Routes::new().add(routes!(me, update_me))
}

/// The current user.
#[utoipa::path(get, path = "/users/me", operation_id = "getMe", tag = "users", responses((status = 200, body = UserRead)))]
async fn me(State(app): State<App>, user: CurrentUser) -> Result<Json<UserRead>> {
    Ok(Json(service::me(&app, &user).await?))
}

/// Change the current user's profile.
///
/// Absent members stay; `null` clears. Other members are ignored.
#[utoipa::path(patch, path = "/users/me", operation_id = "updateMe", tag = "users", request_body = UpdateMe, responses((status = 200, body = UserRead)))]
async fn update_me(State(app): State<App>, user: CurrentUser, Json(change): Json<UpdateMe>) -> Result<Json<UserRead>> {
    Ok(Json(service::update_me(&app, &user, change).await?))
}
