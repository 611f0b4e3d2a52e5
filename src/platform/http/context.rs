//! Request context. It lives until the last byte of the response is written or the socket is closed; then the request is
//! counted, timed and logged, and its place in the pool is released.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{HeaderValue, Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::endpoints::Route;
use super::recorder::MethodRecorder;
use super::shown_path::ShownPath;
use crate::platform::id::UserId;
use crate::platform::telemetry::millis;

/// Context of a request in progress, stored in the request's extensions and, while the handler runs, in a task-local. It is
/// not a tracing span: a span below the log level is disabled with its fields, so warnings inside it would lack the request
/// id.
pub struct RequestContext {
    pub request_id: String,
    /// The address that the request came from, as far as it can be trusted.
    pub client_ip: IpAddr,
    pub route: Option<Arc<Route>>,
    /// Maximum size of the request body in bytes.
    pub body_limit: usize,
    pub(crate) user_id: OnceLock<UserId>,
    /// Set if an administrator acts in the user's name: then nothing counts on the user's account.
    pub(crate) impersonated: AtomicBool,
    /// Set if the request appears in logs and metrics.
    pub(crate) observation: Option<Observation>,
    /// The request's place in its pool.
    pub(crate) place: Option<OwnedSemaphorePermit>,
    /// The response's share of the memory for responses.
    pub(crate) memory: OnceLock<OwnedSemaphorePermit>,
}

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

impl RequestContext {
    /// A context of no route, neither counted nor logged, for unit tests.
    #[cfg(test)]
    pub(crate) fn unobserved(request_id: &str) -> Arc<Self> {
        Arc::new(Self {
            request_id: request_id.to_owned(),
            client_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            route: None,
            body_limit: 0,
            user_id: OnceLock::new(),
            impersonated: AtomicBool::new(false),
            observation: None,
            place: None,
            memory: OnceLock::new(),
        })
    }

    /// The verified caller, once known.
    pub fn user_id(&self) -> Option<&UserId> {
        self.user_id.get()
    }

    /// Sets the verified caller. Only the first call has an effect.
    pub fn set_user_id(&self, id: &UserId) {
        // A second call changes nothing: a request has one caller.
        let _ = self.user_id.set(id.clone());
    }

    pub(crate) fn set_impersonated(&self) {
        self.impersonated.store(true, Ordering::Relaxed);
    }

    /// Runs `future` as part of this request.
    pub async fn scope<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs `work` as part of this request.
    pub fn scope_sync<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }

    /// The context of the running task, if it serves a request.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Returns whether the end of the response matters: for logs and metrics, or to release a place or memory.
    pub(crate) fn is_tracked(&self) -> bool {
        self.observation.is_some() || self.place.is_some() || self.memory.get().is_some()
    }

    /// Logs that the request has begun. To be called within [`RequestContext::scope`], so that the line names it.
    pub(crate) fn log_start(&self) {
        if let Some(line) = self.observation.as_ref().and_then(|observation| observation.line.as_ref()) {
            tracing::debug!(method = %line.method, path = line.path.as_str(), "request started");
        }
    }

    /// Sets the status that will be recorded.
    pub(crate) fn answered(&self, status: StatusCode) {
        if let Some(observation) = &self.observation {
            observation.status.store(status.as_u16(), Ordering::Relaxed);
        }
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        if let Some(observation) = self.observation.take() {
            observation.finish(self);
        }
    }
}

/// The data recorded of a request.
pub(crate) struct Observation {
    recorder: Arc<MethodRecorder>,
    started: Instant,
    /// 0 until the response head is known. A client that disconnects earlier is not counted.
    status: AtomicU16,
    line: Option<Line>,
}

/// The fields of the log line that come from the request's head.
pub(crate) struct Line {
    pub method: Method,
    pub path: ShownPath,
    pub user_agent: Option<HeaderValue>,
}

impl Observation {
    pub fn start(recorder: Arc<MethodRecorder>, line: Option<Line>) -> Self {
        recorder.in_progress.inc();
        Self { recorder, started: Instant::now(), status: AtomicU16::new(0), line }
    }

    fn finish(self, context: &RequestContext) {
        self.recorder.in_progress.dec();
        let Ok(status) = StatusCode::from_u16(self.status.load(Ordering::Relaxed)) else { return };
        let took = self.started.elapsed();
        self.recorder.record(status, took.as_secs_f64());
        if !context.impersonated.load(Ordering::Relaxed) {
            self.recorder.count_usage(status, context.user_id());
        }
        let Some(line) = self.line else { return };
        let user_agent = line.user_agent.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let (request_id, user_id, client_ip) = (&context.request_id, context.user_id().map(UserId::as_str), context.client_ip);
        macro_rules! completed {
            ($level:ident) => {
                tracing::$level!(method = %line.method, path = line.path.as_str(), status_code = status.as_u16(), duration_ms = millis(took),
                    %client_ip, user_agent = user_agent.as_deref().unwrap_or_default(), request_id, user_id, "request completed")
            };
        }
        if status.is_server_error() {
            completed!(error);
        } else if status.is_client_error() {
            completed!(warn);
        } else {
            completed!(info);
        }
    }
}
