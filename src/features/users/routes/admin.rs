//! `/admin/users…`.

use axum::extract::State;

use crate::app::App;
use crate::features::users::model::{UpdateUser, UserFilter, UserReadAdmin};
use crate::features::users::service;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, JsonAt, ListParams, Page, Path, Query};
use crate::platform::id::UserId;

/// List users
///
/// Newest first.
#[utoipa::path(get, path = "/users", operation_id = "listUsers", tag = "admin", params(ListParams, UserFilter),
    responses((status = 200, body = Page<UserReadAdmin>)))]
pub async fn list(
    State(app): State<App>,
    Query(params): Query<ListParams>,
    Query(filter): Query<UserFilter>,
) -> Result<Json<Page<UserReadAdmin>>> {
    Ok(Json(service::list(filter.is_active).page(&app.db, &app.cursors, params).await?))
}

/// Get a user
#[utoipa::path(get, path = "/users/{user_id}", operation_id = "getUser", tag = "admin", params(("user_id" = String, Path)),
    responses((status = 200, body = UserReadAdmin)))]
pub async fn get(State(app): State<App>, Path(id): Path<UserId>) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::get(&app, &id).await?.into()))
}

/// Update a user
///
/// Changes profile, role and access. 400 when administrators take away their own role or access; 403 when they raise their own role,
/// or change a superadmin or grant that role without being one; 409 when no active administrator would be left.
#[utoipa::path(patch, path = "/users/{user_id}", operation_id = "updateUser", tag = "admin", params(("user_id" = String, Path)),
    request_body = UpdateUser, responses((status = 200, body = UserReadAdmin), (status = 400), (status = 403), (status = 409)))]
pub async fn update(
    State(app): State<App>,
    user: CurrentUser,
    JsonAt(id, change): JsonAt<UserId, UpdateUser>,
) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::update(&app, &user, &id, change).await?.into()))
}

/// Deactivate a user
///
/// Their tokens are refused from now on. 400 for oneself; 403 for a superadmin, unless the caller is one; 409 when no active
/// administrator would be left.
#[utoipa::path(post, path = "/users/{user_id}/deactivate", operation_id = "deactivateUser", tag = "admin", params(("user_id" = String, Path)),
    responses((status = 200, body = UserReadAdmin), (status = 400), (status = 403), (status = 409)))]
pub async fn deactivate(State(app): State<App>, user: CurrentUser, Path(id): Path<UserId>) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::set_active(&app, &user, &id, false).await?.into()))
}

/// Activate a user
///
/// Ends a deactivation. 403 for a superadmin, unless the caller is one.
#[utoipa::path(post, path = "/users/{user_id}/activate", operation_id = "activateUser", tag = "admin", params(("user_id" = String, Path)),
    responses((status = 200, body = UserReadAdmin), (status = 403)))]
pub async fn activate(State(app): State<App>, user: CurrentUser, Path(id): Path<UserId>) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::set_active(&app, &user, &id, true).await?.into()))
}
