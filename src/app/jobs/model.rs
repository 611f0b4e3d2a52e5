//! Types of the queue: job rows, their API summary, enqueue options and the context of a running job.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::fail::Fail;
use crate::platform::id::{Id, Resource, UserId};

pub type JobId = Id<JobRow>;

impl Resource for JobRow {
    const NAME: &'static str = "Job";
}

/// Job state as stored in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    Queued,
    Running,
    Done,
    Dead,
    Cancelled,
}

/// The status of a job, as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = JobState)]
pub enum Status {
    /// Waiting for its time, the first one or that of another attempt.
    Deferred,
    Queued,
    InProgress,
    Complete,
    Failed,
    Cancelled,
}

impl Status {
    pub const ALL: [Self; 6] = [Self::Deferred, Self::Queued, Self::InProgress, Self::Complete, Self::Failed, Self::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A row of `jobs`, without the columns that only its worker needs.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct JobRow {
    pub id: JobId,
    pub function: String,
    /// JSON text, kept unparsed because a row with invalid JSON must still be listed.
    pub kwargs: String,
    pub state: State,
    /// Whether `run_at` is in the future at the time of the query.
    pub ahead: bool,
    pub attempts: i32,
    pub max_attempts: i32,
    pub run_at: DateTime<Utc>,
    pub enqueue_time: DateTime<Utc>,
    pub start_time: Option<DateTime<Utc>>,
    pub finish_time: Option<DateTime<Utc>>,
    pub success: Option<bool>,
    /// JSON text.
    pub result: Option<String>,
    pub error: Option<String>,
    pub owner_id: Option<UserId>,
}

impl JobRow {
    pub fn status(&self) -> Status {
        match self.state {
            State::Queued if self.ahead => Status::Deferred,
            State::Queued => Status::Queued,
            State::Running => Status::InProgress,
            State::Done => Status::Complete,
            State::Dead => Status::Failed,
            State::Cancelled => Status::Cancelled,
        }
    }

    /// What the job gave, or why its last attempt failed.
    pub fn outcome(&self) -> Value {
        match (&self.result, &self.error) {
            (_, Some(error)) => Value::String(error.clone()),
            (Some(result), None) => serde_json::from_str(result).unwrap_or_else(|_| Value::String(result.clone())),
            (None, None) => Value::Null,
        }
    }
}

/// Enqueue options. By default a job runs at once, after the jobs enqueued before it.
#[derive(Debug, Clone, Default)]
pub struct New {
    /// Deduplication key: while a job with this key waits or runs, no second one is created.
    pub dedupe_key: Option<String>,
    pub delay: TimeDelta,
    /// Higher values run first; the default is 0.
    pub priority: i32,
    /// The user whose data the payload holds.
    pub owner_id: Option<UserId>,
}

/// Context of a running attempt.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: JobId,
    /// Attempt number, from 1.
    pub attempt: i32,
    pub enqueue_time: DateTime<Utc>,
    /// The user whose data the payload holds.
    pub owner_id: Option<UserId>,
}

impl Run {
    /// The idempotency key for vendors: the same for every attempt of this job, and for no other.
    pub fn key(&self) -> String {
        self.id.to_string()
    }
}

/// A claimed row. `lock` is `<worker>/<claim number>`, new for each claim. It is a fencing token: earlier holders of the
/// row, even in this worker, can no longer change it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Claim {
    pub id: JobId,
    pub function: String,
    pub kwargs: String,
    pub attempts: i32,
    pub max_attempts: i32,
    pub enqueue_time: DateTime<Utc>,
    pub lock: String,
    pub trace_context: Option<String>,
    pub priority: i32,
    pub run_at: DateTime<Utc>,
    pub owner_id: Option<UserId>,
}

impl Claim {
    /// The request that enqueued the job.
    pub fn request_id(&self) -> Option<String> {
        let context: Value = serde_json::from_str(self.trace_context.as_deref()?).ok()?;
        context["request_id"].as_str().map(str::to_owned)
    }
}

/// The outcome of a claimed row.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Done(Value),
    Failed(Fail),
    Cancelled,
    /// The job has not run, or was interrupted through no fault of its own: the attempt does not count.
    PutBack,
}

impl Outcome {
    pub fn lease_lost() -> Self {
        Self::Failed(Fail::Retry("lease lost".to_owned()))
    }
}
