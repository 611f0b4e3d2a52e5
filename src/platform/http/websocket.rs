//! The opening handshake of WebSockets (RFC 6455 §4), and sockets with small buffers.
//!
//! Our own instead of axum's, because a socket must tell a broken frame from a lost connection to close with the right code,
//! and its errors are those of the socket library then.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

pub use tokio_tungstenite::tungstenite::error::{CapacityError, Error as SocketError, ProtocolError};
pub use tokio_tungstenite::tungstenite::protocol::CloseFrame;
pub use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
pub use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::platform::error::{Error, Result};

/// An open socket.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Read buffer of a socket in bytes. The library's default of 128 KiB would be most of the memory of an idle socket.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes that are gathered before they are written.
const WRITE_BUFFER: usize = 4 * 1024;
/// Time from the response to the upgraded connection.
const UPGRADE: Duration = Duration::from_secs(10);

/// Limits of one socket.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest message that is read, in bytes.
    pub message: usize,
    /// Most bytes that wait to be written.
    pub unwritten: usize,
}

/// A request to open a socket.
pub struct Upgrade {
    on: OnUpgrade,
    accept: HeaderValue,
}

impl Upgrade {
    /// Reads the handshake; fails with [`Error::BadRequest`] if the request is none.
    pub fn read(request: &mut Request) -> Result<Self> {
        let refused = |why: &str| Error::BadRequest(why.to_owned());
        if request.method() != Method::GET || request.version() != Version::HTTP_11 {
            return Err(refused("A WebSocket is opened by a GET request of HTTP/1.1"));
        }
        let headers = request.headers();
        if !lists(headers, &header::CONNECTION, "upgrade") || !lists(headers, &header::UPGRADE, "websocket") {
            return Err(refused("Open a WebSocket here: the headers `Connection: Upgrade` and `Upgrade: websocket` are missing"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(refused("Sec-WebSocket-Version must be 13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
        let accept = key.map(derive_accept_key).and_then(|accept| HeaderValue::try_from(accept).ok());
        let accept = accept.ok_or_else(|| refused("Sec-WebSocket-Key must be 16 bytes in base64"))?;
        let on = request.extensions_mut().remove().ok_or_else(|| refused("This connection cannot be upgraded"))?;
        Ok(Self { on, accept })
    }

    /// Answers the handshake, and runs `serve` with the socket in a task of its own.
    pub fn accept<F: Future<Output = ()> + Send>(self, limits: Limits, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response {
        let Self { on, accept } = self;
        tokio::spawn(async move {
            // The client may have left before it read the response.
            let Ok(Ok(upgraded)) = timeout(UPGRADE, on).await else { return };
            let config = WebSocketConfig::default()
                .read_buffer_size(READ_BUFFER)
                .write_buffer_size(WRITE_BUFFER)
                .max_write_buffer_size(limits.unwritten.max(WRITE_BUFFER * 2))
                .max_message_size(Some(limits.message))
                .max_frame_size(Some(limits.message));
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            serve(socket).await;
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        response
    }
}

/// Whether a comma-separated header lists the word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}
