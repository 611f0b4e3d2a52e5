//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, header};

/// A comment is sent after this time without an event, so that proxies do not close an idle stream.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers with a stream of events and a heart-beat. For routes whose policy is a stream.
pub fn events(stream: impl Stream<Item = Event> + Send + 'static) -> Response {
    let mut response = Sse::new(stream.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // The policy of the route says how long the answer may be kept.
    response.headers_mut().remove(header::CACHE_CONTROL);
    // nginx would otherwise collect events before it passes them on.
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}
