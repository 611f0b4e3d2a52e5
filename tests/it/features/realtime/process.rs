//! The binary as a process: stop, crash, logs, metrics and usage.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use omnistack::platform::clock::Clock;
use serde_json::json;

use super::client::Socket;
use crate::harness::database::{Database, connect};
use crate::harness::process::Place;
use crate::harness::tokens::claims;
use crate::harness::{Backend, SECRET};

crate::on_both_backends![frames_are_counted_as_usage_of_their_user];

crate::on_sqlite![
    stop_closes_every_connection_with_1001_in_half_the_grace,
    stop_is_not_held_up_by_a_client_that_does_not_answer,
    tokens_are_neither_in_logs_nor_in_metrics,
];

pub(super) fn token(user: &str) -> String {
    claims(user, &Clock::System).sign(SECRET)
}

async fn stop_closes_every_connection_with_1001_in_half_the_grace(b: Backend) {
    let database = Database::create(b).await;
    let mut server = Place::of(&database).with("SHUTDOWN_GRACE_SECONDS", "6").with("SHUTDOWN_DELAY_SECONDS", "0").serve().await;
    let mut sockets = Vec::new();
    for n in 0..20 {
        let mut socket = Socket::with_token(&server.url, &token(&format!("u{n}"))).await;
        socket.subscribe("room:a").await;
        sockets.push(socket);
    }
    let started = Instant::now();
    server.signal("TERM");
    let closed = join_all(sockets.iter_mut().map(async |socket| (socket.closed().await, started.elapsed()))).await;
    assert!(closed.iter().all(|(code, _)| *code == 1001), "{closed:?}");
    let (first, last) = (closed.iter().map(|(_, at)| *at).min().unwrap(), closed.iter().map(|(_, at)| *at).max().unwrap());
    assert!(last < Duration::from_millis(4500), "half of the grace, and what a busy machine needs: {last:?}");
    assert!(last > first + Duration::from_millis(500), "not all at once: {first:?} to {last:?}");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
    assert!(!server.output().contains("SHUTDOWN_GRACE_SECONDS"), "{}", server.output());
}

async fn stop_is_not_held_up_by_a_client_that_does_not_answer(b: Backend) {
    let database = Database::create(b).await;
    let mut server = Place::of(&database).with("SHUTDOWN_GRACE_SECONDS", "4").with("SHUTDOWN_DELAY_SECONDS", "0").serve().await;
    // Not read any more: its close frame gets no reply.
    let _deaf = Socket::with_token(&server.url, &token("amy")).await;
    let started = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.output());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

async fn tokens_are_neither_in_logs_nor_in_metrics(b: Backend) {
    let database = Database::create(b).await;
    for format in ["json", "text"] {
        let place = Place::of(&database).with("LOG_LEVEL", "DEBUG").with("DEBUG", "true").with("LOG_FORMAT", format);
        let server = place.serve().await;
        let token = token("amy");
        let client = server.client(Some(token.clone()));
        let ticket = client.post("/app/ws/ticket", json!({})).await.expect(200)["ticket"].as_str().unwrap().to_owned();
        let mut socket = Socket::with_token(&server.url, &token).await;
        let reply = socket.ask(json!({"type": "auth", "token": token})).await;
        assert_eq!(reply["type"], "authenticated");
        let header = format!("Bearer {token}");
        Socket::open(&server.url, "", &[("authorization", header.as_str())]).await.greeted().await;
        Socket::open(&server.url, &format!("?ticket={ticket}"), &[]).await.greeted().await;
        assert_eq!(Socket::open(&server.url, &format!("?token={token}x&ticket={ticket}"), &[]).await.closed().await, 1008);
        let encoded = token.replace('.', "%2E");
        Socket::with_token(&server.url, &encoded).await;
        client.get(&format!("/app/ws?token={token}")).await.expect_error(400, "BAD_REQUEST");
        client.get(&format!("/app/ws?token={token}")).header("origin", "null").await.expect(403);
        socket.send(json!({"type": "auth", "token": format!("{token}x")})).await;
        assert_eq!(socket.closed().await, 1008);
        let page = server.client(None).get("/public/metrics").await.expect_text(200);
        let output = server.stop().await;
        let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        for secret in [payload, signature, &ticket] {
            assert!(!output.contains(secret), "{secret} in\n{output}");
            assert!(!page.contains(secret), "{secret} in\n{page}");
        }
        assert!(output.contains("/app/ws"), "the requests are logged:\n{output}");
    }
}

async fn frames_are_counted_as_usage_of_their_user(b: Backend) {
    let database = Database::create(b).await;
    let server = Place::of(&database).serve().await;
    let mut socket = Socket::with_token(&server.url, &token("amy")).await;
    let mut other = Socket::with_token(&server.url, &token("bob")).await;
    for channel in ["room:a", "room:a", "room:b"] {
        socket.subscribe(channel).await;
    }
    other.subscribe("room:a").await;
    for n in 0..4 {
        socket.publish("room:a", json!(n)).await;
        other.content().await;
    }
    for channel in ["room:b", "room:c"] {
        socket.ask(json!({"type": "unsubscribe", "channel": channel})).await;
    }
    // Refused, or of a kind that does not count.
    socket.refusal(r#"{"type":"subscribe","channel":"admin"}"#).await;
    socket.refusal(r#"{"type":"message","channel":"room:z","data":1}"#).await;
    socket.refusal("{}").await;
    socket.ask(json!({"type": "auth", "token": token("amy")})).await;
    socket.is_quiet().await;
    drop((socket, other));
    server.stop().await;
    let (db, _) = connect(&database.url).await;
    let rows = database
        .texts(
            &db,
            "SELECT user_id || ' ' || CAST(SUM(quantity) AS TEXT) FROM usage_records
             WHERE metric = 'websocket_messages' AND period_type = 'daily' GROUP BY user_id ORDER BY user_id",
        )
        .await;
    assert_eq!(rows, ["amy 9", "bob 1"]);
    db.close().await;
}
