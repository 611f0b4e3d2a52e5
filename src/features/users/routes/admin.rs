//! `/admin/users…`.

use axum::extract::State;
use utoipa_axum::routes;

use crate::app::{App, Routes};
use crate::features::users::extract::CurrentUser;
use crate::features::users::model::{UpdateUser, User, UserFilter, UserId, UserReadAdmin};
use crate::features::users::service;
use crate::platform::error::{Error, Result};
use crate::platform::http::list::{ListParams, Listing, Window, position_in_time};
use crate::platform::http::{Json, PathParam, Query};

pub fn admin() -> Routes {
    Routes::new().add(routes!(list)).add(routes!(get, update)).add(routes!(deactivate)).add(routes!(activate))
}

fn user_id(text: &str) -> Result<UserId> {
    UserId::parse(text).ok_or_else(|| Error::not_found("User", text))
}

/// All users, newest first.
#[utoipa::path(get, path = "/users", operation_id = "listUsers", tag = "admin", params(ListParams, UserFilter),
    responses((status = 200, body = Listing<UserReadAdmin>)))]
async fn list(
    State(app): State<App>,
    Query(params): Query<ListParams>,
    Query(filter): Query<UserFilter>,
) -> Result<Json<Listing<UserReadAdmin>>> {
    let active = filter.is_active;
    let scope = [
        "users",
        match active {
            None => "all",
            Some(true) => "active",
            Some(false) => "inactive",
        },
    ];
    let wanted = params.wanted(&app.cursors, &scope)?;
    Ok(Json(match wanted.window {
        Window::Skip(skip) => {
            let (users, total) = service::page(&app, active, wanted.limit, skip).await?;
            Listing::Page { items: users.into_iter().map(Into::into).collect(), total, skip, limit: wanted.limit }
        }
        Window::After(position) => {
            let users = service::page_after(&app, active, position, wanted.limit).await?;
            Listing::by_cursor(users, wanted.limit, &app.cursors, &scope, |user: &User| {
                position_in_time(user.created_at, user.id.as_str().to_owned())
            })
        }
    }))
}

/// One user.
#[utoipa::path(get, path = "/users/{user_id}", operation_id = "getUser", tag = "admin", params(("user_id" = String, Path)),
    responses((status = 200, body = UserReadAdmin)))]
async fn get(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::get(&app, &user_id(&id)?).await?.into()))
}

/// Change a user: profile, role, access.
///
/// 400 when an administrator takes away their own role or access; 403 when somebody who is not a
/// superadmin grants or removes `superadmin`.
#[utoipa::path(patch, path = "/users/{user_id}", operation_id = "updateUser", tag = "admin", params(("user_id" = String, Path)),
    request_body = UpdateUser, responses((status = 200, body = UserReadAdmin)))]
async fn update(
    State(app): State<App>,
    actor: CurrentUser,
    PathParam(id): PathParam,
    Json(change): Json<UpdateUser>,
) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::update(&app, &actor, &user_id(&id)?, change).await?.into()))
}

/// Deactivate a user: their tokens are refused from now on.
#[utoipa::path(post, path = "/users/{user_id}/deactivate", operation_id = "deactivateUser", tag = "admin", params(("user_id" = String, Path)),
    responses((status = 200, body = UserReadAdmin)))]
async fn deactivate(State(app): State<App>, actor: CurrentUser, PathParam(id): PathParam) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::set_active(&app, &actor, &user_id(&id)?, false).await?.into()))
}

/// Let a deactivated user in again.
#[utoipa::path(post, path = "/users/{user_id}/activate", operation_id = "activateUser", tag = "admin", params(("user_id" = String, Path)),
    responses((status = 200, body = UserReadAdmin)))]
async fn activate(State(app): State<App>, actor: CurrentUser, PathParam(id): PathParam) -> Result<Json<UserReadAdmin>> {
    Ok(Json(service::set_active(&app, &actor, &user_id(&id)?, true).await?.into()))
}
