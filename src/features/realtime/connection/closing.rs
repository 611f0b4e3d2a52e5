//! The end of a connection: the close frame, the client's reply, the last byte.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::session::{Ended, Session};
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

/// Closes the socket.
pub async fn close(socket: &mut Socket, ended: Ended, mut session: Option<Session>) {
    if ended != Ended::ByServer(End::Stopping) {
        session = None;
    }
    let closed = async {
        match ended {
            Ended::Gone => return,
            // The next read writes the reply.
            Ended::ByClient => {}
            Ended::ByServer(end) => {
                if socket.close(Some(end.frame())).await.is_err() || !end.is_readable() {
                    return;
                }
            }
        }
        while let Some(Ok(message)) = socket.next().await {
            // Sent before the client could know of the stop: it is delivered, or the client gets no reply and sends it again.
            if let (Message::Text(text), Some(session)) = (message, &mut session) {
                session.deliver_last(&text).await;
            }
        }
    };
    // A client that does not reply is cut off.
    let _ = timeout(REPLY, closed).await;
    drop(session);
    // Fails if the client is gone.
    let _ = timeout(LINGER, socket.get_mut().shutdown()).await;
}
