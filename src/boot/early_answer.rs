//! Requests that are answered before their body is read (401, 404, 405, 413, 429, 503).
//!
//! HTTP/1 reuses a connection only after the whole request was read. So what is left of a body is read and discarded, as
//! far as that is cheap; otherwise the response must say `Connection: close`, or the client's next request would fail.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

/// Maximum number of bytes that are read and discarded.
const MOST: u64 = 256 * 1024;
/// Maximum time for it. The response waits as long, because its head must say whether the connection stays.
const PATIENCE: Duration = Duration::from_secs(2);

/// A request's body. If it is dropped before its end, the rest goes back to the connection.
struct Lent {
    /// Set until it is dropped.
    body: Option<Incoming>,
    started: bool,
    back: Arc<Mutex<Option<Rest>>>,
}

struct Rest {
    body: Incoming,
    started: bool,
}

/// What the handler leaves of a request's body.
pub struct Unread {
    back: Option<Arc<Mutex<Option<Rest>>>>,
    expects_continue: bool,
}

/// Prepares a request for the router. Returns the part that knows what was not read.
pub fn lend(request: Request<Incoming>) -> (Request<Body>, Unread) {
    if request.body().is_end_stream() {
        return (request.map(|_| Body::empty()), Unread { back: None, expects_continue: false });
    }
    let back = Arc::new(Mutex::new(None));
    let unread = Unread { back: Some(back.clone()), expects_continue: expects_continue(request.headers()) };
    (request.map(|body| Body::new(Lent { body: Some(body), started: false, back })), unread)
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Unread {
    /// Reads and discards what is left. Returns whether the body has ended, so that the connection can be reused.
    pub async fn discard(self) -> bool {
        let Some(back) = self.back else { return true };
        // None if it was read to its end.
        let Some(Rest { mut body, started }) = back.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        // The client waits for this response before it sends the body, and reading would ask for the body.
        if self.expects_continue && !started {
            return false;
        }
        if body.size_hint().lower() > MOST {
            return false;
        }
        let rest = async {
            let mut left = MOST;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(less) = left.checked_sub(length) else { return false };
                left = less;
            }
            true
        };
        timeout(PATIENCE, rest).await.unwrap_or(false)
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.started = true;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
        {
            *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(Rest { body, started: self.started });
        }
    }
}
