//! Context of the running job, so that each log line can name the job at any level.

/// The job's fields in log lines.
#[derive(Debug, Clone)]
pub struct JobContext {
    pub job_id: String,
    pub function: &'static str,
    /// 1 for the first.
    pub attempt: i32,
    /// The request that enqueued it.
    pub request_id: Option<String>,
}

tokio::task_local! {
    static JOB: JobContext;
}

impl JobContext {
    /// Runs `future` as part of this job.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        JOB.scope(self, future).await
    }

    /// The context of the running task, if it runs a job.
    pub fn current() -> Option<Self> {
        JOB.try_with(Clone::clone).ok()
    }
}
