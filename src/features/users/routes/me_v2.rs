//! `/app/users/me` in version 2 of the API: in the envelope, with derived members.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;

use crate::app::App;
use crate::features::users::model::{LoadedUser, UpdateMe, UserRead, UserReadV2};
use crate::features::users::service;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Envelope, Json, RequestContext};

/// Get the current user
///
/// 404 if the user is being erased.
#[utoipa::path(get, path = "/users/me", operation_id = "getMeV2", tag = "users",
    responses((status = 200, body = Envelope<UserReadV2>), (status = 404)))]
pub async fn me(
    State(app): State<App>,
    user: CurrentUser,
    loaded: Option<Extension<LoadedUser>>,
    Extension(request): Extension<Arc<RequestContext>>,
) -> Result<Json<Envelope<UserReadV2>>> {
    let user = match loaded {
        Some(Extension(LoadedUser(user))) => user,
        None => service::me(&app, &user.id).await?,
    };
    Ok(answer(&app, &request, user))
}

/// Update the current user's profile
///
/// Absent members stay; `null` clears. Other members are ignored.
#[utoipa::path(patch, path = "/users/me", operation_id = "updateMeV2", tag = "users", request_body = UpdateMe,
    responses((status = 200, body = Envelope<UserReadV2>), (status = 404)))]
pub async fn update_me(
    State(app): State<App>,
    user: CurrentUser,
    Extension(request): Extension<Arc<RequestContext>>,
    Json(change): Json<UpdateMe>,
) -> Result<Json<Envelope<UserReadV2>>> {
    let user = service::update_me(&app, &user, change).await?;
    Ok(answer(&app, &request, user))
}

fn answer(app: &App, request: &RequestContext, user: UserRead) -> Json<Envelope<UserReadV2>> {
    Json(Envelope::of(request, &app.clock, UserReadV2::of(user, app.clock.now())))
}
