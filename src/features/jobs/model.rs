//! The two API views of a job: list entry and status.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::app::jobs::model::{JobRow, Status};
use crate::app::jobs::{Catalog, JobId};

/// Longest result in the list, in bytes of JSON.
const LISTED_RESULT: usize = 1024;

/// Filter of the list of jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct JobFilter {
    /// Rows to answer.
    #[param(minimum = 1, maximum = 100, default = 50, required = false, value_type = i64)]
    pub limit: Option<i64>,
    /// Rows to pass over.
    #[param(minimum = 0, maximum = 2_147_483_647, default = 0, required = false, value_type = i64)]
    pub skip: Option<i64>,
    /// Only jobs of this status.
    #[param(inline, required = false, value_type = Status)]
    pub status: Option<Status>,
}

/// A page of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    pub jobs: Vec<JobInfo>,
    /// All that match, exactly.
    pub total: i64,
}

/// A job with its arguments. Secrets among them are masked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "job_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "function": "generate_daily_report", "args": [], "kwargs": {},
    "enqueue_time": "2026-01-10T09:00:00Z", "start_time": "2026-01-10T09:00:00.004Z", "finish_time": "2026-01-10T09:00:00.010Z",
    "success": true, "result": {"date": "2026-01-10", "total_users": 3, "active_users_24h": 2, "new_users_today": 1}
}))]
pub struct JobInfo {
    #[serde(flatten)]
    pub summary: JobSummary,
    /// Always empty: arguments have names.
    #[schema(value_type = Vec<Value>)]
    pub args: [Value; 0],
    #[schema(value_type = Object)]
    pub kwargs: Value,
}

/// The status of a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "job_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "function": "generate_daily_report", "status": "complete",
    "enqueue_time": "2026-01-10T09:00:00Z", "start_time": "2026-01-10T09:00:00.004Z", "finish_time": "2026-01-10T09:00:00.010Z",
    "success": true, "result": {"date": "2026-01-10", "total_users": 3, "active_users_24h": 2, "new_users_today": 1}
}))]
pub struct JobStatus {
    #[serde(flatten)]
    pub summary: JobSummary,
    pub status: Status,
}

/// The members that both views share.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobSummary {
    #[schema(value_type = String)]
    pub job_id: JobId,
    pub function: String,
    pub enqueue_time: DateTime<Utc>,
    /// Of the latest attempt.
    pub start_time: Option<DateTime<Utc>>,
    pub finish_time: Option<DateTime<Utc>>,
    /// Null until it has ended, and where it was cancelled.
    pub success: Option<bool>,
    /// Its value, or why its latest attempt failed. In the list, a result above 1 KiB is `{"truncated": true}`.
    pub result: Value,
}

impl JobSummary {
    fn new(row: JobRow, catalog: &Catalog) -> Self {
        Self {
            result: catalog.shown_outcome(&row.function, row.outcome()),
            job_id: row.id,
            function: row.function,
            enqueue_time: row.enqueue_time,
            start_time: row.start_time,
            finish_time: row.finish_time,
            success: row.success,
        }
    }
}

impl JobInfo {
    pub fn new(row: JobRow, catalog: &Catalog) -> Self {
        let kwargs = catalog.shown(&row.function, &row.kwargs);
        let mut summary = JobSummary::new(row, catalog);
        if summary.result.to_string().len() > LISTED_RESULT {
            summary.result = json!({"truncated": true});
        }
        Self { kwargs, args: [], summary }
    }
}

impl JobStatus {
    pub fn new(row: JobRow, catalog: &Catalog) -> Self {
        Self { status: row.status(), summary: JobSummary::new(row, catalog) }
    }
}

/// The outcome of a retry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"message": "Job enqueued again", "original_job_id": "0199f3b0-7c1e-7d2a-9f2e-6f0f3c1b2a4d", "new_job_id": "0199f3b0-8000-7d2a-9f2e-6f0f3c1b2a4d"}))]
pub struct JobRetried {
    pub message: &'static str,
    #[schema(value_type = String)]
    pub original_job_id: JobId,
    #[schema(value_type = String)]
    pub new_job_id: JobId,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"message": "Job cancelled"}))]
pub struct JobMessage {
    pub message: &'static str,
}
