//! The one place that writes an error's body, whoever raised it: a handler, the router, a layer, a panic.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use crate::platform::error::Error;
use crate::platform::telemetry::context::RequestContext;
use crate::platform::telemetry::metrics::METRICS;

/// Marks an answer of 400 or above whose body is not the envelope on purpose (readiness).
#[derive(Debug, Clone, Copy)]
pub struct OwnBody;

/// Bytes that a body may have where a bare framework error speaks of too large a one.
#[derive(Debug, Clone, Copy)]
pub struct MaxBody(pub usize);

pub async fn render_errors(State(max_body): State<MaxBody>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || response.extensions().get::<OwnBody>().is_some() {
        return response;
    }
    let error = response.extensions_mut().remove::<Arc<Error>>().unwrap_or_else(|| Arc::new(Error::from_status(status, max_body.0)));
    METRICS.errors.with_label_values(&[error.code()]).inc();
    log(&error);
    let context = RequestContext::current();
    let body = Envelope { error: Content::of(&error, context.as_deref()) };
    let body = serde_json::to_string(&body).unwrap_or_default();
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if error.status() == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    *response.body_mut() = Body::from(body);
    response
}

/// `{"error": {…}}`, the one shape of every error.
#[derive(Serialize)]
struct Envelope<'e> {
    error: Content<'e>,
}

#[derive(Serialize)]
struct Content<'e> {
    code: &'static str,
    message: String,
    details: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'e str>,
}

impl<'e> Content<'e> {
    fn of(error: &Error, context: Option<&'e RequestContext>) -> Self {
        let request_id = context.map(|context| context.request_id.as_str());
        Self { code: error.code(), message: error.to_string(), details: error.details(), request_id }
    }
}

/// The cause of a 5xx stands in the log alone.
fn log(error: &Error) {
    match error {
        Error::Internal(cause) => {
            let cause: &(dyn std::error::Error + 'static) = cause.as_ref();
            tracing::error!(error = cause, code = error.code(), "request failed");
        }
        Error::Upstream { service, cause, .. } => tracing::error!(service, cause, code = error.code(), "an outside service failed"),
        Error::Unavailable { message, .. } => tracing::warn!(reason = message, code = error.code(), "request refused"),
        _ => {}
    }
}
