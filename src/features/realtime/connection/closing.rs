//! The end of a connection: the close frame, the client's reply, the last byte.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::session::Session;
use crate::features::realtime::outbox::End;
use crate::platform::http::websocket::{CloseCode, CloseFrame, Message, Socket};

/// How long a client may take for its reply, and a slow one to read what was begun.
const REPLY: Duration = Duration::from_secs(5);
/// How long the connection takes what a client still sends.
const LINGER: Duration = Duration::from_secs(3);

impl End {
    fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::SlowReader => (CloseCode::Again, "too slow"),
            Self::TooMany => (CloseCode::Again, "too many connections"),
            Self::Unavailable => (CloseCode::Again, "try again later"),
            Self::Unauthorized => (CloseCode::Policy, "not authorized"),
            Self::Stopping => (CloseCode::Away, "server shutting down"),
            Self::TooLarge => (CloseCode::Size, "message too large"),
            Self::NotUtf8 => (CloseCode::Invalid, "not UTF-8"),
            Self::Protocol => (CloseCode::Protocol, "protocol error"),
        };
        CloseFrame { code, reason: reason.into() }
    }

    /// Whether what the client sends now can still be read as frames.
    fn is_readable(self) -> bool {
        !matches!(self, Self::TooLarge | Self::NotUtf8 | Self::Protocol)
    }
}

/// Closes the socket; `None` if the client closed it, or is gone.
pub async fn close(socket: &mut Socket, end: Option<End>, mut session: Option<Session>) {
    if end != Some(End::Stopping) {
        session = None;
    }
    if let Some(end) = end {
        let closed = async {
            if socket.close(Some(end.frame())).await.is_err() || !end.is_readable() {
                return;
            }
            while let Some(Ok(message)) = socket.next().await {
                // Sent before the client could know of the stop: it is delivered, or the client gets no reply and sends it again.
                if let (Message::Text(text), Some(session), End::Stopping) = (message, &mut session, end) {
                    session.deliver_last(&text).await;
                }
            }
        };
        // A client that does not reply is cut off.
        let _ = timeout(REPLY, closed).await;
    }
    if end.is_none() {
        // Who closed while frames were on their way to them gets the reply to it.
        let _ = timeout(REPLY, socket.flush()).await;
    }
    drop(session);
    // Fails if the client is gone.
    let _ = timeout(LINGER, socket.get_mut().shutdown()).await;
}
