//! `/app/users/me/export…`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::service;
use crate::app::App;
use crate::app::jobs::JobId;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, PathParam};

#[derive(Serialize, ToSchema)]
#[schema(example = json!({"job_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d"}))]
pub struct ExportRequested {
    #[schema(value_type = String)]
    job_id: JobId,
}

/// Request a data export
///
/// While an export is in progress, its `job_id` is answered again. The document can be fetched for 24 hours; of several, the five
/// newest are kept.
#[utoipa::path(post, path = "/users/me/export", operation_id = "requestExport", tag = "users",
    responses((status = 202, body = ExportRequested)))]
pub async fn request(State(app): State<App>, user: CurrentUser) -> Result<Response> {
    let job_id = service::request_export(&app, &user).await?;
    Ok((StatusCode::ACCEPTED, Json(ExportRequested { job_id })).into_response())
}

/// Get a data export
///
/// 409 until it is ready; 404 for an export of another user, or an expired one.
#[utoipa::path(get, path = "/users/me/export/{job_id}", operation_id = "getExport", tag = "users", params(("job_id" = String, Path)),
    responses((status = 200, body = Value, example = json!({
        "user": {"id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "email": "ada@example.com"}, "subscription": {"plan": null, "status": null},
        "projects": [], "files": [], "exported_at": "2026-01-10T12:00:00.123456Z"
    })), (status = 409), (status = 502)))]
pub async fn get(State(app): State<App>, user: CurrentUser, PathParam(job_id): PathParam) -> Result<Response> {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CONTENT_DISPOSITION, "attachment; filename=\"export.json\"")];
    Ok((headers, service::export(&app, &user, &job_id).await?).into_response())
}
