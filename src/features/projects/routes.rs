//! `/app/projects…`.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use utoipa_axum::routes;

use super::model::{CreateProject, Found, Project, ProjectSearch, UpdateProject};
use super::service;
use crate::app::{App, Routes};
use crate::features::users::extract::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::cursor::Position;
use crate::platform::http::idempotency::{Once, Start};
use crate::platform::http::list::{ListParams, Listing, Window, position_in_time};
use crate::platform::http::{Json, KeyedJson, PathParam, Query};

pub fn app() -> Routes {
    Routes::new().add(routes!(list, create)).add(routes!(get, update, delete))
}

/// Own projects: newest first, or with `search` by name.
#[utoipa::path(get, path = "/projects", operation_id = "listProjects", tag = "projects", params(ListParams, ProjectSearch),
    responses((status = 200, body = Listing<Project>)))]
async fn list(
    State(app): State<App>,
    user: CurrentUser,
    Query(params): Query<ListParams>,
    Query(filter): Query<ProjectSearch>,
) -> Result<Json<Listing<Project>>> {
    let text = filter.search.unwrap_or_default();
    let scope = ["projects", user.id.as_str(), text.as_str()];
    let wanted = params.wanted(&app.cursors, &scope)?;
    let limit = wanted.limit;
    Ok(Json(match wanted.window {
        Window::Skip(skip) => {
            let page = if text.is_empty() {
                service::page(&app, &user.id, limit, skip).await?
            } else {
                service::search(&app, &user.id, &text, limit, skip).await?
            };
            Listing::Page { items: page.0, total: page.1, skip, limit }
        }
        Window::After(position) if text.is_empty() => {
            let rows = service::page_after(&app, &user.id, position, limit).await?;
            Listing::by_cursor(rows, limit, &app.cursors, &scope, |row: &Project| position_in_time(row.created_at, row.id.to_string()))
        }
        Window::After(position) => {
            let rows = service::search_after(&app, &user.id, &text, position, limit).await?;
            Listing::by_cursor(rows, limit, &app.cursors, &scope, |row: &Found| Position {
                key: row.name_folded.clone(),
                id: row.project.id.to_string(),
            })
        }
    }))
}

/// Make a project.
///
/// Send an `Idempotency-Key` to be able to repeat the request safely.
#[utoipa::path(post, path = "/projects", operation_id = "createProject", tag = "projects",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "Repeating the request with this key answers the first answer again")),
    request_body = CreateProject, responses((status = 201, body = Project, headers(("Location" = String, description = "Path of the project")))))]
async fn create(State(app): State<App>, user: CurrentUser, body: KeyedJson<CreateProject>) -> Result<Response> {
    let mut once = match Once::begin(&app.db, &app.keys, user.id.as_str(), body.key, app.clock.now()).await? {
        Start::Replay(answer) => return Ok(answer),
        Start::Run(once) => once,
    };
    let project = service::create(&app, once.on(), &user.id, body.value).await?;
    once.finish(StatusCode::CREATED, Some(format!("/api/v1/app/projects/{}", project.id)), &project).await
}

/// One of the own projects.
#[utoipa::path(get, path = "/projects/{project_id}", operation_id = "getProject", tag = "projects", params(("project_id" = String, Path)),
    responses((status = 200, body = Project)))]
async fn get(State(app): State<App>, user: CurrentUser, PathParam(id): PathParam) -> Result<Json<Project>> {
    Ok(Json(service::get(&app, &user.id, &id).await?))
}

/// Change a project.
#[utoipa::path(patch, path = "/projects/{project_id}", operation_id = "updateProject", tag = "projects", params(("project_id" = String, Path)),
    request_body = UpdateProject, responses((status = 200, body = Project)))]
async fn update(
    State(app): State<App>,
    user: CurrentUser,
    PathParam(id): PathParam,
    Json(change): Json<UpdateProject>,
) -> Result<Json<Project>> {
    Ok(Json(service::update(&app, &user.id, &id, change).await?))
}

/// Delete a project. It is gone from every list and count.
#[utoipa::path(delete, path = "/projects/{project_id}", operation_id = "deleteProject", tag = "projects", params(("project_id" = String, Path)),
    responses((status = 204)))]
async fn delete(State(app): State<App>, user: CurrentUser, PathParam(id): PathParam) -> Result<StatusCode> {
    service::delete(&app, &user.id, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
