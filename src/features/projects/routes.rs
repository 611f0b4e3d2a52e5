//! `/app/projects…`.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::model::{CreateProject, Project, ProjectId, ProjectRead, ProjectSearch, UpdateProject};
use super::service;
use crate::app::App;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::idempotency::{Created, idempotent};
use crate::platform::http::quota_headers::QuotaState;
use crate::platform::http::{Json, JsonAt, KeyedJson, ListParams, Page, Path, Query};

/// List projects
///
/// Own projects: newest first, or by name with `search`.
#[utoipa::path(get, path = "/projects", operation_id = "listProjects", tag = "projects", params(ListParams, ProjectSearch),
    responses((status = 200, body = Page<ProjectRead>)))]
pub async fn list(
    State(app): State<App>,
    user: CurrentUser,
    Query(params): Query<ListParams>,
    Query(filter): Query<ProjectSearch>,
) -> Result<Json<Page<ProjectRead>>> {
    Ok(Json(match filter.search.filter(|text| !text.is_empty()) {
        None => service::list(&user.id).page(&app.db, &app.cursors, params).await?,
        Some(text) => service::search(&user.id, &text).page(&app.db, &app.cursors, params).await?,
    }))
}

/// Create a project
///
/// Send an `Idempotency-Key` to be able to repeat the request safely. 403 if the plan allows no more projects.
#[utoipa::path(post, path = "/projects", operation_id = "createProject", tag = "projects",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 255, description = "A repeated request with this key gets the first answer again")),
    request_body = CreateProject, responses((status = 201, body = ProjectRead, headers(("Location" = String, description = "Path of the project"))),
        (status = 403, description = "PLAN_LIMIT_EXCEEDED")))]
pub async fn create(State(app): State<App>, user: CurrentUser, body: KeyedJson<CreateProject>) -> Result<Response> {
    idempotent(app.answers(), &user.id, body.key, async |tx| {
        let (project, quota) = service::create(&app, tx, &user, body.value).await?;
        Ok(created(project, quota))
    })
    .await
}

fn created(project: Project, quota: Option<QuotaState>) -> Created<ProjectRead> {
    Created { location: Some(format!("/api/v1/app/projects/{}", project.id)), quota, body: project.into() }
}

/// Get a project
#[utoipa::path(get, path = "/projects/{project_id}", operation_id = "getProject", tag = "projects", params(("project_id" = String, Path)),
    responses((status = 200, body = ProjectRead)))]
pub async fn get(State(app): State<App>, user: CurrentUser, Path(id): Path<ProjectId>) -> Result<Json<ProjectRead>> {
    Ok(Json(service::get(&app, &user, id).await?.into()))
}

/// Update a project
#[utoipa::path(patch, path = "/projects/{project_id}", operation_id = "updateProject", tag = "projects", params(("project_id" = String, Path)),
    request_body = UpdateProject, responses((status = 200, body = ProjectRead)))]
pub async fn update(
    State(app): State<App>,
    user: CurrentUser,
    JsonAt(id, change): JsonAt<ProjectId, UpdateProject>,
) -> Result<Json<ProjectRead>> {
    Ok(Json(service::update(&app, &user, id, change).await?.into()))
}

/// Delete a project
///
/// The project disappears from every list and count.
#[utoipa::path(delete, path = "/projects/{project_id}", operation_id = "deleteProject", tag = "projects", params(("project_id" = String, Path)),
    responses((status = 204)))]
pub async fn delete(State(app): State<App>, user: CurrentUser, Path(id): Path<ProjectId>) -> Result<StatusCode> {
    service::delete(&app, &user, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
