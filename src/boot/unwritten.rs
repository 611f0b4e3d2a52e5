//! Response bodies until they are written: what a body holds (its place in a pool, its share of the memory budget) is
//! released when the client took the last byte, not when hyper took it. A client that takes nothing loses the stream or
//! the connection.
//!
//! HTTP/1 writes one response at a time, so [`super::socket`] notices a client that does not read. HTTP/2 accepts bytes
//! from many responses and keeps them until each stream's flow-control window opens:
//!
//! - [`Streams`] ends a stream whose bytes make no progress. Bodies above [`SMALL`] report their end only when all of
//!   their bytes are written, so that the stream can still be reset until then.
//! - A small body is given away with the end of its stream, which saves a frame and a wake-up. Then only the connection can
//!   be ended: [`Tails`] tells when.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use http::{Response, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

/// Largest HTTP/2 body that is given away with the end of its stream: one frame.
const SMALL: u64 = 16 * 1024;
/// Turns that [`Tails`] tells apart.
const TURNS: usize = 4;

/// Times are kept as milliseconds since then.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

tokio::task_local! {
    static STREAM: Arc<Progress>;
}

/// Writing progress of one response.
#[derive(Default)]
struct Progress {
    /// Pieces given to hyper and not written completely.
    unwritten: AtomicUsize,
    /// Time of the last byte that was given or written, in milliseconds since [`START`].
    moved: AtomicU64,
    /// The body that waits for its last byte.
    waiting: AtomicWaker,
}

impl Progress {
    fn move_on(&self) {
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// The time at which the client has taken nothing for `limit`. `None` if nothing waits for it.
    fn deadline(&self, limit: Duration) -> Option<Instant> {
        let waits = self.unwritten.load(Ordering::Acquire) > 0;
        waits.then(|| *START + Duration::from_millis(self.moved.load(Ordering::Relaxed)) + limit)
    }

    fn poll_written(&self, cx: &Context<'_>) -> Poll<()> {
        if self.unwritten.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        self.waiting.register(cx.waker());
        // Looks again: the last piece may have been written before the waker was registered.
        if self.unwritten.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Bytes of a response, as hyper takes and writes them.
pub struct Piece {
    bytes: Bytes,
    progress: Option<Arc<Progress>>,
    /// Held by the last piece: the body, with all that it holds.
    _body: Option<Body>,
    _tail: Option<Tail>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(progress) = &self.progress {
            progress.move_on();
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.move_on();
            progress.unwritten.fetch_sub(1, Ordering::AcqRel);
            progress.waiting.wake();
        }
    }
}

/// A response body for hyper.
pub struct Unwritten {
    /// Moves into the last piece.
    body: Option<Body>,
    /// Bytes to come, if known.
    remaining: Option<u64>,
    /// Whether the body has no more frames.
    ended: bool,
    /// Whether the end is reported only when all bytes are written.
    ends_when_written: bool,
    progress: Option<Arc<Progress>>,
    tails: Option<Arc<Tails>>,
}

impl Unwritten {
    /// Wraps the body of a response on a connection with these `tails`.
    pub fn wrap(response: Response<Body>, version: Version, tails: &Arc<Tails>) -> Response<Self> {
        let announced = || response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let remaining = response.body().size_hint().exact().or_else(announced);
        let http2 = version == Version::HTTP_2;
        let small = http2 && remaining.is_some_and(|bytes| bytes <= SMALL);
        let ends_when_written = if http2 { !small } else { remaining.is_none() };
        let progress = match (http2, ends_when_written) {
            (true, _) => STREAM.try_with(Arc::clone).ok(),
            (false, true) => Some(Arc::default()),
            (false, false) => None,
        };
        let tails = small.then(|| tails.clone());
        response.map(|body| Self { body: Some(body), remaining, ended: false, ends_when_written, progress, tails })
    }

    fn piece(&mut self, bytes: Bytes) -> Piece {
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(bytes.len() as u64);
        }
        self.ended = self.remaining == Some(0) || self.body.as_ref().is_none_or(Body::is_end_stream);
        if let Some(progress) = &self.progress {
            progress.move_on();
            progress.unwritten.fetch_add(1, Ordering::AcqRel);
        }
        Piece {
            bytes,
            progress: self.progress.clone(),
            _body: if self.ended { self.body.take() } else { None },
            _tail: if self.ended { self.tails.take().map(Tails::add) } else { None },
        }
    }
}

impl http_body::Body for Unwritten {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let this = &mut *self;
        if !this.ended
            && let Some(body) = &mut this.body
        {
            match ready!(Pin::new(body).poll_frame(cx)) {
                Some(frame) => return Poll::Ready(Some(frame.map(|frame| frame.map_data(|bytes| this.piece(bytes))))),
                None => this.ended = true,
            }
        }
        if this.ends_when_written
            && let Some(progress) = &this.progress
        {
            ready!(progress.poll_written(cx));
        }
        this.body = None;
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Some(body) if !self.ended => body.is_end_stream(),
            body => body.is_none() && !self.ends_when_written,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// Runs the streams of an HTTP/2 connection, and resets those whose client takes nothing for a time.
#[derive(Clone)]
pub struct Streams {
    pub limit: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let progress = Arc::new(Progress::default());
        let stream = STREAM.scope(progress.clone(), stream);
        tokio::spawn(while_moving(stream, progress, self.limit));
    }
}

/// Runs a stream until it ends, or drops it when its client has taken nothing for `limit`.
async fn while_moving(stream: impl Future, progress: Arc<Progress>, limit: Duration) {
    let (mut stream, mut timer) = (pin!(stream), None::<Pin<Box<Sleep>>>);
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let Some(deadline) = progress.deadline(limit) else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.deadline() < deadline && timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            // Bytes that were written since the timer was set do not wake the stream.
            if progress.deadline(limit).is_some_and(|deadline| deadline <= Instant::now()) {
                tracing::debug!("a stream made no progress and is reset");
                return Poll::Ready(());
            }
        }
    })
    .await;
}

/// The last pieces of small HTTP/2 bodies on one connection, counted by the turn in which they were given. A turn is a
/// third of the time that a client may take nothing.
#[derive(Default)]
pub struct Tails {
    turn: AtomicUsize,
    unwritten: [AtomicUsize; TURNS],
}

struct Tail {
    tails: Arc<Tails>,
    turn: usize,
}

impl Tails {
    fn add(self: Arc<Self>) -> Tail {
        let turn = self.turn.load(Ordering::Relaxed) % TURNS;
        self.unwritten[turn].fetch_add(1, Ordering::Relaxed);
        Tail { tails: self, turn }
    }

    /// Returns once a tail has been unwritten for `limit`, at most a third more.
    pub async fn stalled(&self, limit: Duration) {
        loop {
            tokio::time::sleep(limit / 3).await;
            let next = self.turn.load(Ordering::Relaxed).wrapping_add(1);
            if self.unwritten[next % TURNS].load(Ordering::Relaxed) > 0 {
                return;
            }
            self.turn.store(next, Ordering::Relaxed);
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.tails.unwritten[self.turn].fetch_sub(1, Ordering::Relaxed);
    }
}
