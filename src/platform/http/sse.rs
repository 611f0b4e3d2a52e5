//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, header};

/// Interval of comments on an idle stream, so that proxies do not close it.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Builds a response of server-sent events with a heartbeat. For routes with a stream policy.
pub fn events(stream: impl Stream<Item = Event> + Send + 'static) -> Response {
    let mut response = Sse::new(stream.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // The route's policy sets `Cache-Control`.
    response.headers_mut().remove(header::CACHE_CONTROL);
    // Keeps nginx from buffering events.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
