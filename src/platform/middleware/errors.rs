//! Writes the body of every error response: from a handler, the router, the gate (admission control) or a panic.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use prometheus::IntCounterVec;
use serde::Serialize;
use serde_json::Value;

use crate::platform::error::Error;
use crate::platform::http::RequestContext;
use crate::platform::http::quota_headers::QuotaState;
use crate::platform::telemetry::metrics::Metrics;

/// Marks a response of 400 or above that keeps its own body (readiness).
#[derive(Debug, Clone, Copy)]
pub struct OwnBody;

/// Writes error bodies, and counts and logs the errors.
pub struct Errors {
    count: IntCounterVec,
    /// The limit in bytes, reported if the framework rejects a body as too large.
    max_body: usize,
}

impl Errors {
    pub fn new(metrics: &Metrics, max_body: usize) -> Self {
        Self { count: metrics.counter("errors_total", "Error answers by code", &["code"]), max_body }
    }

    /// Gives an answer of 400 or above the error envelope.
    pub fn render(&self, mut response: Response, context: &RequestContext) -> Response {
        let status = response.status();
        if !(status.is_client_error() || status.is_server_error()) || response.extensions().get::<OwnBody>().is_some() {
            return response;
        }
        let error = response.extensions_mut().remove::<Arc<Error>>().unwrap_or_else(|| Arc::new(Error::from_status(status, self.max_body)));
        self.count.with_label_values(&[error.code().name]).inc();
        log(&error);
        let body = envelope(&error, &context.request_id);
        *response.status_mut() = error.status();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if error.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(*error, Error::UnsupportedCoding) {
            // RFC 9110 §12.5.3: says which codings would be accepted.
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(seconds) = error.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Error::PlanLimit { limit, used, resets_at, .. } = *error {
            QuotaState { limit, used, resets_at }.set_headers(headers);
        }
        *response.body_mut() = Body::from(body);
        response
    }
}

/// `{"error": {…}}`, the shape of every error.
#[derive(Serialize)]
struct Envelope<'e> {
    error: Content<'e>,
}

#[derive(Serialize)]
struct Content<'e> {
    code: &'static str,
    message: String,
    details: Value,
    request_id: &'e str,
}

impl<'e> Content<'e> {
    fn of(error: &Error, request_id: &'e str) -> Self {
        Self { code: error.code().name, message: error.to_string(), details: error.details(), request_id }
    }
}

/// Renders an error that ends a response after its head was sent, such as a stream of events, and logs its cause.
pub fn render_late(error: &Error, request_id: &str) -> String {
    log(error);
    envelope(error, request_id)
}

fn envelope(error: &Error, request_id: &str) -> String {
    serde_json::to_string(&Envelope { error: Content::of(error, request_id) }).unwrap_or_default()
}

/// Logs the cause of a 5xx, which is never sent to clients.
fn log(error: &Error) {
    match error {
        Error::Internal(cause) => {
            let cause: &(dyn std::error::Error + 'static) = cause.as_ref();
            tracing::error!(error = cause, code = error.code().name, "request failed");
        }
        Error::Upstream { service, cause, .. } => tracing::error!(service, cause, code = error.code().name, "an outside service failed"),
        Error::Unavailable { message, .. } => tracing::warn!(reason = message, code = error.code().name, "request refused"),
        _ => {}
    }
}
