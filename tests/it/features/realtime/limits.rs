//! Limits and keep-alive.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::client::Socket;
use super::hostile::{self, CLOSE, PING};
use super::{connect, connections, metric};
use crate::harness::proxy::Proxy;
use crate::harness::{Backend, TestApp, eventually};

crate::on_sqlite![
    message_too_large_closes_with_1009,
    connections_beyond_the_limit_close_with_1013,
    subscriptions_beyond_the_limit_are_refused,
    frames_beyond_the_rate_are_dropped_with_one_error_a_second,
    slow_reader_is_closed_and_others_get_everything,
    client_without_pongs_is_dropped_and_one_with_them_is_kept,
    half_open_connection_is_dropped,
];

async fn message_too_large_closes_with_1009(b: Backend) {
    let t = TestApp::with(b, &[("WS_MAX_MESSAGE_BYTES", "1000")]).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let mut other = connect(&t, &bob).await;
    let ping = |bytes: usize| format!("{:<bytes$}", r#"{"type":"ping"}"#);
    let mut socket = connect(&t, &amy).await;
    socket.text(&ping(1000)).await;
    socket.expect("pong").await;
    socket.text(&ping(1001)).await;
    assert_eq!(socket.closed().await, 1009);
    let mut binary = connect(&t, &amy).await;
    binary.message(Message::Binary(vec![0; 1001].into())).await;
    assert_eq!(binary.closed().await, 1009);
    other.is_quiet().await;
    eventually("only one is left", async || connections(&bob).await == 1).await;
}

async fn connections_beyond_the_limit_close_with_1013(b: Backend) {
    let t = TestApp::with(b, &[("WS_MAX_CONNECTIONS_PER_USER", "2")]).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (first, mut second) = (connect(&t, &amy).await, connect(&t, &amy).await);
    let query = format!("?token={}", amy.token.as_ref().unwrap());
    for _ in 0..3 {
        assert_eq!(Socket::open(&t.url, &query, &[]).await.closed().await, 1013);
    }
    connect(&t, &bob).await.is_quiet().await;
    second.is_quiet().await;
    drop(first);
    eventually("one is gone", async || connections(&amy).await == 1).await;
    connect(&t, &amy).await.is_quiet().await;
}

async fn subscriptions_beyond_the_limit_are_refused(b: Backend) {
    let t = TestApp::with(b, &[("WS_MAX_SUBSCRIPTIONS", "2")]).await;
    let amy = t.user("amy").await;
    let (mut socket, mut other) = (connect(&t, &amy).await, connect(&t, &amy).await);
    socket.subscribe("a").await;
    socket.subscribe("b").await;
    let third = r#"{"type":"subscribe","channel":"c"}"#;
    assert_eq!(socket.refusal(third).await, "SUBSCRIPTION_LIMIT");
    assert_eq!(socket.refusal(r#"{"type":"message","channel":"c","data":1}"#).await, "NOT_SUBSCRIBED");
    assert_eq!(socket.refusal(r#"{"type":"subscribe","channel":"admin"}"#).await, "FORBIDDEN", "the permission comes first");
    socket.subscribe("a").await;
    other.subscribe("c").await;
    socket.ask(json!({"type": "unsubscribe", "channel": "a"})).await;
    socket.subscribe("c").await;
    assert_eq!(socket.refusal(r#"{"type":"subscribe","channel":"a"}"#).await, "SUBSCRIPTION_LIMIT");
}

async fn frames_beyond_the_rate_are_dropped_with_one_error_a_second(b: Backend) {
    let t = TestApp::with(b, &[("WS_MESSAGE_RATE", "2")]).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let (mut socket, mut other) = (connect(&t, &amy).await, connect(&t, &bob).await);
    let started = Instant::now();
    for _ in 0..60 {
        socket.send(json!({"type": "ping"})).await;
    }
    let (mut pongs, mut errors) = (0, 0);
    // Until a pong follows the error: the bucket fills again.
    let mut refilled = false;
    while !refilled {
        assert!(started.elapsed() < Duration::from_secs(20), "no frame is accepted any more");
        if let Ok(frame) = timeout(Duration::from_millis(20), socket.frame()).await {
            if frame["type"] == "pong" {
                pongs += 1;
                refilled = errors > 0;
            } else {
                assert_eq!(frame["data"]["code"], "RATE_LIMITED", "{frame}");
                errors += 1;
            }
        } else {
            socket.send(json!({"type": "ping"})).await;
        }
    }
    let seconds = started.elapsed().as_secs() + 1;
    assert!(errors <= seconds, "{errors} errors in {seconds} s");
    assert!((4..=4 + 2 * seconds).contains(&pongs), "{pongs} pongs in {seconds} s");
    other.is_quiet().await;
    assert!(metric(&t, r#"websocket_messages_total{direction="received",type="other"}"#).await >= 50);
}

async fn slow_reader_is_closed_and_others_get_everything(b: Backend) {
    let t = TestApp::with(b, &[("WS_MESSAGE_RATE", "10000")]).await;
    let (amy, bob, cat) = (t.user("amy").await, t.user("bob").await, t.user("cat").await);
    let (mut sender, mut reader, mut slow) = (connect(&t, &amy).await, connect(&t, &bob).await, connect(&t, &cat).await);
    for socket in [&mut sender, &mut reader, &mut slow] {
        socket.subscribe("room:a").await;
    }
    let text = "x".repeat(60_000);
    let mut sent = 0;
    // The kernel holds some megabytes, the server one more.
    while connections(&amy).await == 3 {
        assert!(sent < 1000, "the slow reader is never closed");
        sender.publish("room:a", json!({"n": sent, "text": text})).await;
        assert_eq!(reader.content().await["n"], sent);
        sent += 1;
    }
    let (frames, code) = slow.end().await;
    assert_eq!(code, 1013);
    assert!(frames.len() < sent, "{} of {sent}", frames.len());
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!(frame["data"]["content"]["n"], n, "in order, without gaps");
    }
    sender.publish("room:a", json!("after")).await;
    assert_eq!(reader.content().await, "after");
    reader.is_quiet().await;
}

async fn client_without_pongs_is_dropped_and_one_with_them_is_kept(b: Backend) {
    let t = TestApp::with(b, &[("WS_PING_INTERVAL", "1")]).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let mut kept = connect(&t, &bob).await;
    let deaf = hostile::open(&t, &amy).await;
    // Reading answers the pings.
    let alive = tokio::spawn(async move {
        kept.expect("update").await;
        kept.is_quiet().await;
    });
    let frames = hostile::frames(&deaf.rest().await);
    assert_eq!(frames.iter().filter(|(first, _)| *first == PING).count(), 2, "{frames:?}");
    assert!(frames.iter().all(|(first, _)| *first != CLOSE), "{frames:?}");
    assert_eq!(connections(&bob).await, 1);
    bob.project("the one who is kept hears of it").await;
    alive.await.unwrap();
}

async fn half_open_connection_is_dropped(b: Backend) {
    let t = TestApp::with(b, &[("WS_PING_INTERVAL", "1")]).await;
    let (amy, bob) = (t.user("amy").await, t.user("bob").await);
    let mut watcher = connect(&t, &bob).await;
    watcher.subscribe("presence").await;
    let proxy = Proxy::to(t.url.trim_start_matches("http://").parse().unwrap()).await;
    let _lost = Socket::with_token(&format!("http://127.0.0.1:{}", proxy.port), amy.token.as_ref().unwrap()).await;
    assert_eq!(watcher.presence().await, ("user_online".to_owned(), "amy".to_owned()));
    proxy.forget();
    assert_eq!(watcher.presence().await, ("user_offline".to_owned(), "amy".to_owned()));
    assert_eq!(connections(&bob).await, 1);
}
