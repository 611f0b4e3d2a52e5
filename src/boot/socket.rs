//! A TCP connection with the limits that hyper does not set: a write that makes no progress fails, and a close lingers.
//!
//! Lingering close: the kernel resets a socket that is closed with unread bytes. A client that is still sending a rejected
//! body (413, 401) would see a broken pipe instead of the response (RFC 9112 §9.6). So what the client still sends is read
//! and discarded for a limited time.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::peers::Admission;

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Maximum time to read after the response; then the connection is closed.
const LINGER: Duration = Duration::from_secs(2);

/// Protocol of a connection, known from its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// An accepted connection. It holds its admission until it is dropped, also after an upgrade.
pub struct Socket {
    stream: TcpStream,
    /// The bytes that told the protocol, and those of them that are not passed on yet.
    first: [u8; PREFACE.len()],
    unread: Range<usize>,
    /// Maximum time of a write without progress.
    patience: Duration,
    /// Kept between writes, because resetting a timer is cheaper than a new one.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether a write is waiting, so that the timer counts.
    waiting: bool,
    /// Set once our side is closed.
    lingering: Option<Pin<Box<Sleep>>>,
    _admission: Admission,
}

impl Socket {
    pub fn new(stream: TcpStream, patience: Duration, admission: Admission) -> Self {
        // Disables Nagle's algorithm: small responses must not wait for a delayed ACK.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            first: [0; PREFACE.len()],
            unread: 0..0,
            patience,
            timer: None,
            waiting: false,
            lingering: None,
            _admission: admission,
        }
    }

    /// Reads until the protocol is known. `None` if the client closed before it sent anything.
    pub async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        loop {
            let filled = self.unread.end;
            let read = self.stream.read(&mut self.first[filled..]).await?;
            if read == 0 && filled == 0 {
                return Ok(None);
            }
            self.unread.end = filled + read;
            if read == 0 || !PREFACE.starts_with(&self.first[..self.unread.end]) {
                return Ok(Some(Protocol::Http1));
            }
            if self.unread.end == PREFACE.len() {
                return Ok(Some(Protocol::Http2));
            }
        }
    }

    /// Passes on the outcome of a write, or fails if the write has waited for too long.
    fn or_stalled(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        let timer = match (&mut self.timer, self.waiting) {
            (Some(timer), true) => timer,
            (timer, _) => {
                let deadline = Instant::now() + self.patience;
                let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                timer.as_mut().reset(deadline);
                self.waiting = true;
                timer
            }
        };
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let passed = self.unread.len().min(buffer.remaining());
        let start = self.unread.start;
        buffer.put_slice(&self.first[start..start + passed]);
        self.unread.start += passed;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.or_stalled(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.or_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        let Self { stream, lingering, .. } = &mut *self;
        let until = lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut dropped = [0; 4096];
        loop {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
