//! Whether the process takes requests, and the end of what outlives them: sockets and streams.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::platform::crypto;

/// Ready between the end of the start and the signal to stop.
#[derive(Debug, Default)]
pub struct Phase {
    ready: AtomicBool,
    /// Cancelled when no further request is accepted.
    draining: CancellationToken,
    sockets: TaskTracker,
}

impl Phase {
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::SeqCst);
    }

    pub fn set_stopping(&self) {
        self.ready.store(false, Ordering::SeqCst);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }

    /// Asks sockets and streams to end.
    pub fn drain(&self) {
        self.draining.cancel();
        self.sockets.close();
    }

    /// Returns when this socket or stream should end: each at another moment of the first half of `grace`, so that not all clients
    /// come back at once.
    pub async fn turn_to_end(&self, grace: Duration) {
        self.draining.cancelled().await;
        tokio::time::sleep(crypto::random_part(grace / 2)).await;
    }

    /// A socket holds the token until it is closed: the process waits for it.
    pub fn socket(&self) -> TaskTrackerToken {
        self.sockets.token()
    }

    /// Waits until every socket is closed.
    pub async fn sockets_closed(&self) {
        self.sockets.wait().await;
    }
}
