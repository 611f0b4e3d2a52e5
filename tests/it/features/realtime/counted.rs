//! Metrics of connections and frames.

use serde_json::json;

use super::client::Socket;
use super::{connect, metric};
use crate::harness::{Backend, TestApp, eventually};

crate::on_sqlite![connections_and_frames_are_in_the_metrics];

async fn connections_and_frames_are_in_the_metrics(b: Backend) {
    let t = TestApp::start(b).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut socket, mut other) = (connect(&t, &amy).await, connect(&t, &bob).await);
    let open = async |status: &str| metric(&t, &format!("websocket_connections{{status=\"{status}\"}}")).await;
    assert_eq!((open("connected").await, open("authenticated").await), (2, 2));
    assert_eq!(Socket::open(&t.url, "?token=junk", &[]).await.closed().await, 1008);
    socket.subscribe("room:a").await;
    other.subscribe("room:a").await;
    socket.publish("room:a", json!(1)).await;
    other.content().await;
    socket.refusal(r#"{"type":"<script>"}"#).await;
    socket.refusal("{").await;
    socket.is_quiet().await;
    let frames = async |direction: &str, kind: &str| {
        metric(&t, &format!("websocket_messages_total{{direction=\"{direction}\",type=\"{kind}\"}}")).await
    };
    for (direction, kind, count) in [
        ("received", "ping", 1),
        ("received", "subscribe", 2),
        ("received", "message", 1),
        ("received", "other", 2),
        ("sent", "connected", 2),
        ("sent", "subscribed", 2),
        ("sent", "ack", 1),
        ("sent", "message", 1),
        ("sent", "pong", 1),
        ("sent", "error", 2),
        ("sent", "other", 0),
    ] {
        assert_eq!(frames(direction, kind).await, count, "{direction} {kind}");
    }
    let page = t.anonymous().get("/public/metrics").await.expect_text(200);
    assert!(!page.contains("<script>") && !page.contains("room:a"), "{page}");
    drop(socket);
    eventually("the connection is not counted any more", async || open("connected").await == 1 && open("authenticated").await == 1).await;
}
