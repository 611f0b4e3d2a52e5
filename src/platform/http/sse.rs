//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, header};

/// Interval of comments on an idle stream, so that proxies do not close it.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Keeps nginx from buffering events.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Builds a response of server-sent events with a heartbeat. For routes with a stream policy.
pub fn events(stream: impl Stream<Item = Event> + Send + 'static) -> Response {
    let mut response = Sse::new(stream.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // The route's policy sets `Cache-Control`.
    response.headers_mut().remove(header::CACHE_CONTROL);
    response.headers_mut().insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Builds a response of frames that hold written events and comments. For routes whose other responses must not be stored.
pub fn frames(stream: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Body::from_stream(stream.map(Ok::<_, Infallible>)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
