//! `/admin/jobs…`.

use axum::extract::State;

use super::model::{JobFilter, JobInfo, JobList, JobMessage, JobRetried, JobStatus};
use crate::app::App;
use crate::app::jobs::JobId;
use crate::app::jobs::model::Status;
use crate::platform::actor::CurrentUser;
use crate::platform::error::Result;
use crate::platform::http::{Json, Path, Query};
use crate::platform::id::PathId;

/// List jobs
///
/// Newest first. A result above 1 KiB is shown as `{"truncated": true}`.
#[utoipa::path(get, path = "/jobs", operation_id = "listJobs", tag = "admin", params(JobFilter), responses((status = 200, body = JobList)))]
pub async fn list(State(app): State<App>, Query(filter): Query<JobFilter>) -> Result<Json<JobList>> {
    let (rows, total) = app.jobs.page(&app.db, filter.status, filter.limit.unwrap_or(50), filter.skip.unwrap_or(0)).await?;
    let jobs = rows.into_iter().map(|row| JobInfo::new(row, app.jobs.catalog())).collect();
    Ok(Json(JobList { jobs, total }))
}

/// Get a job's status
#[utoipa::path(get, path = "/jobs/{job_id}", operation_id = "getJob", tag = "admin", params(("job_id" = String, Path)),
    responses((status = 200, body = JobStatus)))]
pub async fn get(State(app): State<App>, Path(id): Path<JobId>) -> Result<Json<JobStatus>> {
    let row = app.jobs.get(&app.db, id).await?.ok_or_else(|| id.not_found())?;
    Ok(Json(JobStatus::new(row, app.jobs.catalog())))
}

/// Retry a job
///
/// Enqueues a failed or cancelled job again, as a new one. 400 for a job that has succeeded, still waits or runs, or is being
/// retried already.
#[utoipa::path(post, path = "/jobs/{job_id}/retry", operation_id = "retryJob", tag = "admin", params(("job_id" = String, Path)),
    responses((status = 200, body = JobRetried), (status = 400)))]
pub async fn retry(State(app): State<App>, user: CurrentUser, Path(original_job_id): Path<JobId>) -> Result<Json<JobRetried>> {
    let new_job_id = app.jobs.retry(&app.db, original_job_id).await?;
    tracing::info!(actor = user.name(), action = "job.retry", target_id = %original_job_id, %new_job_id, "job retried");
    Ok(Json(JobRetried { message: "Job enqueued again", original_job_id, new_job_id }))
}

/// Cancel a job
///
/// A waiting job will not run; a running job is ended by its worker within seconds. 400 for a job that has finished.
#[utoipa::path(delete, path = "/jobs/{job_id}", operation_id = "cancelJob", tag = "admin", params(("job_id" = String, Path)),
    responses((status = 200, body = JobMessage), (status = 400)))]
pub async fn cancel(State(app): State<App>, user: CurrentUser, Path(id): Path<JobId>) -> Result<Json<JobMessage>> {
    let status = app.jobs.cancel(&app.db, id).await?;
    tracing::info!(actor = user.name(), action = "job.cancel", target_id = %id, "job cancelled");
    Ok(Json(JobMessage { message: if status == Status::Cancelled { "Job cancelled" } else { "The running job is being cancelled" } }))
}
