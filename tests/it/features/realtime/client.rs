//! A WebSocket client that checks the shape of every frame.

use std::time::Duration;

use chrono::DateTime;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::harness::raw::within;

pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// Whose connection it is, once the server has told.
    pub user: String,
}

impl Socket {
    /// Opens a connection with this query and these headers; fails unless the server upgrades.
    pub async fn open(url: &str, query: &str, headers: &[(&'static str, &str)]) -> Self {
        let authority = url.trim_start_matches("http://");
        let mut request = format!("ws://{authority}/api/v1/app/ws{query}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = within("a connection", TcpStream::connect(authority)).await.unwrap();
        let (stream, _) = within("the server upgrades", Box::pin(client_async(request, stream))).await.unwrap();
        Self { stream, user: String::new() }
    }

    /// Opens a connection with this token, and reads the first frame.
    pub async fn with_token(url: &str, token: &str) -> Self {
        Self::open(url, &format!("?token={token}"), &[]).await.greeted().await
    }

    /// Reads the first frame.
    pub async fn greeted(mut self) -> Self {
        let frame = self.expect("connected").await;
        frame["data"]["user_id"].as_str().unwrap().clone_into(&mut self.user);
        self
    }

    pub async fn text(&mut self, text: &str) {
        within("the server reads", self.stream.send(Message::text(text))).await.unwrap();
    }

    pub async fn send(&mut self, frame: Value) {
        self.text(&frame.to_string()).await;
    }

    /// Sends a frame of the protocol itself; fails if the connection is lost.
    pub async fn message(&mut self, message: Message) {
        within("the server reads", self.stream.send(message)).await.unwrap();
    }

    /// The next message but pings and pongs; `None` at the end of the connection.
    async fn next(&mut self) -> Option<Message> {
        loop {
            match within("the server sends a frame", self.stream.next()).await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Value {
        let message = self.next().await;
        let Some(Message::Text(text)) = message else { panic!("no frame, but {message:?}") };
        checked(&text)
    }

    /// The next frame, which must have this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next frame of this type.
    pub async fn skip_to(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["type"] == kind {
                return frame;
            }
        }
    }

    /// Sends a frame, and returns the next one.
    pub async fn ask(&mut self, frame: Value) -> Value {
        self.send(frame).await;
        self.frame().await
    }

    /// Sends a text, and returns the code of the error that follows.
    pub async fn refusal(&mut self, text: &str) -> String {
        self.text(text).await;
        let error = self.expect("error").await;
        let data = &error["data"];
        assert!(data["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
        assert!(data["details"].is_object() || data["details"].is_null(), "{error}");
        assert_eq!((data.as_object().unwrap().len(), &error["channel"]), (3, &Value::Null), "{error}");
        data["code"].as_str().unwrap().to_owned()
    }

    pub async fn subscribe(&mut self, channel: &str) {
        let reply = self.ask(json!({"type": "subscribe", "channel": channel})).await;
        let told = (&reply["type"], &reply["data"], &reply["channel"]);
        assert_eq!(told, (&json!("subscribed"), &json!({"channel": channel}), &json!(channel)));
    }

    /// Publishes, and waits for the reply.
    pub async fn publish(&mut self, channel: &str, data: Value) {
        let reply = self.ask(json!({"type": "message", "channel": channel, "data": data, "id": "m"})).await;
        assert_eq!((&reply["type"], &reply["data"], &reply["channel"]), (&json!("ack"), &json!({"id": "m"}), &Value::Null));
    }

    /// The next frame, which must be a message: its content.
    pub async fn content(&mut self) -> Value {
        self.expect("message").await["data"]["content"].clone()
    }

    /// Checks that nothing else was sent before.
    pub async fn is_quiet(&mut self) {
        let reply = self.ask(json!({"type": "ping"})).await;
        assert_eq!((&reply["type"], &reply["data"], &reply["channel"]), (&json!("pong"), &Value::Null, &Value::Null), "{reply}");
    }

    /// The next change of another user's presence.
    pub async fn presence(&mut self) -> (String, String) {
        loop {
            let frame = self.frame().await;
            assert_eq!(frame["channel"], "presence", "{frame}");
            assert_eq!(frame["data"].as_object().unwrap().len(), 1, "{frame}");
            let user = frame["data"]["user_id"].as_str().unwrap();
            if user != self.user {
                return (frame["type"].as_str().unwrap().to_owned(), user.to_owned());
            }
        }
    }

    /// The code with which the server closes; nothing else may come before or after.
    pub async fn closed(&mut self) -> u16 {
        let (frames, code) = self.end().await;
        assert_eq!(frames, Vec::<Value>::new());
        code
    }

    /// As [`Socket::closed`], for a close that may take longer than a test step.
    pub async fn closed_in(&mut self, limit: Duration) -> u16 {
        let closed = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
                    Some(Ok(Message::Ping(_))) => {}
                    other => panic!("no close frame, but {other:?}"),
                }
            }
        };
        timeout(limit, closed).await.unwrap_or_else(|_| panic!("not closed within {limit:?}"))
    }

    /// The last frames, and the code with which the server closes.
    pub async fn end(&mut self) -> (Vec<Value>, u16) {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Some(Message::Text(text)) => frames.push(checked(&text)),
                Some(Message::Close(Some(close))) => {
                    assert!(self.next().await.is_none(), "something follows the close frame");
                    return (frames, close.code.into());
                }
                other => panic!("no close frame, but {other:?} after {frames:?}"),
            }
        }
    }
}

/// A frame with exactly the members of all frames.
#[track_caller]
fn checked(text: &str) -> Value {
    let frame: Value = serde_json::from_str(text).unwrap();
    let mut keys: Vec<_> = frame.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["channel", "data", "timestamp", "type"], "{text}");
    assert!(frame["type"].is_string() && (frame["data"].is_object() || frame["data"].is_null()), "{text}");
    assert!(frame["channel"].is_string() || frame["channel"].is_null(), "{text}");
    let timestamp = frame["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && DateTime::parse_from_rfc3339(timestamp).is_ok(), "{text}");
    frame
}
