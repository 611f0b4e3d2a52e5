//! The frames that wait to be sent on one connection, bounded in bytes, and in number while the client takes none. Who sends never
//! waits: a connection whose client reads too slowly is closed.
//!
//! The number counts once a write has waited for a second: otherwise a thousand messages at once would close clients that read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::config::QUEUED_FRAMES;
use crate::platform::http::websocket::Utf8Bytes;

/// Capacity that an empty queue keeps.
const KEPT: usize = 8;
/// How long a write may wait before the number of frames counts.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client reads too slowly.
    SlowReader,
    /// The user has as many connections as they may.
    TooMany,
    /// The token, the session or the account ended.
    Unauthorized,
    /// The server stops.
    Stopping,
    /// The service cannot check the caller at the moment.
    Unavailable,
    TooLarge,
    NotUtf8,
    Protocol,
}

/// What the task of a connection has to do.
#[derive(Debug)]
pub enum Next {
    Frame(Utf8Bytes),
    /// Check whether the user may still be connected.
    Check,
    End(End),
}

pub struct Outbox {
    waiting: Mutex<Waiting>,
    wake: Notify,
    most_bytes: usize,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    /// Since when a write waits for the client.
    stuck: Option<Instant>,
    check: bool,
    end: Option<End>,
}

impl Outbox {
    pub fn new(most_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), most_bytes }
    }

    /// Adds a frame. If it does not fit, the connection ends; what waits is dropped.
    pub fn push(&self, frame: &Utf8Bytes) {
        let mut waiting = self.waiting();
        if waiting.end.is_some() {
            return;
        }
        let too_many = waiting.frames.len() >= QUEUED_FRAMES && waiting.stuck.is_some_and(|since| since.elapsed() >= PATIENCE);
        if too_many || waiting.bytes + frame.len() > self.most_bytes {
            waiting.end(End::SlowReader);
        } else {
            waiting.bytes += frame.len();
            waiting.frames.push_back(frame.clone());
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Asks for a check of the user.
    pub fn check(&self) {
        self.waiting().check = true;
        self.wake.notify_one();
    }

    /// Ends the connection. What waits is dropped.
    pub fn end(&self, end: End) {
        self.waiting().end(end);
        self.wake.notify_one();
    }

    /// Waits for the next thing to do. Only for the task of the connection.
    pub async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            self.wake.notified().await;
        }
    }

    pub fn try_next(&self) -> Option<Next> {
        let mut waiting = self.waiting();
        if let Some(end) = waiting.end {
            return Some(Next::End(end));
        }
        if std::mem::take(&mut waiting.check) {
            return Some(Next::Check);
        }
        waiting.pop().map(Next::Frame)
    }

    /// The next frame, if there is nothing else to do.
    pub fn try_next_frame(&self) -> Option<Utf8Bytes> {
        let mut waiting = self.waiting();
        if waiting.end.is_some() || waiting.check { None } else { waiting.pop() }
    }

    /// Tells since when a write waits for the client; `None` if none does.
    pub fn set_stuck(&self, since: Option<Instant>) {
        self.waiting().stuck = since;
    }

    /// Waits until the connection has to end, while a write is stuck.
    pub async fn ended(&self) -> End {
        loop {
            if let Some(end) = self.waiting().end {
                return end;
            }
            self.wake.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Utf8Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        if self.frames.is_empty() && self.frames.capacity() > KEPT {
            // After a burst ten thousand connections would keep the memory.
            self.frames.shrink_to(KEPT);
        }
        Some(frame)
    }

    fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.frames = VecDeque::new();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outbox_is_bounded_in_frames_and_bytes() {
        let outbox = Outbox::new(1000);
        for _ in 0..QUEUED_FRAMES {
            outbox.push(&"x".into());
        }
        outbox.set_stuck(Some(Instant::now()));
        outbox.push(&"x".into());
        assert!(matches!(outbox.try_next(), Some(Next::Frame(_))), "a client may take a moment");
        outbox.set_stuck(Instant::now().checked_sub(PATIENCE));
        outbox.push(&"x".into());
        assert!(matches!(outbox.try_next(), Some(Next::End(End::SlowReader))));

        let outbox = Outbox::new(1000);
        outbox.push(&"x".repeat(600).into());
        outbox.push(&"x".repeat(400).into());
        assert!(matches!(outbox.try_next(), Some(Next::Frame(_))));
        outbox.push(&"x".repeat(601).into());
        assert!(matches!(outbox.try_next(), Some(Next::End(End::SlowReader))));
    }
}
