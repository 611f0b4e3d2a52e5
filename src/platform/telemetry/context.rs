//! The request or the job that the present task works for, so that each log line can name it whatever its level.
//!
//! A task-local rather than a tracing span: a span below the log level is switched off together with its
//! fields, and the warnings inside it would then name no request.

use std::sync::{Arc, OnceLock};

/// Who is being served.
#[derive(Debug)]
pub struct RequestContext {
    pub request_id: String,
    user_id: OnceLock<Arc<str>>,
}

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

impl RequestContext {
    pub fn new(request_id: String) -> Arc<Self> {
        Arc::new(Self { request_id, user_id: OnceLock::new() })
    }

    /// The verified caller, once known.
    pub fn user_id(&self) -> Option<&Arc<str>> {
        self.user_id.get()
    }

    /// Names the verified caller; the first one stays.
    pub fn set_user_id(&self, id: Arc<str>) {
        // A second call changes nothing: one request has one caller.
        let _ = self.user_id.set(id);
    }

    /// Runs `future` as part of this request.
    pub async fn scope<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The context of the running task, if it serves a request.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }
}

/// The job that the present task runs.
#[derive(Debug, Clone)]
pub struct JobContext {
    pub job_id: String,
    pub function: &'static str,
    /// 1 for the first.
    pub attempt: i32,
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
