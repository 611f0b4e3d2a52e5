//! Response body that owns the request's context: place, gauge and duration last until its last byte is written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::platform::http::RequestContext;

/// Timeout of a body that makes no progress.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// At this time, whatever was sent before.
    Until(Instant),
    /// After this time without data.
    Idle(Duration),
    /// Never: the limit is set elsewhere.
    Endless,
}

/// Body that holds its request's context until it ends or is dropped. Fails with [`Stalled`] at its timeout.
pub struct TrackedBody {
    inner: Body,
    patience: Patience,
    /// Set while the inner body is pending. A body in memory never needs it.
    timer: Option<Pin<Box<Sleep>>>,
    context: Arc<RequestContext>,
}

impl TrackedBody {
    pub fn wrap(inner: Body, patience: Patience, context: Arc<RequestContext>) -> Body {
        Body::new(Self { inner, patience, timer: None, context })
    }
}

/// The handler's body stalled. The connection is closed, because the response cannot be completed.
#[derive(Debug, thiserror::Error)]
#[error("the answer took too long")]
pub struct Stalled;

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.timer = None;
            return Poll::Ready(frame);
        }
        let timer = match this.patience {
            Patience::Until(at) => this.timer.get_or_insert_with(|| Box::pin(sleep_until(at))),
            Patience::Idle(idle) => this.timer.get_or_insert_with(|| Box::pin(sleep(idle))),
            Patience::Endless => return Poll::Pending,
        };
        if timer.as_mut().poll(cx).is_ready() {
            tracing::warn!(request_id = this.context.request_id, "the answer's body stalled and is cut off");
            return Poll::Ready(Some(Err(axum::Error::new(Stalled))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn body_stalled_ends_with_error() {
        for patience in [Patience::Until(Instant::now() + Duration::from_millis(20)), Patience::Idle(Duration::from_millis(20))] {
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>("a")]).chain(futures_util::stream::pending());
            let mut body = TrackedBody::wrap(Body::from_stream(pieces), patience, RequestContext::unobserved("x"));
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
            assert!(body.frame().await.unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn request_context_lives_until_body_is_dropped() {
        let context = RequestContext::unobserved("x");
        let body = TrackedBody::wrap(Body::from("abc"), Patience::Endless, context.clone());
        assert_eq!((Arc::strong_count(&context), body.size_hint().exact()), (2, Some(3)));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(Arc::strong_count(&context), 1);
    }
}
