//! `/admin/jobs…`.

use axum::extract::State;
use utoipa_axum::routes;

use super::model::{JobFilter, JobInfo, JobList, JobRetried, JobStatus, Message};
use crate::app::jobs::JobId;
use crate::app::jobs::model::Status;
use crate::app::{App, Routes};
use crate::features::users::extract::CurrentUser;
use crate::platform::error::{Error, Result};
use crate::platform::http::{Json, PathParam, Query};

pub fn admin() -> Routes {
    Routes::new().add(routes!(list)).add(routes!(get, cancel)).add(routes!(retry))
}

fn job_id(text: &str) -> Result<JobId> {
    JobId::parse(text).ok_or_else(|| Error::not_found("Job", text))
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/jobs", operation_id = "listJobs", tag = "admin", params(JobFilter), responses((status = 200, body = JobList)))]
async fn list(State(app): State<App>, Query(filter): Query<JobFilter>) -> Result<Json<JobList>> {
    let (rows, total) = app.jobs.page(&app.db, filter.status, filter.limit.unwrap_or(50), filter.skip.unwrap_or(0)).await?;
    let jobs = rows.into_iter().map(|row| JobInfo::new(row, app.jobs.registry())).collect();
    Ok(Json(JobList { jobs, total }))
}

/// How one job stands.
#[utoipa::path(get, path = "/jobs/{job_id}", operation_id = "getJob", tag = "admin", params(("job_id" = String, Path)),
    responses((status = 200, body = JobStatus)))]
async fn get(State(app): State<App>, PathParam(id): PathParam) -> Result<Json<JobStatus>> {
    let row = app.jobs.get(&app.db, job_id(&id)?).await?;
    Ok(Json(row.ok_or_else(|| Error::not_found("Job", id))?.into()))
}

/// Run a failed or cancelled job again, as a new one.
///
/// 400 for one that has succeeded, still waits or runs, or is being retried already.
#[utoipa::path(post, path = "/jobs/{job_id}/retry", operation_id = "retryJob", tag = "admin", params(("job_id" = String, Path)),
    responses((status = 200, body = JobRetried), (status = 400)))]
async fn retry(State(app): State<App>, actor: CurrentUser, PathParam(id): PathParam) -> Result<Json<JobRetried>> {
    let original_job_id = job_id(&id)?;
    let new_job_id = app.jobs.retry(&app.db, original_job_id).await?;
    tracing::info!(actor_id = actor.id.as_str(), action = "job.retry", target_id = %original_job_id, %new_job_id, "administrator retried a job");
    Ok(Json(JobRetried { message: "Job enqueued again", original_job_id, new_job_id }))
}

/// Cancel a job.
///
/// A waiting one will not run; a running one is ended by its worker within seconds. 400 for one that has finished.
#[utoipa::path(delete, path = "/jobs/{job_id}", operation_id = "cancelJob", tag = "admin", params(("job_id" = String, Path)),
    responses((status = 200, body = Message), (status = 400)))]
async fn cancel(State(app): State<App>, actor: CurrentUser, PathParam(id): PathParam) -> Result<Json<Message>> {
    let id = job_id(&id)?;
    let status = app.jobs.cancel(&app.db, id).await?;
    tracing::info!(actor_id = actor.id.as_str(), action = "job.cancel", target_id = %id, "administrator cancelled a job");
    Ok(Json(Message { message: if status == Status::Cancelled { "Job cancelled" } else { "The running job is being cancelled" } }))
}
