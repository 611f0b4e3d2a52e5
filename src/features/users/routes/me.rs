//! `/app/users/me`.

use axum::Extension;
use axum::extract::State;

use crate::app::App;
use crate::features::users::model::{LoadedUser, UpdateMe, UserRead};
use crate::features::users::service;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::Json;

/// Get the current user
///
/// 404 if the user is being erased.
#[utoipa::path(get, path = "/users/me", operation_id = "getMe", tag = "users",
    responses((status = 200, body = UserRead), (status = 404)))]
pub async fn me(State(app): State<App>, user: CurrentUser, loaded: Option<Extension<LoadedUser>>) -> Result<Json<UserRead>> {
    Ok(Json(match loaded {
        Some(Extension(LoadedUser(user))) => user,
        None => service::me(&app, &user.id).await?,
    }))
}

/// Update the current user's profile
///
/// Absent members stay; `null` clears. Other members are ignored.
#[utoipa::path(patch, path = "/users/me", operation_id = "updateMe", tag = "users", request_body = UpdateMe,
    responses((status = 200, body = UserRead), (status = 404)))]
pub async fn update_me(State(app): State<App>, user: CurrentUser, Json(change): Json<UpdateMe>) -> Result<Json<UserRead>> {
    Ok(Json(service::update_me(&app, &user, change).await?))
}
